"""Where an API server is and how we prove to it who we are: from a kubeconfig file, or from a pod's service account.

A `Connection` is a value and may be shared; the `Credential` that it makes belongs to one client.
"""

from __future__ import annotations

import asyncio
import base64
import os
import ssl
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import msgspec
import yaml
from lightkube.config.kubeconfig import SERVICE_ACCOUNT, KubeConfig, SingleConfig
from lightkube.config.models import Cluster, User, UserExec
from lightkube.core.exceptions import ConfigError

from fusioninfer.kube import errors

REREAD_SECONDS = 60.0
"""How long a token file is trusted: the kubelet renews a token long before it ends (client-go's period)."""
PLUGIN_SECONDS = 60.0
"""How long an exec plugin may take."""
EXPIRY_MARGIN = timedelta(seconds=10)


class Misconfigured(Exception):
    """There is no usable connection in the kubeconfig or the pod; says what is missing."""


class Credential(Protocol):
    """What the Authorization header says."""

    async def header(self) -> str:
        """The header's value; empty if none is to be sent. Raises `errors.Unreachable`."""
        ...

    async def renewed(self, refused: str) -> str:
        """The value to try after the API server answered 401 to `refused`: the same if there is no other."""
        ...


@dataclass(frozen=True, slots=True)
class Fixed:
    """A header that never changes."""

    value: str = ""

    async def header(self) -> str:
        return self.value

    async def renewed(self, refused: str) -> str:
        return self.value


@dataclass(slots=True)
class TokenFile:
    """A bearer token in a file that somebody renews."""

    path: Path
    monotonic: Callable[[], float] = time.monotonic
    _value: str = ""
    _read_at: float = float("-inf")

    async def header(self) -> str:
        if self.monotonic() - self._read_at >= REREAD_SECONDS:
            self._read()
        return self._value

    async def renewed(self, refused: str) -> str:
        if self._value == refused:
            self._read()
        return self._value

    def _read(self) -> None:
        """Read the file; if that fails, the token read before may still be good."""
        try:
            token = self.path.read_text().strip()
        except OSError as error:
            if not self._value:
                raise errors.Unreachable(f"no token: {error}") from error
            return
        self._value = f"Bearer {token}"
        self._read_at = self.monotonic()


class ExecStatus(msgspec.Struct, frozen=True):
    """What an exec plugin gives, as far as we take it (client.authentication.k8s.io ExecCredentialStatus)."""

    token: str
    expirationTimestamp: datetime | None = None  # noqa: N815 - the wire's name


class ExecCredential(msgspec.Struct, frozen=True):
    """What an exec plugin prints."""

    status: ExecStatus


