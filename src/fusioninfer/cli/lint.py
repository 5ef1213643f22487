"""`fusioninfer lint`: every refusal and warning of every InferenceService in files, without any cluster."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import yaml

from fusioninfer.api import parse, types
from fusioninfer.api.crd import service_schema
from fusioninfer.api.schema import Schema
from fusioninfer.api.service import InvalidSpec, Manifest
from fusioninfer.api.violations import UnknownField, oversized, stored_part, violations
from fusioninfer.build import desired
from fusioninfer.build.engines import Engines
from fusioninfer.build.router.strategies import Strategies
from fusioninfer.cli import documents

CLEAN, WARNED, REFUSED = 0, 1, 2
"""Exit codes."""
MAX_VALUE = 60
"""Characters of a value that are shown."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, or looks wrong, in a file."""

    file: str
    service: str
    """Empty: it is about the file."""
    field: str
    value: str
    """As it is written there, shortened; empty if nothing is."""
    problem: str
    """What is wrong, and what to do."""
    is_refusal: bool = True

    def __str__(self) -> str:
        kind = "refused" if self.is_refusal else "warning"
        field = f"{self.field} = {self.value}" if self.value else self.field
        return ": ".join(part for part in (self.file, self.service, kind, field, self.problem) if part)


@dataclass(frozen=True, slots=True)
class Report:
    """What came of all files."""

    findings: tuple[Finding, ...]
    services: int
    files: int

    @property
    def refusals(self) -> int:
        return sum(finding.is_refusal for finding in self.findings)

    @property
    def warnings(self) -> int:
        return len(self.findings) - self.refusals

    def exit_code(self, *, strict: bool) -> int:
        """REFUSED; or, if warnings count too, WARNED; or CLEAN."""
        if self.refusals:
            return REFUSED
        return WARNED if strict and self.warnings else CLEAN

    def __str__(self) -> str:
        counts = ((self.services, types.KIND), (self.files, "file"), (self.refusals, "refusal"))
        services, files, refusals = (f"{count} {what}{'s' * (count != 1)}" for count, what in counts)
        return f"{services} in {files}: {refusals}, {self.warnings} warning{'s' * (self.warnings != 1)}"


def linted(files: Iterable[str], engines: Engines, strategies: Strategies) -> Report:
    """What is wrong with the services in `files`, which may be folders; `-` is standard input."""
    findings: list[Finding] = []
    services = read = 0
    for file in documents.files_of(files):
        read += 1
        try:
            raws = list(documents.services_in(documents.text_of(file)))
        except (yaml.YAMLError, OSError, ValueError) as error:
            findings.append(Finding(file, "", "", "", documents.complaint(error)))
            continue
        services += len(raws)
        findings += [finding for raw in raws for finding in findings_of(file, raw, engines, strategies)]
    if not services and not findings:
        where = ", ".join(files) or "nothing"
        findings.append(Finding(where, "", "", "", f"holds no {types.KIND} of {types.API_VERSION}"))
    return Report(tuple(findings), services, read)


def findings_of(file: str, raw: Manifest, engines: Engines, strategies: Strategies) -> Iterator[Finding]:
    """All that is to be said of the one service `raw`, as it stands in `file`."""
    service = documents.named(raw)
    found = tuple(refusals(raw, engines, strategies))
    for refusal in found:
        yield Finding(file, service, refusal.field, shown(value_at(raw, refusal.field)), refusal.problem)
    if not found:
        for path, warning in _warnings(raw, engines, strategies):
            yield Finding(file, service, path, "", warning, is_refusal=False)


def refusals(raw: Manifest, engines: Engines, strategies: Strategies) -> Iterator[InvalidSpec]:
    """All for which the API server or the operator would refuse `raw`; of one field in the operator's words."""
    metadata = raw.get("metadata")
    if not isinstance(metadata, Mapping) or not isinstance(metadata.get("name"), str):
        yield InvalidSpec("metadata.name", "is missing; it names the Service")
        return
    by_server = tuple(by_the_server(raw))
    by_us = tuple(_by_us({**raw, "spec": stored_part(raw.get("spec"), _schema())}, engines, strategies))
    if by_server:  # which say the same, and all of it
        by_us = tuple(refusal for refusal in by_us if not isinstance(refusal, parse.Mistyped))
    fields = {refusal.field for refusal in by_us}
    yield from (refusal for refusal in by_server if refusal.field not in fields)
    yield from by_us


