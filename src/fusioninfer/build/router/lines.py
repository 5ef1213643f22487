"""YAML that a user wrote as text, read so that every value knows its line.

Only what JSON can say: one document of mappings, lists, strings, numbers, true, false and null. What else YAML has is
refused, so that text cannot grow when it is read, and no word turns into a date or a truth value unseen.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import yaml

BYTES = 65536
DEPTH = 32

Value = None | bool | int | float | str | list["Node"] | dict[str, "Node"]


@dataclass(frozen=True, slots=True)
class Node:
    """A value, and the line where it begins, with its key if it has one."""

    line: int
    value: Value


class Unreadable(Exception):
    """The text is not what `read` takes; `line` is None if no line is to blame."""

    def __init__(self, line: int | None, problem: str) -> None:
        super().__init__(problem)
        self.line = line
        self.problem = problem


def read(text: str) -> Node:
    """The one value that stands in `text`; raises Unreadable."""
    if len(text.encode(errors="replace")) > BYTES:
        raise Unreadable(None, f"has more than {BYTES // 1024} KiB")
    loader = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
    except yaml.reader.ReaderError as error:
        raise Unreadable(
            text.count("\n", 0, error.position) + 1, f"the character {error.character!r} is not allowed in YAML"
        ) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise Unreadable(mark.line + 1 if mark else None, f"not YAML: {error.problem or error.context}") from None
    except (ValueError, OverflowError):  # an escape such as "\UFFFFFFFF"
        raise Unreadable(loader.line + 1 if loader else None, "not YAML: an escape that is no character") from None
    if node is None:
        raise Unreadable(None, "is empty")
    return _read(node)


def plain(node: Node) -> Any:
    """The value without its lines."""
    match node.value:
        case list():
            return [plain(item) for item in node.value]
        case dict():
            return {key: plain(item) for key, item in node.value.items()}
        case _:
            return node.value


class _Loader(yaml.SafeLoader):
    """Composes nodes and constructs nothing."""

    depth = 0

    def get_single_node(self) -> yaml.Node | None:
        self.get_event()  # type: ignore[no-untyped-call]
        document = None if self.check_event(yaml.StreamEndEvent) else self.compose_document()
        if not self.check_event(yaml.StreamEndEvent):
            raise Unreadable(self.line_of_next(), "a second document begins; write one")
        return document

    def line_of_next(self) -> int:
        return int(self.peek_event().start_mark.line) + 1  # type: ignore[no-untyped-call]

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            raise Unreadable(self.line_of_next(), "anchors and aliases (&x, *x) are not taken; write the value out")
        if self.depth == DEPTH:
            raise Unreadable(self.line_of_next(), f"is nested more than {DEPTH} deep")
        self.depth += 1
        node: yaml.Node | None = super().compose_node(parent, index)
        self.depth -= 1
        return node


_STRING = "tag:yaml.org,2002:str"
# JSON's own spelling of numbers, and of nothing else: PyYAML would read 010 as 8, 1:30 as 90, and `no` as false.
_PLAIN = {
    "tag:yaml.org,2002:null": (r"~|null|Null|NULL|", "~nN\0"),
    "tag:yaml.org,2002:bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "tag:yaml.org,2002:int": (r"-?(0|[1-9][0-9]*)", "-0123456789"),
    "tag:yaml.org,2002:float": (r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?", "-0123456789"),
}
_Loader.yaml_implicit_resolvers = {}
for _tag, (_pattern, _first) in _PLAIN.items():
    _Loader.add_implicit_resolver(_tag, re.compile(f"^(?:{_pattern})$"), ["" if c == "\0" else c for c in _first])


def _read(node: yaml.Node, line: int | None = None) -> Node:
    line = node.start_mark.line + 1 if line is None else line
    match node:
        case yaml.MappingNode(tag="tag:yaml.org,2002:map"):
            return Node(line, _mapping(node))
        case yaml.SequenceNode(tag="tag:yaml.org,2002:seq"):
            return Node(line, [_read(item) for item in node.value])
        case yaml.ScalarNode():
            return Node(line, _scalar(node, line))
        case _:
            raise Unreadable(line, f"the tag {node.tag} is not taken")


def _mapping(node: yaml.MappingNode) -> dict[str, Node]:
    found: dict[str, Node] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        name = _scalar(key, line) if isinstance(key, yaml.ScalarNode) else None
        if not isinstance(name, str):
            raise Unreadable(line, f"{_shown(key)} is a key, and no string; quote it")
        if name == "<<":
            raise Unreadable(line, "merge keys (<<) are not taken; write the fields out")
        if name in found:
            raise Unreadable(line, f"{name!r} stands here a second time, after line {found[name].line}")
        found[name] = _read(value, line)
    return found


def _shown(key: yaml.Node) -> str:
    return repr(key.value) if isinstance(key, yaml.ScalarNode) else "a list or a mapping"


def _scalar(node: yaml.ScalarNode, line: int) -> bool | int | float | str | None:
    written: str = node.value
    match node.tag.rpartition(":")[2] if node.tag in (*_PLAIN, _STRING) else None:
        case "str":
            if any("\ud800" <= letter <= "\udfff" for letter in written):
                raise Unreadable(line, "half of a surrogate pair is no character")
            return written
        case "null":
            return None
        case "bool" if written.lower() in ("true", "false"):
            return written.lower() == "true"
        case "int" | "float" as kind if re.fullmatch(_PLAIN["tag:yaml.org,2002:float"][0], written):
            number = float(written)
            if kind == "int" and len(written) < 20:
                return int(written)
            if abs(number) < 1e300 and kind == "float":
                return number
            raise Unreadable(line, f"{written[:40]} is too large a number")
        case _:
            raise Unreadable(line, f"the tag {node.tag} is not taken")
