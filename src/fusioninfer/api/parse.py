"""First stage: what the user wrote → what that means. Every default and every refusal is in this file.

The CRD's schema and CEL refuse most bad input on apply; the same is refused here, for objects that were stored
before a rule existed, for `fusioninfer render` without a cluster, and for what CEL cannot say.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from fusioninfer.api import hashes, types
from fusioninfer.api.service import (
    Disaggregation,
    Gang,
    InferenceService,
    InvalidSpec,
    Manifest,
    NetworkTopology,
    Role,
    RollingUpdate,
    Router,
    Scorer,
    raised_by,
)


class Mistyped(InvalidSpec):
    """The first field whose type, bounds or name the types do not allow; nothing else can be judged before it fits."""


DEFAULT_PROGRESS_DEADLINE_SECONDS = 3600
DEFAULT_ROUTER_DEADLINE_SECONDS = 600
"""A router loads no model; Deployment's own default."""


def parse(raw: Mapping[str, Any]) -> InferenceService:
    """The meaning of the object `raw`; raises InvalidSpec that names the field, the value and what to do."""
    metadata = raw["metadata"]
    written = _typed(raw.get("spec"))
    _check_names(metadata["name"], written.roles)
    _check_topology(written.roles)
    for index, role in enumerate(written.roles):
        _check_belonging(role, f"spec.roles[{index}]")
    placed = [(role, f"spec.roles[{index}]", _shaping(raw["spec"], index)) for index, role in enumerate(written.roles)]
    disaggregation = _disaggregation(written)
    connector = None if disaggregation is None else disaggregation.connector
    roles = tuple(_role(*role, connector) for role in placed if role[0].componentType != "router")
    strategy = (
        types.SchedulingStrategy()
        if isinstance(written.schedulingStrategy, UnsetType)
        else (written.schedulingStrategy)
    )
    return InferenceService(
        name=metadata["name"],
        namespace=metadata.get("namespace", "default"),
        uid=metadata.get("uid", ""),
        generation=metadata.get("generation", 0),
        paused=written.paused is True,
        scheduler_name=_given(strategy.schedulerName),
        gang=_gang(strategy, roles),
        disaggregation=disaggregation,
        roles=roles,
        router=next((_router(*role) for role in placed if role[0].componentType == "router"), None),
    )


def refusals(raw: Mapping[str, Any]) -> Iterator[InvalidSpec]:
    """All for which `parse` refuses `raw`, as far as one does not hide another: `parse` raises the first of them."""
    try:
        written = _typed(raw.get("spec"))
    except InvalidSpec as refusal:
        yield refusal
        return
    paths = [f"spec.roles[{index}]" for index in range(len(written.roles))]
    checks: list[Callable[[], object]] = [
        partial(_check_names, raw["metadata"]["name"], written.roles),
        partial(_check_topology, written.roles),
        *(partial(_check_belonging, role, path) for role, path in zip(written.roles, paths, strict=True)),
        *(check for role, path in zip(written.roles, paths, strict=True) for check in _checks_of(role, path)),
        partial(parse, raw),
    ]
    yield from raised_by(checks)


def _checks_of(role: types.Role, path: str) -> Iterator[Callable[[], object]]:
    """What can be checked of one role without the rest of it."""
    whole = _router if role.componentType == "router" else partial(_role, connector=None)
    yield partial(whole, role, path, "")
    if role.componentType != "router":
        yield partial(_template, role.template, f"{path}.template")
    elif not isinstance(role.template, UnsetType):
        yield partial(_check_partial, role.template, f"{path}.template")
    if not isinstance(role.multinode, UnsetType) and not isinstance(role.multinode.workerTemplate, UnsetType):
        yield partial(_template, role.multinode.workerTemplate, f"{path}.multinode.workerTemplate")
    if not isinstance(role.metadata, UnsetType):
        yield partial(_unreserved, role.metadata.labels, f"{path}.metadata.labels")
        yield partial(_unreserved, role.metadata.annotations, f"{path}.metadata.annotations")


def _typed(spec: Any) -> types.InferenceServiceSpec:
    if not isinstance(spec, Mapping):
        raise InvalidSpec("spec", "is missing; it needs roles")
    try:
        return msgspec.convert(spec, types.InferenceServiceSpec)
    except msgspec.ValidationError as error:
        problem, _, path = str(error).partition(" - at `$")
        raise Mistyped("spec" + path.rstrip("`"), problem) from None


