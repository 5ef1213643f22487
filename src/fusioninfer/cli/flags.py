"""The flags by which kubectl and we are led to the same place."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Flags:
    """Where a command looks; what is empty is left to the kubeconfig."""

    namespace: str
    context: str = ""
    kubeconfig: str = ""

    @property
    def cluster(self) -> str:
        """Such as "--context west"; mostly nothing."""
        given = (("--context", self.context), ("--kubeconfig", self.kubeconfig))
        return " ".join(f"{flag} {value}" for flag, value in given if value)

    def __str__(self) -> str:
        """Such as "-n llm --context west"."""
        return f"-n {self.namespace} {self.cluster}".strip()
