"""Whether a value of a picker's config has the shape that a release asks for, and what it refers to is there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NoReturn

from fusioninfer.build.router import pod_labels
from fusioninfer.build.router.lines import Node, Unreadable
from fusioninfer.build.router.pod_labels import PodLabels, meant
from fusioninfer.build.router.releases import Plugin, Release
from fusioninfer.build.router.releases.shapes import SCALARS, Shape, choices, reference


@dataclass(frozen=True, slots=True)
class Known:
    """What names can refer to, at one place of the config."""

    release: Release
    labels: PodLabels
    plugins: Mapping[str, Plugin]
    """By name."""
    profiles: frozenset[str]
    later: frozenset[str] = frozenset()
    """Names of plug-ins that are written further down, where that is too late."""


def refuse(line: int, problem: str) -> NoReturn:
    """Ends all checks."""
    raise Unreadable(line, problem)


_SELECTOR: Shape = {
    "matchLabels": {"*": "string"},
    "matchExpressions": [{"key": "string", "operator": "string", "values": ["string"]}],
}


def check_value(node: Node, shape: Shape, where: str, known: Known, unknown: str = "refused") -> None:
    """Refuses what does not fit `shape`; `unknown` is what becomes of fields that are not in it."""
    match shape:
        case str():
            _check_word(node, shape, where, known)
        case [item]:
            if node.value is None:
                return
            for index, part in enumerate(items_of(node, where)):
                check_value(part, item, f"{where}[{index}]", known, unknown)
        case {"*": item}:
            for key, part in (mapping_of(node, where) if node.value is not None else {}).items():
                check_value(part, item, f"{where}: {key}", known, unknown)
        case dict():
            _check_fields(node, shape, where, known, unknown)


def _check_fields(node: Node, shape: Mapping[str, Shape], where: str, known: Known, unknown: str) -> None:
    fields = mapping_of(node, where) if node.value is not None else {}
    end = "the picker would ignore it" if unknown == "ignored" else "the picker would not start"
    check_fields_known(fields, shape, where, "parameter" if where.startswith("plugin") else "field", f"; {end}")
    separator = "." if ": " in where or not where.startswith("plugin") else ": "
    for name, part in shape.items():
        check_value(fields.get(name, Node(node.line, None)), part, f"{where}{separator}{name}", known, unknown)
    keys = [fields[name] for name, part in shape.items() if part == "label key" and name in fields]
    values = [
        item for name, part in shape.items() if part == ["label value"] for item in items_of(fields.get(name)) if keys
    ]
    if found := pod_labels.by_label_problem(keys, values, known.labels):
        refuse(found[0].line, f"{where}: {found[1]}")


def _check_word(node: Node, word: str, where: str, known: Known) -> None:
    refers = reference(word)
    if node.value is None:
        if refers and refers.default:
            _check_default(Node(node.line, refers.default), refers.slots, where, known)
        return
    if word == "label selector":
        check_value(node, _SELECTOR, where, known)
        if found := pod_labels.selector_problem(node, known.labels):
            refuse(found[0].line, f"{where}: {found[1]}")
    elif refers:
        _check_type(node, "string", where)
        if node.value == "":
            return
        if refers.slots:
            referred(node, refers.slots, where, known)
        elif node.value not in known.profiles:
            hint = meant(str(node.value), known.profiles)
            refuse(node.line, f"{where}: there is no profile {shown(node)}{hint}; there are {listed(known.profiles)}")
    elif options := choices(word):
        if node.value not in options:
            refuse(node.line, f"{where}: is {shown(node)}; one of {listed(options)} is needed")
    elif word in SCALARS:
        _check_type(node, word, where)
    elif word != "any":
        _check_type(node, "string", where)


def _check_default(node: Node, slots: tuple[str, ...], where: str, known: Known) -> None:
    if slots and node.value not in known.plugins:
        refuse(node.line, f"{where}: is not written, and so means {shown(node)}; {_missing(node, known)}")
    if not slots and node.value not in known.profiles:
        there = listed(known.profiles)
        refuse(node.line, f"{where}: is not written, and so means {shown(node)}; the profiles are {there}")


def _check_type(node: Node, word: str, where: str) -> None:
    if not SCALARS[word].takes(node.value):
        refuse(node.line, f"{where}: is {shown(node)}; {SCALARS[word].words} is needed")


def referred(node: Node, slots: Iterable[str], where: str, known: Known) -> Plugin:
    """The plug-in that `node` names, if it has one of `slots`."""
    plugin = known.plugins.get(str(node.value))
    if plugin is None:
        refuse(node.line, f"{where}: {_missing(node, known)}")
    if not set(slots).intersection(plugin.slots):
        one, is_a = " or ".join(slots), " and ".join(plugin.slots)
        refuse(node.line, f"{where}: {shown(node)} is a {is_a}; a {one} is needed")
    return plugin


def _missing(node: Node, known: Known) -> str:
    name = str(node.value)
    if name in known.later:
        return f"the plugin {name!r} must stand before the one that refers to it; move it up"
    if name in known.release.plugins:
        return f"there is no plugin {name!r}; add `- type: {name}` to plugins"
    return f"there is no plugin {name!r}{meant(name, known.plugins)}"


def nothing_known(release: Release) -> Known:
    """For values that refer to nothing."""
    return Known(release, {}, {}, frozenset())


def mapping_of(node: Node, where: str) -> dict[str, Node]:
    if not isinstance(node.value, dict):
        refuse(node.line, f"{where}: is {shown(node)}; a mapping is needed")
    return node.value


def items_of(node: Node | None, where: str = "") -> list[Node]:
    if node is None or node.value is None:
        return []
    if not isinstance(node.value, list):
        refuse(node.line, f"{where}: is {shown(node)}; a list is needed")
    return node.value


def check_fields_known(fields: Mapping[str, Node], known: Iterable[str], where: str, noun: str, end: str = "") -> None:
    """Refuses a field that is not known."""
    names = list(known)
    for name, node in fields.items():
        if name not in names:
            there = "" if names else f"; it takes no {noun}s"
            refuse(node.line, f"{where}: there is no {noun} {name!r}{meant(name, names)}{there}{end}")


def shown(node: Node) -> str:
    match node.value:
        case None:
            return "not written"
        case bool():
            return str(node.value).lower()
        case list():
            return "a list"
        case dict():
            return "a mapping"
        case str():
            return repr(node.value if len(node.value) <= 60 else f"{node.value[:60]}…")
        case number:
            return f"the number {number}"


def listed(words: Iterable[str]) -> str:
    return ", ".join(words)