# --- names and topology -------------------------------------------------------------------------------------------


def _check_names(service_name: str, roles: tuple[types.Role, ...]) -> None:
    if not re.fullmatch(types.DNS_1035_LABEL, service_name):
        raise InvalidSpec("metadata.name", f"{service_name!r} must be a DNS-1035 label: it names a Service")
    seen: set[str] = set()
    for index, role in enumerate(roles):
        path = f"spec.roles[{index}].name"
        if not re.fullmatch(types.DNS_LABEL, role.name):  # the schema's own `$` lets a final line end pass in Python
            raise InvalidSpec(path, f"{role.name!r} must be a DNS label: a-z, 0-9, '-'")
        if role.name in seen:
            raise InvalidSpec(path, f"{role.name!r} is used twice; role names become object names")
        seen.add(role.name)
        child = f"{service_name}-{role.name}"
        if len(child) > types.MAX_CHILD_NAME:
            raise InvalidSpec(
                path, f"{child!r}, the name of the role's objects, has {len(child)} characters, "
                f"at most {types.MAX_CHILD_NAME} are possible",
            )  # fmt: skip
        for other in roles:
            if _nodes_written(other) > 1 and re.fullmatch(re.escape(other.name) + "-[0-9]+", role.name):
                raise InvalidSpec(
                    path,
                    f"{role.name!r} is multi-node role {other.name!r} plus a number: LeaderWorkerSet makes such names",
                )


def _check_topology(roles: tuple[types.Role, ...]) -> None:
    """Exactly one worker, or at least one prefiller and one decoder; at most one router."""
    by_type = {kind: [role.name for role in roles if role.componentType == kind] for kind in _COMPONENT_TYPES}
    workers, prefillers, decoders = by_type["worker"], by_type["prefiller"], by_type["decoder"]
    if len(workers) > 1:
        raise InvalidSpec(
            "spec.roles", f"at most one worker, got {_listed(workers)}; more copies of it are its replicas"
        )
    if len(by_type["router"]) > 1:
        raise InvalidSpec("spec.roles", f"at most one router, got {_listed(by_type['router'])}")
    if workers and (prefillers or decoders):
        raise InvalidSpec(
            "spec.roles", f"worker {workers[0]!r} handles whole requests and stands alone; remove it, "
            f"or {_listed(prefillers + decoders)}",
        )  # fmt: skip
    if not (workers or prefillers or decoders):
        raise InvalidSpec("spec.roles", "one worker, or at least one prefiller and one decoder, are needed")
    if bool(prefillers) != bool(decoders):
        raise InvalidSpec(
            "spec.roles", f"{_listed(prefillers + decoders)}: prefillers and decoders need each other; "
            "for one kind alone use a worker",
        )  # fmt: skip


_COMPONENT_TYPES = ("worker", "prefiller", "decoder", "router")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in names)


_OF_A_ROUTER = ("strategy", "scorers", "endpointPickerConfig", "pickerRelease", "httproute", "gateway")
_OF_AN_ENGINE = ("multinode", "podReplicas", "engine")


def _check_belonging(role: types.Role, path: str) -> None:
    """A router has no engine, and an engine role routes nothing."""
    router = role.componentType == "router"
    for field in _OF_AN_ENGINE if router else _OF_A_ROUTER:
        if getattr(role, field) is not UNSET:
            owner = "an engine role" if router else "a router"
            raise InvalidSpec(f"{path}.{field}", f"belongs to {owner}; role {role.name!r} is a {role.componentType}")


Value = TypeVar("Value")


def _given(value: Value | UnsetType) -> Value | None:
    return None if isinstance(value, UnsetType) else value


# --- prompts and answers apart ------------------------------------------------------------------------------------


def _disaggregation(written: types.InferenceServiceSpec) -> Disaggregation | None:
    """What prefillers and decoders share; None where there are none."""
    worker = next((role for role in written.roles if role.componentType == "worker"), None)
    if isinstance(written.disaggregation, UnsetType):
        return None if worker else Disaggregation()
    if worker:
        raise InvalidSpec(
            "spec.disaggregation",
            f"is what prefillers and decoders share, and worker {worker.name!r} is neither; remove it, or write a "
            "prefiller and a decoder instead of the worker",
        )
    return Disaggregation(
        connector=_given(written.disaggregation.connector),
        min_uncached_prompt_tokens=_given(written.disaggregation.minUncachedPromptTokens),
        when_no_prefiller=_given(written.disaggregation.whenNoPrefiller),
    )


