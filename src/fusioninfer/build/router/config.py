"""A user's EndpointPickerConfig: read from text, and checked against what the picker's release knows.

The picker itself would end on most of these mistakes, and quietly ignore the others; so each is refused before any
pod starts, with its line. What a release adds by itself is not asked for: a profile without a picker is taken as the
release takes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import msgspec

from fusioninfer.api.service import InvalidSpec, Manifest
from fusioninfer.build.router import pod_labels
from fusioninfer.build.router.lines import Node, Unreadable, plain, read
from fusioninfer.build.router.pod_labels import PodLabels, meant
from fusioninfer.build.router.releases import Plugin, Release
from fusioninfer.build.router.releases.shapes import Shape
from fusioninfer.build.router.values import (
    Known,
    check_fields_known,
    check_value,
    items_of,
    listed,
    mapping_of,
    nothing_known,
    referred,
    refuse,
    shown,
)

ARGUMENT_BYTES = 120 * 1024
"""A config is passed as an argument, of which Linux takes 128 KiB."""

IN_PROFILES = frozenset({"filter", "scorer", "picker"})
_GIVEN = ("apiVersion", "kind", "featureGates", "plugins", "schedulingProfiles")


def checked(text: str, release: Release, path: str, labels: PodLabels) -> Manifest:
    """The config that `text` says, fit for `release`.

    `labels` are those that pods of the service carry, by key; a key without values may have any. Raises InvalidSpec
    with `path` as its field, and the line and the plug-in in its problem.
    """
    try:
        config = read(text)
        _check(config, release, labels)
    except Unreadable as refusal:
        at = "" if refusal.line is None else f"line {refusal.line}: "
        raise InvalidSpec(path, f"{at}{refusal.problem}") from None
    found: Manifest = plain(config)
    if len(msgspec.json.encode(found)) > ARGUMENT_BYTES:
        raise InvalidSpec(path, f"has more than {ARGUMENT_BYTES // 1024} KiB, written as JSON")
    return found


# --- the whole ------------------------------------------------------------------------------------------------------


def _check(config: Node, release: Release, labels: PodLabels) -> None:
    rules = release.config
    fields = mapping_of(config, "the config")
    check_fields_known(fields, (*_GIVEN, *rules.sections), f"{release.name}'s config", "field")
    _version(config.line, fields, release)
    gates = _gates(config.line, fields, release)
    instances = _plugins(fields.get("plugins"), release, gates)
    profiles = _profiles(fields.get("schedulingProfiles"))
    known = Known(release, labels, _referable(instances, release, len(profiles)), frozenset(profiles) or _DEFAULT)
    for instance, place in _places(instances, known):
        _check_parameters(instance, place)
    for profile in profiles.values():
        _check_profile(profile, instances, known)
    _check_handlers(instances, profiles, release)
    if not profiles:
        _check_default_profile(config.line, instances)
    for name, shape in rules.sections.items():
        if name in fields:
            check_value(fields[name], shape, name, known)


_DEFAULT = frozenset({"default"})
"""The profile that a release adds to a config without any."""


def _version(line: int, fields: Mapping[str, Node], release: Release) -> None:
    nothing = Node(line, None)
    version, kind = fields.get("apiVersion", nothing), fields.get("kind", nothing)
    if kind.value != release.config.kind:
        refuse(kind.line, f"kind is {shown(kind)}; {release.name} reads {release.config.kind}")
    if version.value not in release.config.api_versions:
        wanted = " or ".join(release.config.api_versions)
        refuse(version.line, f"apiVersion is {shown(version)}; {release.name} reads {wanted}")


def _gates(line: int, fields: Mapping[str, Node], release: Release) -> frozenset[str]:
    """The feature gates that are switched on."""
    gates = fields.get("featureGates", Node(line, None))
    check_value(gates, ["string"], "featureGates", nothing_known(release))
    switched: dict[str, bool] = {}
    for gate in items_of(gates):
        name, is_valued, value = str(gate.value).partition("=")
        if name not in release.config.gates:
            known = release.config.gates
            refuse(gate.line, f"feature gate {name!r} is unknown{meant(name, known)}; there are {listed(known)}")
        if is_valued and not (release.config.gates_take_values and value.strip().lower() in ("true", "false")):
            refuse(gate.line, f"feature gate {gate.value!r}: write {name!r}")
        switched[name] = value.strip().lower() != "false"
        section = release.config.gates[name].section
        if switched[name] and section and fields.get(section, Node(line, None)).value is None:
            refuse(gate.line, f"feature gate {name!r} needs the section {section}")
    return frozenset(name for name, is_on in switched.items() if is_on)


# --- plug-ins -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Instance:
    """A plug-in of the config."""

    name: str
    type: str
    known: Plugin
    line: int
    parameters: Node

    @property
    def words(self) -> str:
        return f"plugin {self.name!r}" if self.name == self.type else f"plugin {self.name!r} of type {self.type}"


def _plugins(written: Node | None, release: Release, gates: frozenset[str]) -> dict[str, _Instance]:
    """The plug-ins by name, in the order in which they are written."""
    found: dict[str, _Instance] = {}
    for node in items_of(written, "plugins"):
        instance = _plugin(node, release)
        if instance.name in found:
            first = found[instance.name].line
            refuse(node.line, f"{instance.words}: the name is taken by that of line {first}; give it a name of its own")
        gate = instance.known.gate
        if gate and gate not in gates:
            refuse(node.line, f"{instance.words}: is of no use without the feature gate {gate}; add it to featureGates")
        found[instance.name] = instance
    return found


def _plugin(node: Node, release: Release) -> _Instance:
    fields = mapping_of(node, "a plugin")
    kind, name = fields.get("type", Node(node.line, None)), fields.get("name", Node(node.line, None))
    if not isinstance(kind.value, str) or not kind.value:
        whose = "a plugin" if name.value is None else f"plugin {shown(name)}"
        refuse(kind.line, f"{whose}: its type is {shown(kind)}; a string is needed")
    if name.value is not None and not isinstance(name.value, str):
        refuse(name.line, f"a plugin of type {kind.value}: its name is {shown(name)}; a string is needed")
    called = name.value or kind.value
    check_fields_known(fields, ("name", "type", "parameters"), f"plugin {called!r}", "field")
    if kind.value not in release.plugins:
        usual = [known for known, plugin in release.plugins.items() if not plugin.deprecated]
        hint = meant(kind.value, usual) or meant(kind.value, release.plugins)
        refuse(kind.line, f"plugin {called!r}: {release.name} has no type {kind.value!r}{hint}")
    parameters = fields.get("parameters", Node(node.line, None))
    return _Instance(called, kind.value, release.plugins[kind.value], node.line, parameters)


def _referable(instances: Mapping[str, _Instance], release: Release, profiles: int) -> dict[str, Plugin]:
    """The plug-ins that profiles and sections can refer to: those written, and those that the release adds."""
    found = {name: instance.known for name, instance in instances.items()}
    for slot, kind in release.config.adds.items():
        is_added = not any(slot in plugin.slots for plugin in found.values())
        if is_added and (slot != "profile-handler" or profiles <= 1):
            found.setdefault(kind, release.plugins[kind])
    return {**{kind: release.plugins[kind] for kind in release.config.always}, **found}


def _places(instances: Mapping[str, _Instance], known: Known) -> Iterable[tuple[_Instance, Known]]:
    """Each plug-in, and what its parameters can refer to."""
    if not known.release.config.refers_back:
        yield from ((instance, known) for instance in instances.values())
        return
    earlier: dict[str, Plugin] = {}
    for name, instance in instances.items():
        yield instance, replace(known, plugins=dict(earlier), later=frozenset(instances) - earlier.keys())
        earlier[name] = instance.known


def _check_parameters(instance: _Instance, known: Known) -> None:
    where, shape = instance.words, instance.known.parameters
    node = instance.parameters
    if wanted := instance.known.labels:
        problem = pod_labels.fixed_problem(wanted, known.labels)
        if problem:
            refuse(instance.line, f"{where}: {problem}")
    if older := instance.known.older_parameters:
        keys = set(node.value) if isinstance(node.value, dict) else set()
        if keys & (older.keys() - shape.keys()):
            if newer := sorted(keys & (shape.keys() - older.keys())):
                refuse(node.line, f"{where}: {', '.join(newer)} do not go together with older spellings")
            shape = older
    check_value(node, shape, where, known, unknown=instance.known.unknown or known.release.unknown_parameters)
    for needed in instance.known.required:
        if not any(_is_there(node, shape, name.split(".")) for name in needed.split(" or ")):
            refuse(node.line, f"{where}: needs {needed}")


def _is_there(node: Node | None, shape: Shape, steps: list[str]) -> bool:
    """Whether something is written at the end of `steps`, in every item of the lists on the way."""
    value = None if node is None else node.value
    match shape:
        case [item]:
            return bool(value) if not steps else all(_is_there(part, item, steps) for part in items_of(node))
        case dict() if steps:
            part = value.get(steps[0]) if isinstance(value, dict) else None
            return _is_there(part, shape[steps[0]], steps[1:])
        case _:
            return value not in (None, "", False) and value != {}


# --- profiles -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Profile:
    name: str
    line: int
    entries: list[Node]


def _profiles(written: Node | None) -> dict[str, _Profile]:
    """The scheduling profiles by name."""
    found: dict[str, _Profile] = {}
    for node in items_of(written, "schedulingProfiles"):
        fields = mapping_of(node, "a profile")
        name = fields.get("name", Node(node.line, None))
        if not isinstance(name.value, str) or not name.value:
            refuse(node.line, "a profile without a name")
        check_fields_known(fields, ("name", "plugins"), f"profile {name.value!r}", "field")
        if name.value in found:
            refuse(node.line, f"profile {name.value!r}: stands here a second time, after line {found[name.value].line}")
        entries = items_of(fields.get("plugins"), f"profile {name.value!r}: plugins")
        found[name.value] = _Profile(name.value, node.line, entries)
    return found


def _check_profile(profile: _Profile, instances: Mapping[str, _Instance], known: Known) -> None:
    pickers = 0
    for node in profile.entries:
        where = f"profile {profile.name!r}"
        fields = mapping_of(node, f"{where}: an entry")
        check_fields_known(fields, ("pluginRef", "weight"), where, "field")
        named = fields.get("pluginRef", Node(node.line, None))
        if not isinstance(named.value, str) or not named.value:
            refuse(named.line, f"{where}: an entry without a pluginRef")
        slots = referred(named, sorted(IN_PROFILES), f"{where}: pluginRef", known).slots
        weight = fields.get("weight", Node(node.line, None))
        check_value(weight, "float", f"{where}: the weight of {named.value!r}", known)
        if weight.value is not None and "scorer" not in slots:
            refuse(weight.line, f"{where}: {named.value!r} is a {slots[0]}; only scorers have a weight")
        pickers += "picker" in slots
        if pickers > 1:
            refuse(node.line, f"{where}: {named.value!r} is a second picker; a profile has one")
    if not pickers and len(written := _pickers(instances)) > 1:
        refuse(profile.line, f"profile {profile.name!r}: has no picker, and takes any of {listed(written)}; name one")


def _check_default_profile(line: int, instances: Mapping[str, _Instance]) -> None:
    """Without profiles, the release makes one of all filters, scorers and pickers; with two pickers it ends."""
    if not any(IN_PROFILES.intersection(instance.known.slots) for instance in instances.values()):
        refuse(line, "there are no schedulingProfiles, and no plugins to make one of")
    if len(written := _pickers(instances)) > 1:
        refuse(line, f"there are no schedulingProfiles, and more than one picker: {listed(written)}")


def _pickers(instances: Mapping[str, _Instance]) -> list[str]:
    return [name for name, instance in instances.items() if "picker" in instance.known.slots]


def _check_handlers(instances: Mapping[str, _Instance], profiles: Mapping[str, _Profile], release: Release) -> None:
    handlers = [instance for instance in instances.values() if "profile-handler" in instance.known.slots]
    if len(handlers) > 1:
        first, second = handlers[:2]
        refuse(second.line, f"{second.words}: is a second profile handler, after {first.words}; there can be one")
    if len(profiles) > 1:
        line = list(profiles.values())[1].line
        if not handlers:
            known = listed(
                kind for kind in release.of_slot("profile-handler") if not release.plugins[kind].only_profile
            )
            refuse(line, f"{len(profiles)} profiles need a profile handler among the plugins, such as {known}")
        if handlers[0].known.only_profile:
            refuse(line, f"{handlers[0].words}: handles one profile, and there are {listed(profiles)}")
