"""The certificate of the endpoints: what is served, and what is served once the files were renewed."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from pathlib import Path

import aiohttp
import pytest

from fusioninfer.daemon import certificate
from fusioninfer.daemon.access import ThisMachine
from fusioninfer.daemon.certificate import Certificate
from fusioninfer.daemon.health import application, serving
from fusioninfer.kube.connection import Misconfigured


def a_pair(folder: Path, name: str) -> tuple[Path, Path]:
    """A key and a certificate of its own for localhost, called `name`."""
    files = folder / f"{name}.crt", folder / f"{name}.key"
    words = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1"]
    names = ["-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run(["openssl", *words, *names, "-out", files[0], "-keyout", files[1]], check=True, capture_output=True)
    return files


def put(pair: tuple[Path, Path], place: tuple[Path, Path]) -> None:
    for source, target in zip(pair, place, strict=True):
        target.write_bytes(source.read_bytes())


async def in_the_clear(port: int) -> None:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/healthz") as response:
        response.raise_for_status()


async def served(port: int) -> bytes:
    """The certificate that a new connection gets."""
    trusting = ssl.create_default_context()
    trusting.check_hostname = False
    trusting.verify_mode = ssl.CERT_NONE
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting)
    try:
        found = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        assert isinstance(found, bytes)
        return found
    finally:
        writer.close()


def der(pair: tuple[Path, Path]) -> bytes:
    return ssl.PEM_cert_to_DER_cert(pair[0].read_text())


@pytest.fixture
def place(tmp_path: Path) -> tuple[Path, Path]:
    """Where the files are mounted, with a first pair in them."""
    files = tmp_path / "tls.crt", tmp_path / "tls.key"
    put(a_pair(tmp_path, "first"), files)
    return files


async def test_endpoints_are_served_by_tls(tmp_path: Path, place: tuple[Path, Path]) -> None:
    app = application(wrong=list, unready=list, metrics=bytes, access=ThisMachine("127.0.0.1"))
    async with serving(app, "127.0.0.1", 0, Certificate(*place)) as port:
        assert await served(port) == der(place)
        with pytest.raises(aiohttp.ClientError):
            await in_the_clear(port)


async def test_renewed_files_are_served_without_a_restart(
    tmp_path: Path, place: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(certificate, "LOOK_SECONDS", 0.01)
    second = a_pair(tmp_path, "second")
    app = application(wrong=list, unready=list, metrics=bytes, access=ThisMachine("127.0.0.1"))
    async with serving(app, "127.0.0.1", 0, Certificate(*place)) as port:
        put(second, place)
        for _ in range(200):
            if await served(port) == der(second):
                return
            await asyncio.sleep(0.02)
        raise AssertionError("the old certificate is served still")


@pytest.mark.parametrize("half", [0, 1], ids=["certificate", "key"])
async def test_half_a_renewal_is_not_taken(tmp_path: Path, place: tuple[Path, Path], half: int) -> None:
    first, second = der(place), a_pair(tmp_path, "second")
    pair = Certificate(*place)
    app = application(wrong=list, unready=list, metrics=bytes, access=ThisMachine("127.0.0.1"))
    async with serving(app, "127.0.0.1", 0, pair) as port:
        place[half].write_bytes(second[half].read_bytes())
        pair.look()
        assert await served(port) == first

        put(second, place)
        pair.look()
        assert await served(port) == der(second)


def test_files_that_are_gone_leave_what_there_was(place: tuple[Path, Path]) -> None:
    pair = Certificate(*place)
    place[1].unlink()

    pair.look()


@pytest.mark.parametrize("content", [None, "", "no certificate"])
def test_what_is_no_pair_is_named_at_the_start(place: tuple[Path, Path], content: str | None) -> None:
    if content is None:
        place[0].unlink()
    else:
        place[0].write_text(content)

    with pytest.raises(Misconfigured, match=r"tls\.crt"):
        Certificate(*place)
