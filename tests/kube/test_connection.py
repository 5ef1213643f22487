"""Where the API server is, and who we are."""

from __future__ import annotations

import base64
import json
import os
import ssl
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web

from fusioninfer.kube import errors
from fusioninfer.kube.client import Client
from fusioninfer.kube.connection import (
    Connection,
    Credential,
    ExecPlugin,
    Fixed,
    Misconfigured,
    TokenFile,
    contexts,
    default_connection,
    from_kubeconfig,
    in_cluster,
)
from fusioninfer.kube.requests import Request


def kubeconfig(
    folder: Path,
    *,
    user: dict[str, Any] | None = None,
    namespace: str = "",
    server: str = "http://api.example.com:8080",
    cluster: dict[str, Any] | None = None,
) -> Path:
    """A kubeconfig file with one cluster, one user and two contexts."""
    content = {
        "current-context": "here",
        "clusters": [{"name": "c", "cluster": {"server": server, **(cluster or {})}}],
        "users": [{"name": "u", "user": user or {}}],
        "contexts": [
            {"name": "here", "context": {"cluster": "c", "user": "u", "namespace": namespace or None}},
            {"name": "there", "context": {"cluster": "c", "user": "u", "namespace": "far"}},
        ],
    }
    path = folder / "config"
    path.write_text(yaml.safe_dump(content))
    return path


async def header_of(connection: Connection) -> str:
    return await connection.login().header()


# --- kubeconfig ---


async def test_the_current_context_is_taken_unless_another_is_named(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path, namespace="llm")

    assert from_kubeconfig(path) == Connection("http://api.example.com:8080", namespace="llm")
    assert from_kubeconfig(path, "there").namespace == "far"


async def test_without_a_namespace_it_is_default(tmp_path: Path) -> None:
    assert from_kubeconfig(kubeconfig(tmp_path)).namespace == "default"


@pytest.mark.parametrize(
    ("user", "header"),
    [
        pytest.param({}, "", id="nobody"),
        pytest.param({"token": "t"}, "Bearer t", id="token"),
        pytest.param(
            {"token": "t", "tokenFile": "token"}, "Bearer from-file", id="a file wins, next to the kubeconfig"
        ),
        pytest.param({"username": "u", "password": "p"}, "Basic dTpw", id="password"),
    ],
)
async def test_who_we_are(user: dict[str, Any], header: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from-file\n")

    assert await header_of(from_kubeconfig(kubeconfig(tmp_path, user=user))) == header


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        pytest.param("{", "expected", id="no YAML"),
        pytest.param("[]", "list", id="a list"),
        pytest.param("{}", "clusters", id="empty"),
        pytest.param("{clusters: [], contexts: []}", "No current context", id="no context"),
        pytest.param("{clusters: [], contexts: [], current-context: x}", "'x' not found", id="wrong context"),
        pytest.param(
            "{clusters: [{name: c, cluster: {server: 7}}], contexts: []}", "Expected `str`", id="server of no text"
        ),
    ],
)
async def test_a_broken_kubeconfig_is_named_with_what_is_wrong(content: str, complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(content)

    with pytest.raises(Misconfigured, match=rf"(?s)kubeconfig {path}: .*{complaint}"):
        from_kubeconfig(path)


async def test_a_missing_kubeconfig_is_named(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="nowhere not found"):
        from_kubeconfig(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("user", "complaint"),
    [
        pytest.param({"auth-provider": {"name": "gcp"}}, "auth-provider is not supported", id="auth-provider"),
        pytest.param({"client-certificate": "missing", "client-key": "missing"}, "missing", id="no such certificate"),
        pytest.param({"client-certificate-data": "!", "client-key-data": "!"}, "(PEM|SSL)", id="no certificate"),
    ],
)
async def test_a_user_that_cannot_be_is_refused(user: dict[str, Any], complaint: str, tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=complaint):
        from_kubeconfig(kubeconfig(tmp_path, user=user, server="https://api.example.com"))


async def test_kubeconfig_from_the_environment_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".kube").mkdir()
    at_home = kubeconfig(tmp_path / ".kube", namespace="at-home")
    named = kubeconfig(tmp_path, namespace="named")
    monkeypatch.setenv("HOME", str(tmp_path))

    assert default_connection({"KUBECONFIG": str(named)}).namespace == "named"
    assert default_connection({}).namespace == "at-home"

    at_home.unlink()
    with pytest.raises(Misconfigured, match="not in a cluster"):
        default_connection({})