def by_the_server(raw: Manifest) -> Iterator[InvalidSpec]:
    """What the CRD refuses and, in other words or not at all, `parse`: by its schema, and by CEL."""
    yield from (UnknownField(name, _TOP) for name in raw if name not in _KNOWN)
    spec = raw.get("spec")
    yield from violations(spec, _schema(), "spec")
    yield from _by_cel(spec)


@cache
def _schema() -> Schema:
    """Of `spec`."""
    schema: Schema = service_schema()["properties"]["spec"]
    return schema


_KNOWN = ("apiVersion", "kind", "metadata", "spec", "status")
_TOP = "there is no such field; everything that you ask for stands under spec"


def _by_us(raw: Manifest, engines: Engines, strategies: Strategies) -> Iterator[InvalidSpec]:
    found = tuple(parse.refusals(raw))
    yield from found
    if not found:
        yield from desired.refusals(parse.parse(raw), engines, strategies)


def _by_cel(spec: Any) -> Iterator[InvalidSpec]:
    """What the CRD's rules refuse and `parse` takes."""
    roles = spec.get("roles") if isinstance(spec, Mapping) else None
    placed = enumerate(roles if isinstance(roles, list) else ())
    written = {index: role for index, role in placed if isinstance(role, Mapping)}
    for index, role in written.items():
        multinode = role.get("multinode")
        workers = multinode.get("workerTemplate") if isinstance(multinode, Mapping) else None
        yield from oversized(role.get("template"), f"spec.roles[{index}].template")
        yield from oversized(workers, f"spec.roles[{index}].multinode.workerTemplate")
    engines = [role.get("name") for role in written.values() if role.get("componentType") != "router"]
    given = value_at({"spec": spec}, "spec.schedulingStrategy.gang.minReplicas")
    for name in given if isinstance(given, Mapping) else ():
        if name not in engines:
            there = ", ".join(map(str, engines))
            path = f"spec.schedulingStrategy.gang.minReplicas.{name}"
            yield InvalidSpec(path, f"no engine role has that name; there are {there}")


def _warnings(raw: Manifest, engines: Engines, strategies: Strategies) -> Iterator[tuple[str, str]]:
    """Of a service in which nothing is refused: where, and what looks like a mistake."""
    built = desired.desired_objects(parse.parse(raw), engines, strategies)
    for objects in (*built.roles, *(() if built.router is None else (built.router,))):
        yield from ((objects.role.path, f"role {objects.role.name}: {warning}") for warning in objects.warnings)


# --- values -------------------------------------------------------------------------------------------------------

_NOTHING = object()


def value_at(raw: Any, path: str) -> Any:
    """What stands at `path`, such as spec.roles[0].name, in `raw`; `_NOTHING` if nothing does.

    Keys may have dots: of those that fit the longest counts. Items of a list may be told by name: containers[engine].
    """
    if not path:
        return raw
    if isinstance(raw, list) and (index := re.match(r"\[([^\]]+)\]\.?", path)):
        marks = [item.get("name") if isinstance(item, Mapping) else None for item in raw]
        number = int(index[1]) if index[1].isdecimal() else marks.index(index[1]) if index[1] in marks else len(raw)
        return value_at(raw[number], path[index.end() :]) if number < len(raw) else _NOTHING
    if isinstance(raw, Mapping):
        for key in sorted((key for key in raw if path.startswith(str(key))), key=lambda key: -len(str(key))):
            rest = path[len(str(key)) :]
            if not rest or rest[0] in ".[":
                return value_at(raw[key], rest.removeprefix("."))
    return _NOTHING


def shown(value: Any) -> str:
    """`value` as JSON if that is short enough to be read on a line; else nothing."""
    if value is _NOTHING:
        return ""
    text = json.dumps(value, ensure_ascii=False, default=str)
    if len(text) <= MAX_VALUE:
        return text
    return f"{text[: MAX_VALUE - 1]}…" if isinstance(value, str) else ""