class ExecPlugin:
    """A bearer token that a command prints: a kubeconfig's `exec`. The command is asked again when the token ends."""

    def __init__(self, argv: tuple[str, ...], environment: Mapping[str, str]) -> None:
        self._argv = argv
        self._environment = dict(environment)
        self._value = ""
        self._expires: datetime | None = None
        self._one_at_a_time = asyncio.Lock()

    async def header(self) -> str:
        async with self._one_at_a_time:
            if not self._value or (self._expires and datetime.now(UTC) >= self._expires - EXPIRY_MARGIN):
                await self._ask()
        return self._value

    async def renewed(self, refused: str) -> str:
        async with self._one_at_a_time:
            if self._value == refused:
                await self._ask()
        return self._value

    async def _ask(self) -> None:
        try:
            status = msgspec.json.decode(await self._output(), type=ExecCredential).status
        except (OSError, msgspec.DecodeError) as error:
            reason = str(error) or type(error).__name__
            raise errors.Unreachable(f"no token from {' '.join(self._argv)}: {reason}") from error
        self._value, self._expires = f"Bearer {status.token}", status.expirationTimestamp

    async def _output(self) -> bytes:
        process = await asyncio.create_subprocess_exec(
            *self._argv,
            env=self._environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            out, said = await asyncio.wait_for(process.communicate(), PLUGIN_SECONDS)
        finally:
            if process.returncode is None:
                process.kill()
        if process.returncode:
            raise OSError(f"exit code {process.returncode}: {said.decode(errors='replace').strip()[:500]}")
        return out


@dataclass(frozen=True, slots=True)
class Connection:
    """How to reach one API server."""

    server: str
    """Its URL, with a path if it stands behind a proxy that wants one."""
    tls: ssl.SSLContext | None = None
    """None: plain HTTP, or what the system trusts."""
    login: Callable[[], Credential] = Fixed
    namespace: str = "default"
    """The namespace that is meant where none is named."""
    tls_server_name: str = ""
    """Whose certificate the server shows, if that is not the host in its URL."""
    proxy: str = ""
    """The URL of the HTTP proxy by which it is reached; empty: none."""


def default_connection(environment: Mapping[str, str] = os.environ, context: str = "") -> Connection:
    """What kubectl would take: the files in $KUBECONFIG, or ~/.kube/config, or the service account of this pod."""
    if files := _named_in(environment):
        return from_kubeconfigs(files, context)
    home = Path("~/.kube/config").expanduser()
    return from_kubeconfig(home, context) if home.is_file() else in_cluster()


def from_kubeconfig(path: str | Path, context: str = "") -> Connection:
    """The connection of `context` in a kubeconfig file, or of its current context; raises Misconfigured."""
    return from_kubeconfigs([path], context)


def from_kubeconfigs(paths: Sequence[str | Path], context: str = "") -> Connection:
    """The same, of several files as one: of what has the same name in two the first counts, and a missing one is passed
    over (client-go clientcmd.ClientConfigLoadingRules).
    """  # fmt: skip
    files = [Path(path).expanduser() for path in paths]
    try:
        there = [file for file in files if file.is_file()]
        if not there:
            raise ConfigError(f"Configuration file {' and '.join(map(str, files))} not found")
        merged = _merged([_read(file) for file in there])
        config = KubeConfig.from_dict(merged).get(context or None)
        return _connection(config, _cluster_fields(merged, config))
    # lightkube trusts the shape of the file: one of another shape ends in whatever Python makes of it.
    except (ConfigError, LookupError, TypeError, AttributeError, OSError, ValueError, yaml.YAMLError) as error:
        where = os.pathsep.join(map(str, files))
        raise Misconfigured(f"kubeconfig {where}: {type(error).__name__}: {error}") from error


def contexts(environment: Mapping[str, str] = os.environ) -> list[str]:
    """The names that a context may have where `default_connection` looks; none if that cannot be read."""
    files = [Path(file).expanduser() for file in _named_in(environment) or ("~/.kube/config",)]
    try:
        merged = _merged([_read(file) for file in files if file.is_file()])
        return [str(entry["name"]) for entry in merged.get("contexts", ())]
    except (LookupError, TypeError, AttributeError, OSError, ValueError, yaml.YAMLError):
        return []


def _named_in(environment: Mapping[str, str]) -> list[str]:
    return [path for path in environment.get("KUBECONFIG", "").split(os.pathsep) if path]


Config = dict[str, Any]

_SECTIONS = {"clusters": "cluster", "contexts": "context", "users": "user"}
_PATHS = ("certificate-authority", "client-certificate", "client-key", "tokenFile")


def _read(file: Path) -> Config:
    """What is in `file`, with paths that no longer depend on where it lies."""
    config: Config = yaml.safe_load(file.read_text())
    for section in _SECTIONS.keys() & config.keys():
        for entry in config[section] or ():
            _make_absolute(entry[_SECTIONS[section]] or {}, file.parent)
    return config


def _make_absolute(fields: Config, folder: Path) -> None:
    for name in _PATHS:
        if fields.get(name):
            fields[name] = str(folder.absolute() / fields[name])
    # A command with a slash is meant from the kubeconfig's folder, one without is looked up in $PATH (client-go).
    execute = fields.get("exec") or {}
    if "/" in execute.get("command", ""):
        execute["command"] = str(folder.absolute() / execute["command"])


def _merged(configs: Sequence[Config]) -> Config:
    merged: Config = {}
    for config in configs:
        if config.get("current-context"):
            merged.setdefault("current-context", config["current-context"])
        for section in _SECTIONS.keys() & config.keys():
            known = merged.setdefault(section, [])
            names = {entry["name"] for entry in known}
            known += [entry for entry in config[section] or () if entry["name"] not in names]
    return merged


def _cluster_fields(merged: Config, config: SingleConfig | None) -> Config:
    """All that the file says of the cluster that was chosen: lightkube does not read every field."""
    name = config.context.cluster if config else None
    return next((entry["cluster"] for entry in merged["clusters"] if entry["name"] == name), {})


def in_cluster(account: str | Path = SERVICE_ACCOUNT) -> Connection:
    """The connection that a pod is given; raises Misconfigured outside of one."""
    try:
        return _connection(KubeConfig.from_service_account(account).get())
    except KeyError as error:
        raise Misconfigured(f"not in a cluster: {error} is not set") from error
    except (ConfigError, OSError) as error:
        raise Misconfigured(f"not in a cluster: {error}") from error


def _connection(config: SingleConfig | None, cluster_fields: Config | None = None) -> Connection:
    if config is None:
        raise ConfigError("no current context")
    user = config.user or User()
    server = config.cluster.server.rstrip("/")
    fields = cluster_fields or {}
    return Connection(
        server=server,
        tls=_tls(config, config.cluster, user) if server.startswith("https:") else None,
        login=_login(config, user),
        namespace=config.namespace.strip(),
        tls_server_name=fields.get("tls-server-name") or "",
        proxy=_proxy(fields.get("proxy-url") or ""),
    )


def _proxy(url: str) -> str:
    if url and not url.startswith(("http://", "https://")):
        raise ConfigError(f"proxy-url {url}: only http:// and https:// are supported")
    return url


def _login(config: SingleConfig, user: User) -> Callable[[], Credential]:
    """Who the user is, apart from a client certificate. A token in a file wins over one in the kubeconfig itself."""
    if user.token_file:
        return partial(TokenFile, Path(config.abs_file(user.token_file)))
    if user.token:
        return partial(Fixed, f"Bearer {user.token}")
    if user.exec:
        return _exec_plugin(user.exec)
    if user.username and user.password:
        pair = base64.b64encode(f"{user.username}:{user.password}".encode()).decode()
        return partial(Fixed, f"Basic {pair}")
    if user.auth_provider:
        raise ConfigError("auth-provider is not supported; Kubernetes 1.26 dropped it for exec plugins")
    return Fixed


def _exec_plugin(plugin: UserExec) -> Callable[[], Credential]:
    question = {"apiVersion": plugin.apiVersion, "kind": "ExecCredential", "spec": {"interactive": False}}
    environment = {
        **os.environ,
        **{variable.name: variable.value for variable in plugin.env or ()},
        "KUBERNETES_EXEC_INFO": msgspec.json.encode(question).decode(),
    }
    return partial(ExecPlugin, (plugin.command, *(plugin.args or ())), environment)


def _tls(config: SingleConfig, cluster: Cluster, user: User) -> ssl.SSLContext:
    """Whom we trust, and our certificate if we have one."""
    context = ssl.create_default_context(
        cafile=_existing(config, cluster.certificate_auth) if cluster.certificate_auth else None,
        cadata=base64.b64decode(cluster.certificate_auth_data or "").decode() or None,
    )
    # Python 3.13 refuses CAs without an authority key identifier, which Go accepts and clusters have.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if cluster.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    with ExitStack() as until_read:
        certificate = _file(until_read, config, user.client_cert, user.client_cert_data)
        if certificate:
            context.load_cert_chain(certificate, _file(until_read, config, user.client_key, user.client_key_data))
    return context


def _file(until_read: ExitStack, config: SingleConfig, path: str | None, inline: str | None) -> str | None:
    """A file with what stands `inline` (base64), or else at `path`: the ssl module reads keys from files alone."""
    if not inline:
        return _existing(config, path) if path else None
    file = until_read.enter_context(tempfile.NamedTemporaryFile())  # noqa: SIM115 - closed by `until_read`
    file.write(base64.b64decode(inline))
    file.flush()
    return file.name


def _existing(config: SingleConfig, path: str) -> str:
    """Where the file is; raises OSError with its name if it is not there, which the ssl module would not tell."""
    found = str(config.abs_file(path))
    os.stat(found)
    return found
