"""`fusioninfer render`: what would be created for a file of InferenceServices, without any cluster."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import yaml

from fusioninfer.api import types
from fusioninfer.api.parse import parse
from fusioninfer.api.service import InvalidSpec, Manifest
from fusioninfer.build.desired import Desired, desired_objects
from fusioninfer.build.engines import Engines
from fusioninfer.build.router.strategies import Strategies
from fusioninfer.cli.documents import services_in
from fusioninfer.cli.lint import refusals
from fusioninfer.reconcile.plan import signed


class Plain(yaml.SafeDumper):
    """YAML as people write it: no anchors, keys in our order."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def dumped(manifest: Manifest) -> str:
    """`manifest` as one YAML document."""
    return yaml.dump(manifest, Dumper=Plain, sort_keys=False, allow_unicode=True, width=120)


def rendered(text: str, engines: Engines, strategies: Strategies, namespace: str) -> Iterator[str]:
    """The YAML documents of every InferenceService in `text`.

    Equal to what the operator applies, but for the owner's uid and the guard. Raises InvalidSpec for the first
    service that would be refused, and if there is none; yaml.YAMLError if `text` is no YAML.
    """
    services = list(services_in(text))
    if not services:
        raise InvalidSpec("kind", f"the file holds no {types.KIND} of {types.API_VERSION}")
    for raw in services:
        for refusal in refusals(raw, engines, strategies):
            raise refusal
        raw["metadata"].setdefault("namespace", namespace)
        desired = desired_objects(parse(raw), engines, strategies)
        yield from (f"# {comment}\n" for comment in _comments(desired))
        yield from (f"---\n{dumped(signed(manifest))}" for manifest in desired.manifests)


def _comments(desired: Desired) -> Iterable[str]:
    if desired.router is not None:
        yield f"role {desired.router.role.name}: picker {desired.router.release.name}"
        yield from (f"role {desired.router.role.name}: note: {warning}" for warning in desired.router.warnings)
    for objects in desired.roles:
        where = f"engine {objects.found.engine.name} in container {objects.found.container_name}"
        yield f"role {objects.role.name}: {where}, since {objects.found.evidence.words}"
        yield from (f"role {objects.role.name}: note: {warning}" for warning in objects.warnings)