# --- the gang -----------------------------------------------------------------------------------------------------


def _gang(strategy: types.SchedulingStrategy, roles: tuple[Role, ...]) -> Gang | None:
    """The gang, if the scheduler knows gangs and the user wants one."""
    here = "spec.schedulingStrategy"
    mode = "All" if isinstance(strategy.gang, UnsetType) else _given(strategy.gang.mode) or "All"
    min_replicas = _min_replicas(strategy.gang, roles, f"{here}.gang.minReplicas")
    scheduler = _given(strategy.schedulerName)
    if scheduler is None or scheduler not in types.GANG_SCHEDULERS or mode == "None":
        _check_no_gang(strategy, mode, here)
        return None
    for role in roles:
        _check_member(role, scheduler)
    topology = _given(strategy.networkTopology)
    return Gang(
        scheduler=scheduler,
        min_replicas=min_replicas,
        queue=_given(strategy.queue),
        priority_class_name=_given(strategy.priorityClassName),
        network_topology=None
        if topology is None
        else NetworkTopology(_given(topology.mode), _given(topology.highestTierAllowed)),
    )


def _check_no_gang(strategy: types.SchedulingStrategy, mode: str, path: str) -> None:
    """Without a gang there is nothing that could have a queue, a priority or a nearness of its own."""
    known = " or ".join(repr(name) for name in sorted(types.GANG_SCHEDULERS))
    for field in ("queue", "priorityClassName", "networkTopology"):
        if getattr(strategy, field) is not UNSET:
            raise InvalidSpec(
                f"{path}.{field}",
                "gang.mode None makes no gang that it could belong to; remove it, and say it in the pod templates"
                if mode == "None"
                else f"belongs to a gang, which needs schedulerName {known}; set that, or remove this",
            )
    if mode != "None" and strategy.gang is not UNSET:
        raise InvalidSpec(f"{path}.gang", f"a gang needs schedulerName {known}; set that, or remove this")


def _min_replicas(written: types.Gang | UnsetType, roles: tuple[Role, ...], path: str) -> dict[str, int] | None:
    """For mode MinReplicas; with All they are checked and wait for the day on which the mode changes."""
    if isinstance(written, UnsetType):
        return None
    given = _given(written.minReplicas) or {}
    by_name = {role.name: role for role in roles}
    for name, count in given.items():
        role = by_name.get(name)
        if role is None:
            raise InvalidSpec(f"{path}.{name}", f"no engine role has that name; there are {_listed(by_name)}")
        if role.replicas and count > role.replicas:
            raise InvalidSpec(
                f"{path}.{name}", f"{count} is more than the role's {role.replicas} replicas: it could never start"
            )
    return {role.name: given.get(role.name, 1) for role in roles} if written.mode == "MinReplicas" else None


def _check_member(role: Role, scheduler: str) -> None:
    """What would keep the role's pods out of the gang, so that it would wait for them for ever."""
    templates = [(f"{role.path}.template", role.template)]
    if role.worker_template is not None:
        templates.append((f"{role.path}.multinode.workerTemplate", role.worker_template))
    for path, template in templates:
        name = template["spec"].get("schedulerName")
        if name not in (None, "", scheduler):
            raise InvalidSpec(
                f"{path}.spec.schedulerName",
                f"{name!r}: the gang is {scheduler}'s, and would wait for these pods for ever; remove it",
            )
        _check_unclaimed((template.get("metadata") or {}).get("annotations") or {}, f"{path}.metadata.annotations")
    _check_unclaimed(role.annotations, f"{role.path}.metadata.annotations")


def _check_unclaimed(annotations: Mapping[str, str], path: str) -> None:
    for key, problem in _AGAINST_A_GANG.items():
        if key in annotations:
            raise InvalidSpec(f"{path}.{key}", problem)


_TOO_LATE = (
    "LeaderWorkerSet makes the workers only when their leader has a node, and a gang gives it none before all of its "
    "pods are there; remove it, and use spec.schedulingStrategy.networkTopology"
)
_AGAINST_A_GANG = {
    "scheduling.k8s.io/group-name": "the service's pods belong to the service's own gang; remove it",
    "leaderworkerset.sigs.k8s.io/exclusive-topology": _TOO_LATE,
    "leaderworkerset.sigs.k8s.io/subgroup-exclusive-topology": _TOO_LATE,
}
"""Annotations with which a gang could not come together, and why (LWS v0.9 pod controller)."""


