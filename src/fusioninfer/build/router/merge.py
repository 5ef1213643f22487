"""A user's partial template over ours: what the user wrote wins, item by item where items have names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fusioninfer.api.service import InvalidSpec, Manifest

_KINDS = ("initContainers", "containers")


def merged_template(ours: Manifest, written: Manifest, path: str) -> Manifest:
    """`written` over the pod template `ours`.

    Containers are found by their names, wherever they stand: the picker is one of our initContainers, and users need
    not know. Raises InvalidSpec for a container that is none of ours and has no image, most likely a misspelt name.
    """
    spec = dict(written.get("spec") or {})
    known = {container["name"] for kind in _KINDS for container in ours["spec"].get(kind, [])}
    own: dict[str, list[Any]] = {kind: [] for kind in _KINDS}
    changes: dict[str, Manifest] = {}
    for kind in _KINDS:
        for index, container in enumerate(spec.pop(kind, None) or []):
            if container["name"] in changes:
                raise InvalidSpec(f"{path}.spec.{kind}[{index}]", f"{container['name']!r} stands here a second time")
            if container["name"] in known:
                changes[container["name"]] = container
            elif container.get("image"):
                own[kind].append(container)
            else:
                raise InvalidSpec(
                    f"{path}.spec.{kind}[{index}]",
                    f"the router has no container {container['name']!r}, only {' and '.join(sorted(known))}; "
                    "a container of your own needs an image",
                )
    template: Manifest = merged(ours, {**written, "spec": spec})
    for kind in _KINDS:
        kept = [merged(container, changes.get(container["name"], {})) for container in ours["spec"].get(kind, [])]
        if kept or own[kind]:
            template["spec"][kind] = [*kept, *own[kind]]
    return template


def merged(ours: Any, written: Any) -> Any:
    """`written` over `ours`: mappings key by key, lists of named items name by name, all else replaced."""
    if isinstance(ours, Mapping) and isinstance(written, Mapping):
        said = {key: value for key, value in written.items() if value is not None}
        instead = {key for group in _ONE_OF if group & said.keys() for key in group}
        kept = {key: value for key, value in ours.items() if key not in instead}
        return {**kept, **{key: merged(ours.get(key), value) for key, value in said.items()}}
    for key in ("name", "containerPort"):
        if _has(ours, key) and _has(written, key):
            return _by(key, ours, written)
    return written


_ONE_OF = (frozenset({"exec", "grpc", "httpGet", "sleep", "tcpSocket"}), frozenset({"value", "valueFrom"}))
"""Of each group an object has one field: a probe or hook its handler, a variable its value."""


def _by(key: str, ours: list[Any], written: list[Any]) -> list[Any]:
    changes = {item[key]: item for item in written}
    known = {item[key] for item in ours}
    kept = [merged(item, changes.get(item[key], {})) for item in ours]
    return [*kept, *(item for item in written if item[key] not in known)]


def _has(value: Any, key: str) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(i, Mapping) and key in i for i in value)
