"""FusionInfer at a terminal: the commands and their help. Each is carried out in the file of its name.

Those files are imported when their command runs: what serves clusters, and what speaks to them, is slow to import.
"""

from __future__ import annotations

import sys
from typing import Annotated, NoReturn

import typer

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Serve large language models on Kubernetes, and see what is so of them. Also as `kubectl fusioninfer`.",
)

REFUSED = 2
"""Exit code: what was given cannot be used; what to change is on stderr."""

Files = Annotated[list[str], typer.Option("--file", "-f", help="A file or a folder; - is standard input. Repeatable.")]
File = Annotated[str, typer.Option("--file", "-f", help="A file with InferenceServices; - is standard input.")]


@app.command()
def lint(
    file: Files,
    strict: Annotated[bool, typer.Option(help="Warnings fail too.")] = False,
) -> None:
    """Say all that is wrong with the services in files, without any cluster.

    Exit code: 0 nothing is refused, 1 there are warnings and --strict was given, 2 something is refused.
    """
    from fusioninfer.build import engines
    from fusioninfer.build.router import strategies
    from fusioninfer.cli.lint import linted

    report = linted(file, engines.installed(), strategies.installed())
    for finding in report.findings:
        print(finding)
    print(report, file=sys.stderr)
    raise typer.Exit(report.exit_code(strict=strict))


@app.command()
def render(
    file: File,
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="For services that name none.")] = "default",
) -> None:
    """Print what would be created for a service, without any cluster."""
    import yaml

    from fusioninfer.api.service import InvalidSpec
    from fusioninfer.build import engines
    from fusioninfer.build.router import strategies
    from fusioninfer.cli.documents import text_of
    from fusioninfer.cli.render import rendered

    try:
        print("".join(rendered(text_of(file), engines.installed(), strategies.installed(), namespace)), end="")
    except InvalidSpec as refusal:
        _refuse(f"{file}: {refusal.reason}: {refusal}")
    except (OSError, yaml.YAMLError) as error:
        _refuse(f"{file}: {error}")


@app.command()
def crd() -> None:
    """Print the CustomResourceDefinition of InferenceService, for `kubectl apply -f -`."""
    from fusioninfer.api.crd import yaml_text

    print(yaml_text(), end="")


@app.command()
def rbac(
    namespace: Annotated[
        str, typer.Option("--namespace", "-n", help="Where the operator runs.")
    ] = "fusioninfer-system",
) -> None:
    """Print the operator's ServiceAccount and the rights that it needs, for `kubectl apply -f -`."""
    from fusioninfer.cli.render import dumped
    from fusioninfer.daemon.rbac import install_manifests

    print("".join(f"---\n{dumped(manifest)}" for manifest in install_manifests(namespace)), end="")


def _refuse(sentence: str) -> NoReturn:
    typer.secho(sentence, fg="red", err=True)
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
    import asyncio

    from fusioninfer.cli.status import show

    raise typer.Exit(asyncio.run(show(name, namespace, kubeconfig, watch, until_ready, timeout)))
