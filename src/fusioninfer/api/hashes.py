"""Hashes of manifests: equal values give equal hashes, whatever the order of their keys."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

_ENCODER = msgspec.json.Encoder(order="deterministic")


def of(value: Any) -> str:
    """16 hex digits (64 bits) that stand for `value`: short enough for an annotation, and no two of one object meet."""
    return hashlib.sha256(_ENCODER.encode(value)).hexdigest()[:16]
