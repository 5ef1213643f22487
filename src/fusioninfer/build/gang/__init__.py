"""Gangs: engine pods that start together or not at all, in the words of a scheduler that can see to it.

A gang scheduler is a small Protocol; Volcano is its one user so far. How much the gang asks for at a given moment
is not decided here but in `reconcile/gang.py`, since that depends on what runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from fusioninfer.api.service import InferenceService, Manifest


@dataclass(frozen=True, slots=True)
class Member:
    """One engine role's part of the gang."""

    role: str
    nodes: int
    """Pods of one copy: fewer of them are worth nothing, so they start together in any case."""
    needed: int
    """Copies that must fit for any pod of the service to start."""

    @property
    def pods(self) -> int:
        """Pods that must fit."""
        return self.needed * self.nodes


class GangScheduler(Protocol):
    """A scheduler that can start pods together."""

    @property
    def name(self) -> str:
        """What pods name as their scheduler."""
        ...

    @property
    def group_annotation(self) -> str:
        """The annotation that says on a pod to which gang it belongs."""
        ...

    def group(self, service: InferenceService, members: tuple[Member, ...]) -> Manifest:
        """The object that stands for the gang; where no member needs a copy, every copy may start alone."""
        ...
