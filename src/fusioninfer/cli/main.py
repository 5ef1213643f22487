"""FusionInfer at a terminal: the commands and their help. Each is carried out in the file of its name.

Those files are imported when their command runs: what serves clusters, and what speaks to them, is slow to import.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from fusioninfer.daemon.settings import Settings, as_command

if TYPE_CHECKING:
    from fusioninfer.cli.target import Target
    from fusioninfer.kube.client import Client

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Serve large language models on Kubernetes, and see what is so of them. Also as `kubectl fusioninfer`.",
)


def _say_version(asked: bool) -> None:
    if asked:
        from fusioninfer import __version__

        print(f"fusioninfer {__version__}")
        raise typer.Exit


@app.callback()
def _before_any_command(
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Say which version this is.")
    ] = False,
) -> None: ...


REFUSED = 2
"""Exit code: what was given cannot be used, or the cluster gives no answer; what to do is on stderr."""
INTERRUPTED = 130
"""Exit code of what was ended by Ctrl-C, as shells have it."""


def _services(ctx: typer.Context, incomplete: str) -> list[str]:
    from fusioninfer.cli.completion import services

    return services(ctx.params, incomplete)


def _roles(ctx: typer.Context, incomplete: str) -> list[str]:
    from fusioninfer.cli.completion import roles

    return roles(ctx.params, incomplete)


def _namespaces(ctx: typer.Context, incomplete: str) -> list[str]:
    from fusioninfer.cli.completion import namespaces

    return namespaces(ctx.params, incomplete)


def _contexts(incomplete: str) -> list[str]:
    from fusioninfer.kube.connection import contexts

    return [name for name in contexts() if name.startswith(incomplete)]


def _outputs(incomplete: str) -> list[str]:
    return [word for word in ("json", "yaml", "wide") if word.startswith(incomplete)]


_SHELLS = ("bash", "zsh", "fish")


def _shells(incomplete: str) -> list[str]:
    return [shell for shell in _SHELLS if shell.startswith(incomplete)]


Name = Annotated[str, typer.Argument(help="The service.", autocompletion=_services)]
Namespace = Annotated[
    str, typer.Option("--namespace", "-n", help="The context's own if absent.", autocompletion=_namespaces)
]
Kubeconfig = Annotated[str, typer.Option(help="A file; absent: those in $KUBECONFIG, or ~/.kube/config.")]
Context = Annotated[str, typer.Option(help="Of the kubeconfig; absent: its current one.", autocompletion=_contexts)]
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
    from fusioninfer.cli.documents import complaint, text_of
    from fusioninfer.cli.render import rendered

    try:
        print("".join(rendered(text_of(file), engines.installed(), strategies.installed(), namespace)), end="")
    except InvalidSpec as refusal:
        _refuse(f"{file}: {refusal.reason}: {refusal}")
    except (OSError, ValueError, yaml.YAMLError) as error:
        _refuse(f"{file}: {complaint(error)}")


@app.command()
def crd() -> None:
    """Print the CustomResourceDefinition of InferenceService, for `kubectl apply -f -`."""
    from fusioninfer.api.crd import custom_resource_definition, yaml_text

    print(yaml_text(custom_resource_definition()), end="")


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


@app.command()
def status(
    name: Annotated[str, typer.Argument(help="The service; absent: all, as a table.", autocompletion=_services)] = "",
    namespace: Namespace = "",
    all_namespaces: Annotated[bool, typer.Option("--all-namespaces", "-A", help="The services of all.")] = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on, and show every change.")] = False,
    until_ready: Annotated[bool, typer.Option(help="Exit 0 when Ready; with --watch, wait for it.")] = False,
    timeout: Annotated[float, typer.Option(help="Seconds to wait with --watch; 0: for ever.")] = 0.0,
    output: Annotated[str, typer.Option("--output", "-o", help="json, yaml or wide.", autocompletion=_outputs)] = "",
    kubeconfig: Kubeconfig = "",
    context: Context = "",
) -> None:
    """Show what is so of a service: its roles, their pods, its gang, its router's hops, and why it is not ready.

    Exit code: 0; with --until-ready 1 if it is not Ready; 2 there is nothing to show.
    """
    from fusioninfer.cli import status as shown
    from fusioninfer.cli.terminal import console

    if output and output not in list(shown.Output):
        _refuse(f"--output {output}: there are {', '.join(shown.Output)}")
    form = shown.Output(output) if output else None
    if not name and (watch or until_ready):
        _refuse("--watch and --until-ready are about one service: name it")
    following = shown.Following(watch, until_ready, timeout)

    async def ask(kube: Client, target: Target) -> int:
        if name:
            return await shown.show(kube, console(), target.namespace, name, form, following)
        return await shown.show_all(kube, console(), "" if all_namespaces else target.namespace, form)

    _ask(ask, namespace, kubeconfig, context)


@app.command()
def explain(name: Name, namespace: Namespace = "", kubeconfig: Kubeconfig = "", context: Context = "") -> None:
    """Say why a service is not ready: the cause, what leads to it down to the event, and what to type next.

    Exit code: 0 it is ready; 3 no node has room, the gang waits, or a quota is used up; 4 an image cannot be had;
    5 a container ends, or cannot be started; 6 the router, or a hop of its gateway, is closed; 7 the spec, or an object
    made of it, was refused; 8 it is loading, or a change is under way; 9 the cluster lacks a kind that the service
    needs; 10 something else; 2 there is nothing to explain.
    """
    from fusioninfer.cli import explain as explained
    from fusioninfer.cli.terminal import console

    async def ask(kube: Client, there: Target) -> int:
        return await explained.explain(kube, console(), there, name)

    _ask(ask, namespace, kubeconfig, context)


@app.command()
def diff(
    file: Files,
    namespace: Namespace = "",
    kubeconfig: Kubeconfig = "",
    context: Context = "",
) -> None:
    """Say what files would change in a cluster: objects, restarts, interruptions, GPUs. Nothing is written.

    It is the operator's own plan for its next step. Exit code: 0 nothing would change, 1 something would, 2 an error.
    """
    import yaml

    from fusioninfer.build import engines
    from fusioninfer.build.router import strategies
    from fusioninfer.cli import diff as compared
    from fusioninfer.cli.documents import complaint, files_of, services_in, text_of
    from fusioninfer.cli.terminal import console

    raws: list[dict[str, Any]] = []
    for one in files_of(file):
        try:
            raws += services_in(text_of(one))
        except (OSError, ValueError, yaml.YAMLError) as error:
            _refuse(f"{one}: {complaint(error)}")
    if not raws:
        _refuse(f"{', '.join(file)}: there is no InferenceService")

    async def ask(kube: Client, there: Target) -> int:
        plugins = engines.installed(), strategies.installed()
        return await compared.diff(kube, console(), raws, *plugins, there.namespace)

    _ask(ask, namespace, kubeconfig, context)


@app.command()
def check(kubeconfig: Kubeconfig = "", context: Context = "") -> None:
    """Say what a cluster has of all that FusionInfer can use, what each part turns on, and how to get what is missing.

    Exit code: 0; 1 InferenceServices are not served, or no operator works on them; 2 the cluster gives no answer.
    """
    from fusioninfer.cli import check as checked
    from fusioninfer.cli.terminal import console

    async def ask(kube: Client, there: Target) -> int:
        return await checked.check(kube, console())

    _ask(ask, "", kubeconfig, context)


@app.command()
def logs(
    name: Name,
    role: Annotated[str, typer.Argument(help="Absent: all engine roles.", autocompletion=_roles)] = "",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as more is said.")] = False,
    tail: Annotated[int, typer.Option(help="Only so many lines of each pod; -1: all.")] = -1,
    previous: Annotated[bool, typer.Option("--previous", "-p", help="Of the run before the last restart.")] = False,
    container: Annotated[str, typer.Option("--container", "-c", help="Absent: the engine's, or the picker's.")] = "",
    namespace: Namespace = "",
    kubeconfig: Kubeconfig = "",
    context: Context = "",
) -> None:
    """Print what the pods of a service say, each line behind its pod's name where there are several.

    Exit code: 0; 1 no pod has such a log; 2 there is no such pod.
    """
    from fusioninfer.cli import logs as said
    from fusioninfer.cli.terminal import console

    wanted = said.Wanted(follow, None if tail < 0 else tail, previous, container)

    async def ask(kube: Client, there: Target) -> int:
        return await said.logs(kube, console(), console(err=True), there.namespace, name, role, wanted)

    _ask(ask, namespace, kubeconfig, context, idle_seconds=None)


@app.command()
def chat(
    name: Name,
    message: Annotated[str, typer.Option("--message", "-m", help="One question, instead of a conversation.")] = "",
    model: Annotated[str, typer.Option(help="Absent: the first that /v1/models names.")] = "",
    namespace: Namespace = "",
    kubeconfig: Kubeconfig = "",
    context: Context = "",
) -> None:
    """Talk to a service through a port-forward: to its router if clients are led there, else to an engine.

    Exit code: 0; 1 there was no answer; 2 there is nobody to ask.
    """
    from fusioninfer.cli import chat as talk

    def write(words: str) -> None:
        print(words, end="", flush=True)

    async def ask(kube: Client, there: Target) -> int:
        questions = [message] if message else talk.typed()
        return await talk.chat(kube, there.namespace, name, questions, model, write, _complain)

    _ask(ask, namespace, kubeconfig, context)


@app.command()
def scale(
    name: Name,
    role: Annotated[str, typer.Argument(help="The role.", autocompletion=_roles)],
    replicas: Annotated[int, typer.Argument(help="Copies.", min=0)],
    namespace: Namespace = "",
    kubeconfig: Kubeconfig = "",
    context: Context = "",
) -> None:
    """Give a role so many copies: in its spec if the number stands there, else by its workload's /scale.

    Exit code: 0; 2 it was refused.
    """
    from fusioninfer.cli.scale import scale as scaled

    async def ask(kube: Client, there: Target) -> int:
        print(await scaled(kube, there.namespace, name, role, replicas))
        return 0

    _ask(ask, namespace, kubeconfig, context)


def _operator(settings: Settings) -> None:
    """Run the operator until it is told to stop; every option has an environment variable too."""
    from fusioninfer.daemon.main import operator

    raise typer.Exit(operator(settings))


app.command(name="operator")(as_command(_operator))


@app.command()
def completion(
    shell: Annotated[str, typer.Argument(help="bash, zsh or fish.", autocompletion=_shells)],
) -> None:
    """Print the script that makes a shell complete commands, options, and the names of services and roles.

    bash: source <(fusioninfer completion bash); kubectl completes `kubectl fusioninfer` without it.
    """
    from fusioninfer.cli.completion import script

    if shell not in _SHELLS:
        _refuse(f"{shell}: there are {', '.join(_SHELLS)}")
    script(shell)


# --- what the commands have in common -----------------------------------------------------------------------------


def _ask(
    ask: Callable[[Client, Target], Awaitable[int]], namespace: str, kubeconfig: str, context: str, **client: Any
) -> NoReturn:
    """Carry out `ask` with a client, and exit with its code; NO_ANSWER, and why, if the cluster gives no answer."""
    import asyncio

    from fusioninfer.api.service import InvalidSpec
    from fusioninfer.cli.look import Missing
    from fusioninfer.cli.target import target
    from fusioninfer.kube.client import Client
    from fusioninfer.kube.connection import Misconfigured
    from fusioninfer.kube.errors import KubeError

    async def asked() -> int:
        there = target(namespace, kubeconfig, context)
        async with Client(there.connection, **client) as kube:
            return await ask(kube, there)

    try:
        raise typer.Exit(asyncio.run(asked()))
    except (Misconfigured, Missing, InvalidSpec, KubeError) as error:
        _refuse(str(error))
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


def _refuse(sentence: str) -> NoReturn:
    _complain(sentence)
    raise typer.Exit(REFUSED)


def _complain(sentence: str) -> None:
    typer.secho(sentence, fg=None if os.environ.get("NO_COLOR") else "red", err=True)