# --- several files ---


def part(folder: Path, **sections: Any) -> Path:
    """A kubeconfig file in a folder of its own, with a part of what is needed."""
    folder.mkdir()
    path = folder / "config"
    path.write_text(yaml.safe_dump(sections))
    return path


def a_cluster(name: str, server: str) -> dict[str, Any]:
    return {"name": name, "cluster": {"server": server}}


def a_context(name: str, namespace: str) -> dict[str, Any]:
    return {"name": name, "context": {"cluster": "c", "user": "u", "namespace": namespace}}


async def test_several_files_are_one_and_of_the_same_name_the_first_counts(tmp_path: Path) -> None:
    one = part(tmp_path / "one", clusters=[a_cluster("c", "http://first")], contexts=[a_context("x", "one")])
    two = part(
        tmp_path / "two",
        **{"current-context": "y"},
        clusters=[a_cluster("c", "http://second")],
        contexts=[a_context("x", "two"), a_context("y", "two")],
        users=[{"name": "u", "user": {"tokenFile": "token"}}],
    )
    (tmp_path / "two" / "token").write_text("of-two")
    environment = {"KUBECONFIG": os.pathsep.join(["/not/there", str(one), str(two)])}

    found = default_connection(environment)

    assert (found.server, found.namespace) == ("http://first", "two")
    assert await header_of(found) == "Bearer of-two"  # meant from the folder of its own file
    assert default_connection(environment, "x").namespace == "one"
    assert contexts(environment) == ["x", "y"]


async def test_files_none_of_which_is_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"/a and /b not found"):
        default_connection({"KUBECONFIG": "/a:/b"})


# --- ways to the server ---


async def test_an_http_proxy_is_asked_for_the_server(tmp_path: Path) -> None:
    async def forwarded(request: web.Request) -> web.Response:
        return web.json_response(str(request.url))

    app = web.Application()
    app.router.add_get("/{path:.*}", forwarded)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    proxy = f"http://127.0.0.1:{runner.addresses[0][1]}"

    answer = await ask(from_kubeconfig(kubeconfig(tmp_path, cluster={"proxy-url": proxy})))

    await runner.cleanup()
    assert answer == "http://api.example.com:8080/version"


async def test_a_proxy_of_another_kind_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"proxy-url socks5://proxy: only http:// and https:// are supported"):
        from_kubeconfig(kubeconfig(tmp_path, cluster={"proxy-url": "socks5://proxy"}))


async def test_the_certificate_may_be_of_another_name_if_the_kubeconfig_says_so(
    server: str, certificates: tuple[Path, Path]
) -> None:
    folder, by_name = certificates[0].parent, server.replace("127.0.0.1", "localhost")
    trusted = {"certificate-authority": "tls.crt"}

    with pytest.raises(errors.Unreachable, match=r"(?i)hostname"):
        await ask(from_kubeconfig(kubeconfig(folder, server=by_name, cluster=trusted)))
    named = {**trusted, "tls-server-name": "127.0.0.1"}
    assert await ask(from_kubeconfig(kubeconfig(folder, server=by_name, cluster=named))) is None


# --- in a cluster ---


def an_account(folder: Path, certificates: tuple[Path, Path]) -> Path:
    (folder / "token").write_text("t1\n")
    (folder / "namespace").write_text("ours\n")
    (folder / "ca.crt").write_bytes(certificates[0].read_bytes())
    return folder


