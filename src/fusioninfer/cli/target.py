"""Which cluster and namespace a command is about."""

from __future__ import annotations

from dataclasses import dataclass

from fusioninfer.kube import connection
from fusioninfer.kube.connection import Connection


@dataclass(frozen=True, slots=True)
class Target:
    """Where to look, and the words by which kubectl and we are told the same."""

    connection: Connection
    namespace: str
    words: str
    """Such as "-n llm --context west"."""


def target(namespace: str = "", kubeconfig: str = "", context: str = "") -> Target:
    """What the flags mean; raises connection.Misconfigured. What they leave open is as kubectl has it."""
    if kubeconfig:
        there = connection.from_kubeconfig(kubeconfig, context)
    else:
        there = connection.default_connection(context=context)
    named = namespace or there.namespace
    flags = (("-n", named), ("--context", context), ("--kubeconfig", kubeconfig))
    return Target(there, named, " ".join(f"{flag} {value}" for flag, value in flags if value))
