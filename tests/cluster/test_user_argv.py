"""What the process in the container is given: the user's words, as the real kubelet expands them, and then ours."""

from __future__ import annotations

import base64
import random
from pathlib import Path

import pytest

from testbed import images
from tests.cluster.harness import Namespace, a_service
from tests.properties.test_user_argv import expanded

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("operator")]

WORDS = 500
"""As many as the API allows a container."""
ODD = [
    "$(X)", "$$(X)", "$$", "$", "$(UNKNOWN)", "${X}", "$(", "a b", "'", '"', "\n", "\\", "", "--", "-", "=",
    "; rm -rf /", "`x`", "{", "#", '{"a": {"b": "c d"}}', "--served-model-name=a b", "ünï", "🙂", "\t",
]  # fmt: skip
PRINTER = """\
#!/bin/busybox sh
for word; do printf %s "$word" | /bin/busybox base64 -w0; echo; done
exec /bin/busybox sleep 1000
"""
IMAGE = "fusioninfer.local/prints-its-argv:1"


@pytest.fixture
def printer(installed: object, tmp_path: Path) -> str:
    """An image whose `vllm` prints its words, one a line."""
    program = tmp_path / "vllm"
    program.write_text(PRINTER)
    program.chmod(0o755)
    files = (("bin/busybox", Path("/bin/busybox")), ("usr/local/bin/vllm", program))
    images.load(images.Image(IMAGE, files, ("vllm",)))
    return IMAGE


def random_words() -> list[str]:
    """The same ones in every run."""
    chance = random.Random(4)  # without control characters, which kubectl cannot send as YAML
    letters = [
        chr(code)
        for code in (*range(0x20, 0x7F), *range(0xA0, 0x250), *range(0x4E00, 0x4E40), *range(0x1F600, 0x1F640))
    ]

    def word() -> str:
        return chance.choice(ODD) if chance.random() < 0.5 else "".join(chance.choices([*letters, *ODD], k=6))

    return [word() for _ in range(WORDS)]


def test_five_hundred_words_arrive_as_they_were_written(printer: str, namespace: Namespace) -> None:
    words = random_words()
    container = {
        "name": "engine",
        "image": printer,
        "command": ["vllm", "serve"],
        "args": words,
        "env": [{"name": "X", "value": "x y"}],
    }
    namespace.apply(a_service("argv", template={"spec": {"containers": [container]}}, replicas=1))
    pod = namespace.wait(
        lambda: namespace.list("pods"), lambda pods: bool(pods and pods[0]["status"]["phase"] == "Running"), "the pod"
    )[0]["metadata"]["name"]
    count = len(words)
    printed = namespace.wait(
        lambda: namespace("logs", pod).split("\n")[:-1], lambda lines: len(lines) >= count + 3, "all words"
    )

    given = [base64.b64decode(line).decode() for line in printed]

    assert given == ["serve", *(expanded(word, {"X": "x y"}) for word in words), "--shutdown-timeout", "40"]