# --- one role -----------------------------------------------------------------------------------------------------


def _shaping(spec: Mapping[str, Any], index: int) -> str:
    """The hash of all that the user wrote and that may shape the pods of role `index`.

    Without replicas, since scaling restarts nothing, and without how a change rolls out. Of the other roles only
    which component types there are: changing one side of a service leaves the other side alone.
    This is API: a release that computes it in another way restarts everybody's pods.
    """
    written = spec["roles"][index]
    role = {key: value for key, value in written.items() if key not in _NOT_SHAPING}
    return hashes.of(
        {
            "role": role,
            "schedulingStrategy": spec.get("schedulingStrategy"),
            "disaggregation": _shared(spec, written["componentType"]),
            "componentTypes": sorted({other["componentType"] for other in spec["roles"]} - _NOT_SHAPING_OTHERS),
        }
    )


def _shared(spec: Mapping[str, Any], component_type: str) -> dict[str, Any] | None:
    """Of spec.disaggregation what shapes pods of that type: the connector those of engines, all else the router's."""
    written = spec.get("disaggregation") or {}
    return {
        key: value for key, value in written.items() if (key != "connector") == (component_type == "router")
    } or None


_NOT_SHAPING_OTHERS = frozenset({"router"})
"""Component types that make no difference to the pods of other roles."""
_NOT_SHAPING = frozenset({"replicas", "roleReplicas", "rolloutStrategy", "metadata"})


def _role(role: types.Role, path: str, input_hash: str, connector: str | None) -> Role:
    replicas = _one_spelling(role.replicas, role.roleReplicas, path, "replicas", "roleReplicas")
    nodes = _one_spelling(
        UNSET if isinstance(role.multinode, UnsetType) else role.multinode.nodeCount,
        role.podReplicas, path, "multinode.nodeCount", "podReplicas",
    )  # fmt: skip
    multinode = types.Multinode(nodes or 1) if isinstance(role.multinode, UnsetType) else role.multinode
    template = _template(role.template, f"{path}.template")
    _check_several_nodes(multinode, nodes or 1, path)
    metadata = _given(role.metadata) or types.RoleMetadata()
    return Role(
        name=role.name,
        component_type=role.componentType,
        template=template,
        replicas=replicas,
        nodes_per_replica=nodes or 1,
        backend=_given(multinode.backend),
        worker_template=None
        if isinstance(multinode.workerTemplate, UnsetType)
        else _template(multinode.workerTemplate, f"{path}.multinode.workerTemplate"),
        engine=_given(role.engine),
        connector=connector,
        rolling_update=_rolling_update(role.rolloutStrategy, f"{path}.rolloutStrategy.rollingUpdate", replicas, nodes),
        progress_deadline_seconds=_given(role.progressDeadlineSeconds) or DEFAULT_PROGRESS_DEADLINE_SECONDS,
        labels=_unreserved(metadata.labels, f"{path}.metadata.labels"),
        annotations=_unreserved(metadata.annotations, f"{path}.metadata.annotations"),
        input_hash=input_hash,
        path=path,
    )


def _router(role: types.Role, path: str, input_hash: str) -> Router:
    for field in ("strategy", "scorers"):
        if role.endpointPickerConfig is not UNSET and getattr(role, field) is not UNSET:
            raise InvalidSpec(f"{path}.{field}", "endpointPickerConfig says all of it; remove one of the two")
    if role.rolloutStrategy is not UNSET:
        raise InvalidSpec(f"{path}.rolloutStrategy", "a router is always replaced before the old one goes; remove it")
    template = _given(role.template)
    if template is not None:
        _check_partial(template, f"{path}.template")
    metadata = _given(role.metadata) or types.RoleMetadata()
    replicas = _one_spelling(role.replicas, role.roleReplicas, path, "replicas", "roleReplicas")
    scorers = _given(role.scorers) or ()
    route, gateway = _way_in(role, path)
    return Router(
        name=role.name,
        strategy=_given(role.strategy),
        scorers=tuple(Scorer(scorer.type, scorer.weight) for scorer in scorers),
        config=_given(role.endpointPickerConfig),
        release=_given(role.pickerRelease),
        replicas=replicas,
        template=template,
        route=route,
        gateway=gateway,
        progress_deadline_seconds=_given(role.progressDeadlineSeconds) or DEFAULT_ROUTER_DEADLINE_SECONDS,
        labels=_unreserved(metadata.labels, f"{path}.metadata.labels"),
        annotations=_unreserved(metadata.annotations, f"{path}.metadata.annotations"),
        input_hash=input_hash,
        path=path,
    )


