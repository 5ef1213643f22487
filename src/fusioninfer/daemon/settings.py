"""Every option of the operator, once: name, unit, default and meaning. Flags and environment are made from this."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Annotated, Any, get_args, get_type_hints

from typer import Option

ENVIRONMENT = "FUSIONINFER_"
"""Before the name of an option in capitals: the variable that sets it where no flag does."""


class LogLevel(StrEnum):
    """From which severity on."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    """For machines or for people."""

    JSON = "json"
    CONSOLE = "console"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How the operator runs."""

    kubeconfig: Annotated[
        str, Option(help="Kubeconfig file. Empty: the one that kubectl takes, or else the service account of this pod.")
    ] = ""
    namespace: Annotated[
        str, Option(help="Serve the InferenceServices of this namespace alone. Empty: of all namespaces.")
    ] = ""
    workers: Annotated[int, Option(help="Services that are worked on at the same time.", min=1, max=1000)] = 16
    leader_election: Annotated[
        bool, Option(help="Write only while holding a Lease, so that several replicas may run.")
    ] = True
    lease_namespace: Annotated[
        str, Option(help="Where the Lease is. Empty: the pod's namespace, or the kubeconfig's.")
    ] = ""
    lease_name: Annotated[str, Option(help="The Lease's name.")] = "fusioninfer"
    bind_address: Annotated[
        str, Option(help="Address of /healthz, /readyz and /metrics. In a pod: 0.0.0.0, or :: for IPv6.")
    ] = "127.0.0.1"
    port: Annotated[int, Option(help="Port of /healthz, /readyz and /metrics; 0: any free one.", min=0, max=65535)] = (
        8080
    )
    metrics_token_review: Annotated[
        bool,
        Option(help="Let the API server say who may read /metrics: by TokenReview, and the right to get that path."),
    ] = False
    metrics_token_file: Annotated[
        str,
        Option(help="File with the bearer token that /metrics asks for, where the API server is not to be asked."),
    ] = ""
    """Without either, /metrics answers on a loopback address alone."""
    certificate_file: Annotated[
        str, Option(help="PEM file with the certificate of /healthz, /readyz and /metrics. Empty: no TLS.")
    ] = ""
    key_file: Annotated[str, Option(help="PEM file with the certificate's key. Both are read anew when renewed.")] = ""
    log_level: Annotated[LogLevel, Option(help="The least severity that is logged.")] = LogLevel.INFO
    log_format: Annotated[LogFormat, Option(help="One JSON object per line, or text for people.")] = LogFormat.JSON


def as_command(run: Callable[[Settings], None]) -> Callable[..., None]:
    """`run` as typer reads a command: with a flag and an environment variable for each option."""

    def command(**options: Any) -> None:
        run(Settings(**options))

    hints = {name: _with_variable(name, hint) for name, hint in get_type_hints(Settings, include_extras=True).items()}
    parameters = [
        inspect.Parameter(
            option.name, inspect.Parameter.KEYWORD_ONLY, default=option.default, annotation=hints[option.name]
        )
        for option in fields(Settings)
    ]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined] # inspect.signature reads it
    command.__annotations__ = hints
    command.__doc__ = run.__doc__
    return command


def variable(option: str) -> str:
    """The environment variable of `option`."""
    return ENVIRONMENT + option.upper()


def _with_variable(name: str, hint: Any) -> Any:
    kind, described = get_args(hint)
    option = copy.copy(described)
    option.envvar = variable(name)
    return Annotated[kind, option]
