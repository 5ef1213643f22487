"""A certificate authority for one cluster, and a kubeconfig for everyone in it. openssl does the work."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from testbed import places

_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
_DAYS = "365"


def authority() -> None:
    """The CA that everyone trusts, and the key that signs service accounts' tokens."""
    places.PKI.mkdir(parents=True, exist_ok=True)
    _openssl(
        "req",
        "-x509",
        *_NEW_KEY,
        "-keyout",
        key("ca"),
        "-out",
        certificate("ca"),
        "-days",
        _DAYS,
        "-subj",
        "/CN=local-ca",
    )
    _openssl("genrsa", "-out", key("sa"), "2048")


def issue(name: str, subject: str, *, names: str = "") -> None:
    """A key and a certificate for `subject`, such as /O=group/CN=user; `names` are its addresses."""
    request = places.PKI / f"{name}.csr"
    extensions = places.PKI / f"{name}.ext"
    extensions.write_text(f"subjectAltName={names}\n" if names else "")
    _openssl("req", *_NEW_KEY, "-keyout", key(name), "-subj", subject, "-out", request)
    _openssl(
        "x509", "-req", "-in", request, "-CA", certificate("ca"), "-CAkey", key("ca"), "-CAcreateserial",
        "-days", _DAYS, "-out", certificate(name), "-extfile", extensions,
    )  # fmt: skip


def kubeconfig(name: str) -> Path:
    """A kubeconfig for the user whose certificate is called `name`."""
    path = places.STATE / f"{name}.kubeconfig"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": NAME,
        "contexts": [{"name": NAME, "context": {"cluster": NAME, "user": name}}],
        "clusters": [
            {"name": NAME, "cluster": {"server": places.SERVER, "certificate-authority": str(certificate("ca"))}}
        ],
        "users": [{"name": name, "user": {"client-certificate": str(certificate(name)), "client-key": str(key(name))}}],
    }
    path.write_text(json.dumps(config, indent=1))
    path.chmod(0o600)
    return path


NAME = "fusioninfer-testbed"


def certificate(name: str) -> Path:
    return places.PKI / f"{name}.crt"


def key(name: str) -> Path:
    return places.PKI / f"{name}.key"


def _openssl(*words: str | Path) -> None:
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)