async def test_a_pod_is_told_where_and_who(
    tmp_path: Path, certificates: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")

    connection = in_cluster(an_account(tmp_path, certificates))

    assert connection.server == "https://[fd00::1]:443"
    assert connection.namespace == "ours"
    assert connection.tls is not None
    assert connection.tls.verify_mode is ssl.CERT_REQUIRED
    assert await header_of(connection) == "Bearer t1"


async def test_an_account_outside_of_a_cluster_is_no_connection(
    tmp_path: Path, certificates: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)

    with pytest.raises(Misconfigured, match="KUBERNETES_SERVICE_HOST"):
        in_cluster(an_account(tmp_path, certificates))


# --- token files ---


class Clock:
    """A monotonic clock that a test moves."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


async def test_a_token_file_is_read_again_after_a_minute(tmp_path: Path) -> None:
    clock = Clock()
    file = tmp_path / "token"
    file.write_text("one")
    credential = TokenFile(file, clock)
    assert await credential.header() == "Bearer one"

    file.write_text("two")
    clock.now += 59
    assert await credential.header() == "Bearer one"
    clock.now += 1
    assert await credential.header() == "Bearer two"


async def test_a_token_that_was_refused_is_read_again_at_once(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("one")
    credential = TokenFile(file, Clock())
    refused = await credential.header()

    file.write_text("two")

    assert await credential.renewed(refused) == "Bearer two"


async def test_a_token_that_was_renewed_meanwhile_is_not_read_again(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("two")
    credential = TokenFile(file, Clock())
    await credential.header()
    file.write_text("three")

    assert await credential.renewed("Bearer one") == "Bearer two"


async def test_a_token_file_that_vanished_leaves_the_last_token(tmp_path: Path) -> None:
    clock = Clock()
    file = tmp_path / "token"
    file.write_text("one")
    credential = TokenFile(file, clock)
    await credential.header()

    file.unlink()
    clock.now += 3600

    assert await credential.header() == "Bearer one"


async def test_a_token_file_that_never_was_is_unreachable(tmp_path: Path) -> None:
    with pytest.raises(errors.Unreachable, match=r"no token: .*nowhere"):
        await TokenFile(tmp_path / "nowhere").header()


# --- exec plugins ---


def plugin_of(folder: Path, script: str) -> Credential:
    """The credential of a kubeconfig whose plugin is the Python `script`."""
    execute = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": sys.executable,
        "args": ["-c", script],
        "env": [{"name": "COUNTER", "value": str(folder / "counter")}],
        "interactiveMode": "Never",
    }
    credential = from_kubeconfig(kubeconfig(folder, user={"exec": execute})).login()
    assert isinstance(credential, ExecPlugin)
    return credential


def counting(expires: datetime | None = None) -> str:
    """A plugin whose token is the number of its run."""
    status = {"expirationTimestamp": expires.isoformat()} if expires else {}
    return f"""
import json, os, pathlib
counter = pathlib.Path(os.environ["COUNTER"])
run = int(counter.read_text()) + 1 if counter.exists() else 1
counter.write_text(str(run))
asked = json.loads(os.environ["KUBERNETES_EXEC_INFO"])
assert asked["spec"]["interactive"] is False
status = dict({status!r}, token=f"run-{{run}}")
print(json.dumps({{"apiVersion": asked["apiVersion"], "kind": "ExecCredential", "status": status}}))
"""


async def test_a_plugin_is_asked_once_for_a_token_without_end(tmp_path: Path) -> None:
    credential = plugin_of(tmp_path, counting())

    assert [await credential.header() for _ in range(3)] == ["Bearer run-1"] * 3


async def test_a_plugin_is_asked_again_when_its_token_ends_and_not_before(tmp_path: Path) -> None:
    fresh = plugin_of(tmp_path, counting(datetime.now(UTC) + timedelta(hours=1)))
    assert [await fresh.header() for _ in range(2)] == ["Bearer run-1"] * 2

    ending = plugin_of(tmp_path, counting(datetime.now(UTC) + timedelta(seconds=5)))
    assert [await ending.header() for _ in range(2)] == ["Bearer run-2", "Bearer run-3"]


async def test_a_plugin_is_asked_again_when_its_token_is_refused(tmp_path: Path) -> None:
    credential = plugin_of(tmp_path, counting())
    refused = await credential.header()

    assert await credential.renewed(refused) == "Bearer run-2"
    assert await credential.renewed(refused) == "Bearer run-2"


@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        pytest.param("import sys; sys.exit('log in first')", "exit code 1: log in first", id="fails"),
        pytest.param("print('hello')", "malformed", id="prints something else"),
        pytest.param("print('{\"status\": {}}')", "token", id="gives no token"),
    ],
)
async def test_a_plugin_without_a_token_is_unreachable(script: str, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(errors.Unreachable, match=f"no token from .*{complaint}"):
        await plugin_of(tmp_path, script).header()


async def test_a_plugin_that_is_not_there_is_unreachable() -> None:
    with pytest.raises(errors.Unreachable, match=r"no token from no-such-plugin get-token: .*No such file"):
        await ExecPlugin(("no-such-plugin", "get-token"), {}).header()


# --- certificates ---


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1 and its key: it is server, client and CA at once."""
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "tls.crt", folder / "tls.key"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-subj", "/CN=me", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"),
            *("-keyout", key, "-out", certificate),
        ],
        check=True,
        capture_output=True,
    )
    return certificate, key


