"""What cannot be done here is refused in words, with what to do about it."""

from __future__ import annotations


class Refusal(Exception):
    """One sentence for the person at the terminal."""
