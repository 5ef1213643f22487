"""The InferenceServices in files: read as kubectl reads them."""

from __future__ import annotations

import sys
from collections.abc import Hashable, Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from fusioninfer.api import types
from fusioninfer.api.service import Manifest

ENDINGS = (".yaml", ".yml", ".json")
"""Of the files that are read of a folder (kubectl's)."""
STANDARD_INPUT = "-"


def files_of(words: Iterable[str]) -> Iterator[str]:
    """Each file that is meant: of a folder all with one of ENDINGS in it, at any depth."""
    for word in words:
        if word != STANDARD_INPUT and Path(word).is_dir():
            yield from sorted(str(path) for path in Path(word).rglob("*") if path.suffix in ENDINGS and path.is_file())
        else:
            yield word


def text_of(file: str) -> str:
    """What `file` holds; `-` is standard input. Raises OSError, and ValueError if it is no text."""
    return sys.stdin.read() if file == STANDARD_INPUT else Path(file).read_text(encoding="utf-8")


def services_in(text: str) -> Iterator[Manifest]:
    """Every InferenceService in `text`, also in Lists; other kinds are passed over. Raises yaml.YAMLError."""
    for document in yaml.load_all(text, Loader=Loader):
        items = document.get("items") if isinstance(document, dict) and document.get("kind") == "List" else [document]
        yield from (item for item in items or () if is_service(item))


def is_service(document: Any) -> bool:
    """It says that it is an InferenceService, whatever else it says."""
    return (
        isinstance(document, dict)
        and document.get("apiVersion") == types.API_VERSION
        and document.get("kind") == types.KIND
    )


def named(raw: Manifest) -> str:
    """What the service in a file is called: with its namespace, if the file says one."""
    metadata = raw.get("metadata")
    known = metadata if isinstance(metadata, dict) else {}
    return "/".join(str(known[key]) for key in ("namespace", "name") if known.get(key)) or "(no name)"


class Loader(yaml.SafeLoader):
    """YAML as kubectl takes it: a key that stands twice is a mistake, and a date is a text."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} stands twice; remove one", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def complaint(error: yaml.YAMLError | OSError | ValueError) -> str:
    """`error` on one line, with the line of the file that it is about."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
    return " ".join(str(error).split())