def _way_in(role: types.Role, path: str) -> tuple[Manifest | None, Manifest | None]:
    """The HTTPRouteSpec and the GatewaySpec; neither: the router lets clients in by itself.

    What exactly is allowed in them the API server knows best; here is what could not be made sense of.
    """
    route, gateway = _given(role.httproute), _given(role.gateway)
    if route is not None:
        _check_route(route, f"{path}.httproute")
    if gateway is not None and not gateway.get("gatewayClassName"):
        raise InvalidSpec(
            f"{path}.gateway.gatewayClassName", "say whose gateway it is to be; `kubectl get gatewayclass` lists them"
        )
    named = bool(route and route.get("parentRefs"))
    if named and gateway is not None:
        raise InvalidSpec(
            f"{path}.gateway", "httproute.parentRefs names a gateway already, so none is made; remove one of the two"
        )
    if route is not None and not named and gateway is None:
        raise InvalidSpec(
            f"{path}.httproute.parentRefs",
            "name the gateway that leads here, or give a `gateway` to be made; without both remove httproute, and the "
            "router lets clients in by itself",
        )
    return ({} if route is None and gateway is not None else route), gateway


def _check_route(route: Manifest, path: str) -> None:
    for field in ("parentRefs", "rules"):
        items = route.get(field) or []
        if not isinstance(items, list) or not all(isinstance(item, Mapping) for item in items):
            raise InvalidSpec(f"{path}.{field}", f"{items!r} is no list of objects")
    for index, rule in enumerate(route.get("rules") or []):
        filters = rule.get("filters") or []
        if not isinstance(filters, list) or not all(isinstance(one, Mapping) for one in filters):
            raise InvalidSpec(f"{path}.rules[{index}].filters", f"{filters!r} is no list of objects")
    for index, parent in enumerate(route.get("parentRefs") or []):
        if not isinstance(parent.get("name"), str):
            raise InvalidSpec(f"{path}.parentRefs[{index}].name", "say which gateway")
    hostnames = route.get("hostnames") or []
    if not isinstance(hostnames, list) or not all(isinstance(name, str) for name in hostnames):
        raise InvalidSpec(f"{path}.hostnames", f"{hostnames!r} is no list of names")


def _one_spelling(
    one: int | UnsetType, other: int | UnsetType, path: str, name: str, other_name: str
) -> int | None:  # fmt: skip
    if isinstance(one, UnsetType):
        return None if isinstance(other, UnsetType) else other
    if not isinstance(other, UnsetType) and one != other:
        raise InvalidSpec(
            f"{path}.{other_name}",
            f"{other} disagrees with {name} {one}; they are two spellings of one thing: remove one",
        )
    return one


def _check_several_nodes(multinode: types.Multinode, nodes: int, path: str) -> None:
    for field in ("backend", "workerTemplate"):
        if nodes == 1 and getattr(multinode, field) is not UNSET:
            raise InvalidSpec(
                f"{path}.multinode.{field}", "has a meaning with a nodeCount of 2 or more only; remove it"
            )


def _nodes_written(role: types.Role) -> int:
    if not isinstance(role.multinode, UnsetType):
        return role.multinode.nodeCount
    return 1 if isinstance(role.podReplicas, UnsetType) else role.podReplicas


def _rolling_update(
    strategy: types.RolloutStrategy | UnsetType, path: str, replicas: int | None, nodes: int | None
) -> RollingUpdate:  # fmt: skip
    if isinstance(strategy, UnsetType) or isinstance(strategy.rollingUpdate, UnsetType):
        return RollingUpdate()
    written = strategy.rollingUpdate
    surge = _count(written.maxSurge, f"{path}.maxSurge", default=0)
    unavailable = _count(written.maxUnavailable, f"{path}.maxUnavailable", default=0 if _is_some(surge) else 1)
    if not _is_some(surge) and not _is_some(unavailable):
        raise InvalidSpec(f"{path}.maxUnavailable", "0 needs a maxSurge of at least 1: else no copy could be replaced")
    if _is_some(surge) and (nodes or 1) == 1 and replicas is None:
        raise InvalidSpec(
            f"{path}.maxSurge",
            f"{surge} needs replicas to be given on a role of one node: the surplus copy is lent by raising "
            "the StatefulSet's size, which now belongs to others",
        )
    return RollingUpdate(unavailable, surge, 0 if isinstance(written.partition, UnsetType) else written.partition)


