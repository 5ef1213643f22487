"""Which cluster and namespace a command is about."""

from __future__ import annotations

from dataclasses import dataclass

from fusioninfer.cli.flags import Flags
from fusioninfer.kube import connection
from fusioninfer.kube.connection import Connection


@dataclass(frozen=True, slots=True)
class Target:
    """Where to look, and the flags that lead there."""

    connection: Connection
    flags: Flags

    @property
    def namespace(self) -> str:
        return self.flags.namespace


def target(namespace: str = "", kubeconfig: str = "", context: str = "") -> Target:
    """What the flags mean; raises connection.Misconfigured. What they leave open is as kubectl has it."""
    if kubeconfig:
        there = connection.from_kubeconfig(kubeconfig, context)
    else:
        there = connection.default_connection(context=context)
    return Target(there, Flags(namespace or there.namespace, context, kubeconfig))
