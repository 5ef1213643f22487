"""What a shell is told while somebody types. It never complains: what cannot be had is not told."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import shlex
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from fusioninfer.cli.look import Missing, read_service
from fusioninfer.cli.target import Target, target
from fusioninfer.cli.view import roles_in, written
from fusioninfer.kube import requests
from fusioninfer.kube.client import Client
from fusioninfer.kube.connection import Misconfigured
from fusioninfer.kube.errors import KubeError
from fusioninfer.kube.objects import Object
from fusioninfer.kube.requests import Kube, Resource
from fusioninfer.reconcile.snapshot import SERVICES

NAMESPACES = Resource("", "v1", "Namespace", "namespaces", namespaced=False)
PATIENCE_SECONDS = 2.0
"""Somebody waits with a finger on a key."""
MOST = 1000
"""Names that are asked for."""

Parameters = Mapping[str, Any]
"""What was typed so far."""


def services(typed: Parameters, incomplete: str) -> list[str]:
    """Names of services that begin so."""

    async def ask(kube: Kube, there: Target) -> list[str]:
        return await names_of(kube, SERVICES, there.namespace)

    return _beginning(_asked(typed, ask), incomplete)


def roles(typed: Parameters, incomplete: str) -> list[str]:
    """Names of roles of the service that was named before."""

    async def ask(kube: Kube, there: Target) -> list[str]:
        return [str(role.get("name")) for role in roles_in(written(await read_service(kube, there.namespace, name)))]

    name = str(typed.get("name") or "")
    return _beginning(_asked(typed, ask) if name else [], incomplete)


def namespaces(typed: Parameters, incomplete: str) -> list[str]:
    """Names of namespaces that begin so."""

    async def ask(kube: Kube, there: Target) -> list[str]:
        return await names_of(kube, NAMESPACES, "")

    return _beginning(_asked(typed, ask), incomplete)


class Names(msgspec.Struct, frozen=True):
    """A list, of which only the names matter."""

    items: tuple[Object, ...] = ()


async def names_of(kube: Kube, resource: Resource, namespace: str) -> list[str]:
    """The names of the first MOST objects."""
    request = requests.list_page(resource, namespace, limit=MOST, accept=requests.METADATA_ONLY)
    return [item.metadata.name for item in msgspec.json.decode(await kube.send(request), type=Names).items]


def _beginning(found: list[str], incomplete: str) -> list[str]:
    return [name for name in found if name.startswith(incomplete)]


def _asked(typed: Parameters, ask: Callable[[Kube, Target], Awaitable[list[str]]]) -> list[str]:
    async def within() -> list[str]:
        there = target(*(str(typed.get(flag) or "") for flag in ("namespace", "kubeconfig", "context")))
        async with Client(there.connection, timeout_seconds=PATIENCE_SECONDS) as kube:
            return await ask(kube, there)

    try:
        return asyncio.run(within())
    except (Misconfigured, Missing, KubeError, msgspec.MsgspecError):
        return []


# --- scripts ------------------------------------------------------------------------------------------------------

PROGRAM = "fusioninfer"
VARIABLE = "_FUSIONINFER_COMPLETE"
"""By which typer is told to complete instead of to run."""
NO_FILES, FILES = ":4", ":0"
"""cobra's ShellCompDirective: the names are all there is, or there may be files."""


def script(shell: str) -> None:
    """Print what makes `shell` complete our commands; ends the process."""
    from fusioninfer.cli.main import app

    os.environ[VARIABLE] = f"source_{shell}"
    app(prog_name=PROGRAM)


def kubectl_complete() -> None:
    """What kubectl runs to complete `kubectl fusioninfer …`: prints one completion a line, and then a directive.

    Source: kubectl pkg/cmd/plugin/plugin_completion.go.
    """
    from fusioninfer.cli.main import app

    *before, last = sys.argv[1:] or [""]
    line = shlex.join([PROGRAM, *before]) + " " + (shlex.quote(last) if last else "")
    os.environ |= {
        VARIABLE: "complete_fish",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        "_TYPER_COMPLETE_ARGS": line,
    }
    told = io.StringIO()
    with contextlib.redirect_stdout(told), contextlib.suppress(SystemExit):
        app(prog_name=PROGRAM)
    found = [line for line in told.getvalue().splitlines() if line]
    print("\n".join([*found, NO_FILES if found else FILES]))
