"""The commands and their help."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer
import yaml
from rich.console import Console

from fusioninfer import __version__
from fusioninfer.api.crd import custom_resource_definition, yaml_text
from fusioninfer.api.service import InvalidSpec
from fusioninfer.build import engines
from fusioninfer.build.router import strategies
from fusioninfer.cli.render import dumped, rendered
from fusioninfer.daemon.rbac import install_manifests
from fusioninfer.daemon.settings import Settings, as_command

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)


def _say_version(asked: bool) -> None:
    if asked:
        print(f"fusioninfer {__version__}")
        raise typer.Exit


@app.callback()
def _before_any_command(
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Say which version this is.")
    ] = False,
) -> None: ...


def _operator(settings: Settings) -> None:
    """Run the operator until it is told to stop; every option has an environment variable too."""
    from fusioninfer.daemon.main import operator  # what serves clusters is slow to import, and others need none of it

    raise typer.Exit(operator(settings))


app.command(name="operator")(as_command(_operator))


REFUSED = 2
"""Exit code: what was given cannot be used; what to change is on stderr."""


@app.command()
def crd() -> None:
    """Print the CustomResourceDefinition of InferenceService, for `kubectl apply -f -`."""
    print(yaml_text(custom_resource_definition()), end="")


@app.command()
def rbac(
    namespace: Annotated[
        str, typer.Option("--namespace", "-n", help="Where the operator runs.")
    ] = "fusioninfer-system",
) -> None:
    """Print the operator's ServiceAccount and the rights that it needs, for `kubectl apply -f -`."""
    print("".join(f"---\n{dumped(manifest)}" for manifest in install_manifests(namespace)), end="")


@app.command()
def render(
    file: Annotated[str, typer.Option("--file", "-f", help="A file with InferenceServices; - is standard input.")],
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="For services that name none.")] = "default",
) -> None:
    """Print what would be created for a service, without any cluster."""
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text()
        print("".join(rendered(text, engines.installed(), strategies.installed(), namespace)), end="")
    except InvalidSpec as refusal:
        _refuse(f"{file}: {refusal.reason}: {refusal}")
    except (OSError, yaml.YAMLError) as error:
        _refuse(f"{file}: {error}")


def _refuse(sentence: str) -> None:
    Console(stderr=True, soft_wrap=True).print(sentence, style="red", markup=False, highlight=False)
    raise typer.Exit(REFUSED)


@app.command()
def status(
    name: Annotated[str, typer.Argument(help="The service.")],
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="The kubeconfig's own if absent.")] = "",
    kubeconfig: Annotated[str, typer.Option(envvar="KUBECONFIG", help="~/.kube/config if absent.")] = "",
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on, and show every change.")] = False,
    until_ready: Annotated[bool, typer.Option(help="Exit 0 when Ready; with --watch, wait for it.")] = False,
    timeout: Annotated[float, typer.Option(help="Seconds to wait with --watch; 0: for ever.")] = 0.0,
) -> None:
    """Show what is so of a service: its roles, its conditions, and why it is not ready."""
    from fusioninfer.cli.status import show  # the HTTP client is slow to import, and render needs none

    raise typer.Exit(asyncio.run(show(name, namespace, kubeconfig, watch, until_ready, timeout)))