def _count(value: int | str | UnsetType, path: str, *, default: int) -> int | str:
    if isinstance(value, UnsetType):
        return default
    if isinstance(value, int):
        if value < 0:
            raise InvalidSpec(path, f"{value} must be at least 0")
        return value
    if not re.fullmatch(r"[0-9]{1,3}%", value) or int(value[:-1]) > 100:
        raise InvalidSpec(path, f"{value!r} must be a number of copies, or a percentage of them such as '25%'")
    return value


def _is_some(count: int | str) -> bool:
    return count not in (0, "0%")


# --- the pod template ---------------------------------------------------------------------------------------------


def _template(template: dict[str, Any] | UnsetType, path: str) -> Manifest:
    """The template, if pods can be made of it. What exactly is allowed in it the API server knows best."""
    spec = {} if isinstance(template, UnsetType) else template.get("spec") or {}
    containers = spec.get("containers") if isinstance(spec, Mapping) else None
    if isinstance(template, UnsetType) or not isinstance(containers, list) or not containers:
        raise InvalidSpec(f"{path}.spec.containers", "at least one container is needed")
    for kind in ("containers", "initContainers"):
        _check_containers(spec.get(kind) or [], f"{path}.spec.{kind}")
    metadata = template.get("metadata") or {}
    for kind in ("labels", "annotations"):
        _unreserved(metadata.get(kind) or {}, f"{path}.metadata.{kind}")
    return template


def _check_partial(template: Manifest, path: str) -> None:
    """A router's template is merged over ours by container name, and may name containers of the user's own."""
    for kind in ("labels", "annotations"):
        _unreserved((template.get("metadata") or {}).get(kind) or {}, f"{path}.metadata.{kind}")
    spec = template.get("spec") or {}
    if not isinstance(spec, Mapping):
        raise InvalidSpec(f"{path}.spec", f"{spec!r} is no pod spec")
    for kind in ("containers", "initContainers"):
        containers = spec.get(kind) or []
        if not isinstance(containers, list):
            raise InvalidSpec(f"{path}.spec.{kind}", f"{containers!r} is no list of containers")
        for index, container in enumerate(containers):
            if not isinstance(container, Mapping) or not container.get("name"):
                raise InvalidSpec(f"{path}.spec.{kind}[{index}].name", "every container needs a name")
            _check_env(container.get("env") or [], f"{path}.spec.{kind}[{index}].env")


def _check_containers(containers: list[Any], path: str) -> None:
    names: set[str] = set()
    for index, container in enumerate(containers):
        here = f"{path}[{index}]"
        if not isinstance(container, Mapping) or not container.get("name"):
            raise InvalidSpec(f"{here}.name", "every container needs a name")
        if container["name"] in names:
            raise InvalidSpec(f"{here}.name", f"{container['name']!r} is used twice")
        names.add(container["name"])
        if not container.get("image"):
            raise InvalidSpec(f"{here}.image", f"container {container['name']!r} needs an image")
        _check_env(container.get("env") or [], f"{here}.env")


def _check_env(env: list[Any], path: str) -> None:
    names: set[str] = set()
    for index, variable in enumerate(env):
        name = variable.get("name") if isinstance(variable, Mapping) else None
        if not name:
            raise InvalidSpec(f"{path}[{index}].name", "every variable needs a name")
        if name in names:
            raise InvalidSpec(f"{path}[{index}].name", f"{name!r} is set twice; remove one")
        names.add(name)


def _unreserved(pairs: Mapping[str, str] | UnsetType, path: str) -> dict[str, str]:
    """Labels or annotations of the user's; ours are refused, since by them we know our objects."""
    if isinstance(pairs, UnsetType):
        return {}
    for key in pairs:
        if key.partition("/")[0] == types.GROUP:
            raise InvalidSpec(f"{path}.{key}", f"{types.GROUP}/ is reserved for what the operator writes; remove it")
    return dict(pairs)
