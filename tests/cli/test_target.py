"""Which cluster and namespace the flags mean."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from fusioninfer.cli.flags import Flags
from fusioninfer.cli.target import target


@pytest.fixture
def kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that kubectl would take, with two contexts."""
    contexts = [
        {"name": name, "context": {"cluster": "c", "namespace": namespace}}
        for name, namespace in (("east", "llm"), ("west", "far"))
    ]
    content = {
        "current-context": "east",
        "contexts": contexts,
        "clusters": [{"name": "c", "cluster": {"server": "http://there"}}],
    }
    path = tmp_path / "config"
    path.write_text(yaml.safe_dump(content))
    monkeypatch.setenv("KUBECONFIG", str(path))
    return path


def test_what_is_not_said_is_as_kubectl_has_it(kubeconfig: Path) -> None:
    assert target().namespace == "llm"
    assert target(context="west").namespace == "far"
    assert target("mine", context="west").namespace == "mine"
    assert target(kubeconfig=str(kubeconfig), context="west").connection.server == "http://there"


@pytest.mark.parametrize(
    ("flags", "words", "cluster"),
    [
        (Flags("llm"), "-n llm", ""),
        (Flags("llm", "west"), "-n llm --context west", "--context west"),
        (Flags("llm", "", "/a"), "-n llm --kubeconfig /a", "--kubeconfig /a"),
    ],
)
def test_flags_are_said_as_they_were_meant(flags: Flags, words: str, cluster: str) -> None:
    assert (str(flags), flags.cluster) == (words, cluster)