@pytest.fixture
async def server(certificates: tuple[Path, Path]) -> Any:
    """An HTTPS server that answers with the common name in the client's certificate; yields its URL."""

    async def handle(request: web.Request) -> web.Response:
        assert request.transport is not None
        return web.json_response(request.transport.get_extra_info("peercert"))

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=certificates[0])
    context.load_cert_chain(*certificates)
    context.verify_mode = ssl.CERT_OPTIONAL
    app = web.Application()
    app.router.add_get("/version", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    yield f"https://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def ask(connection: Connection) -> Any:
    async with Client(connection) as client:
        return json.loads(await client.send(Request("GET", "/version")))


def inline(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


async def test_certificates_are_taken_from_files_next_to_the_kubeconfig(
    server: str, certificates: tuple[Path, Path]
) -> None:
    folder = certificates[0].parent
    user = {"client-certificate": "tls.crt", "client-key": "tls.key"}
    path = kubeconfig(folder, user=user, server=server, cluster={"certificate-authority": "tls.crt"})

    assert (await ask(from_kubeconfig(path)))["subject"] == [[["commonName", "me"]]]


async def test_certificates_are_taken_from_the_kubeconfig_itself(
    server: str, certificates: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    certificate, key = map(inline, certificates)
    user = {"client-certificate-data": certificate, "client-key-data": key}
    path = kubeconfig(tmp_path, user=user, server=server, cluster={"certificate-authority-data": certificate})

    assert (await ask(from_kubeconfig(path)))["subject"] == [[["commonName", "me"]]]
    assert os.listdir(tmp_path) == ["config"]  # no key is left behind


async def test_a_server_that_nobody_vouches_for_is_unreachable(server: str, tmp_path: Path) -> None:
    with pytest.raises(errors.Unreachable, match="certificate"):
        await ask(from_kubeconfig(kubeconfig(tmp_path, server=server)))


async def test_a_server_may_go_unverified_if_the_kubeconfig_says_so(server: str, tmp_path: Path) -> None:
    path = kubeconfig(tmp_path, server=server, cluster={"insecure-skip-tls-verify": True})

    assert await ask(from_kubeconfig(path)) is None


async def test_each_client_has_a_credential_of_its_own(tmp_path: Path) -> None:
    """A credential may wait in one event loop; the elector's client runs in another."""
    connection = from_kubeconfig(kubeconfig(tmp_path, user={"tokenFile": "token"}))

    assert connection.login() is not connection.login()
    assert Connection("http://a").login() == Fixed("")
