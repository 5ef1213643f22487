"""Second stage: what a service means → everything that should exist for it. The table of contents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from fusioninfer.api.service import InferenceService, InvalidSpec, Manifest, Role, RollingUpdate, Router, raised_by
from fusioninfer.build import engines
from fusioninfer.build.engines import apart
from fusioninfer.build.entry import direct_selector, entry_service, router_entry, serving_selector
from fusioninfer.build.gang import Member
from fusioninfer.build.gang.schedulers import SCHEDULERS
from fusioninfer.build.pod import leader_launch, leader_template, serving_port, worker_template
from fusioninfer.build.router.deployment import router_deployment
from fusioninfer.build.router.parts import router_parts
from fusioninfer.build.router.picker import PD_STRATEGY, picker_config, release_of, sends_prompts, strategy_of
from fusioninfer.build.router.pod_labels import labels_of
from fusioninfer.build.router.providers import provider_objects
from fusioninfer.build.router.releases import Release
from fusioninfer.build.router.route import http_route, path_of
from fusioninfer.build.router.strategies import Strategies, Strategy
from fusioninfer.build.workload import leader_worker_set, stateful_set


def serving_template(workload: Manifest, role: Role) -> Manifest:
    """The template, in the `workload` of `role`, of the pods that answer."""
    spec = workload["spec"]
    template: Manifest = (
        spec["template"] if role.nodes_per_replica == 1 else spec["leaderWorkerTemplate"]["leaderTemplate"]
    )
    return template


@dataclass(frozen=True, slots=True)
class RoleObjects:
    """One role and the workload that runs its pods."""

    role: Role
    workload: Manifest
    warnings: tuple[str, ...]

    @property
    def kind(self) -> tuple[str, str]:
        """apiVersion and kind of its workload."""
        return self.workload["apiVersion"], self.workload["kind"]

    @property
    def templates(self) -> tuple[Manifest, Manifest]:
        """The pods of a copy: the leader's template, and that of all others."""
        leader = serving_template(self.workload, self.role)
        if self.role.nodes_per_replica == 1:
            return leader, leader
        return leader, self.workload["spec"]["leaderWorkerTemplate"]["workerTemplate"]


@dataclass(frozen=True, slots=True)
class EngineObjects(RoleObjects):
    """One engine role."""

    found: engines.Found
    port: int
    """On which its pods answer."""
    port_name: str
    """What they call it."""
    launch: engines.Launch
    """How the process that answers is started."""

    @property
    def serves_alone(self) -> bool:
        """Whether its pods answer requests without pods of another role: a decoder may need a prefiller for each."""
        transfer = self.launch.transfer
        return self.role.component_type != "prefiller" and (transfer is None or transfer.answers_alone)


@dataclass(frozen=True, slots=True)
class RouterObjects(RoleObjects):
    """The router."""

    release: Release
    parts: tuple[Manifest, ...]
    """What its pods need, and a gateway to find them."""
    route: Manifest | None = None
    """What leads clients to it, if that is a gateway."""
    path: str = ""
    """What goes before the paths of the OpenAI API there."""
    for_providers: tuple[Manifest, ...] = ()
    """What only some gateways need to be told: made where their kinds are served, and not missed elsewhere."""

    @property
    def manifests(self) -> tuple[Manifest, ...]:
        """All that it cannot do without, in the order in which it is shown."""
        return (*self.parts, self.workload, *(() if self.route is None else (self.route,)))


@dataclass(frozen=True, slots=True)
class Desired:
    """Everything that should exist for one service."""

    service: InferenceService
    entry: Manifest
    direct_entry: Manifest
    """The entry without the router, if there is one: to the pods that answer whole requests."""
    roles: tuple[EngineObjects, ...]
    router: RouterObjects | None = None
    decoders_router: RouterObjects | None = None
    """The router as it picks among decoders alone, if `router` sends prompts to prefillers by a strategy of ours."""
    gang: Manifest | None = None
    """What stands for the gang, if one was asked for, as it is once all that was asked for runs."""

    @property
    def manifests(self) -> tuple[Manifest, ...]:
        """All objects, in the order in which `fusioninfer render` shows them."""
        gang = () if self.gang is None else (self.gang,)
        router = () if self.router is None else self.router.manifests
        return (self.entry, *gang, *(role.workload for role in self.roles), *router)


def desired_objects(
    service: InferenceService, installed: engines.Engines, strategies: Strategies
) -> Desired:  # fmt: skip
    """What should exist for `service`; raises InvalidSpec for what only an engine or a strategy can refuse."""
    strategy = None if service.router is None else strategy_of(service, service.router, strategies)
    roles = tuple(_role_objects(service, role, installed, strategy) for role in service.roles)
    sides = [apart.Side(own.role, own.found.engine.name, own.launch.transfer) for own in roles]
    apart.check_sides(sides)
    _check_one_port(roles)
    least = apart.min_uncached_prompt_tokens(service.disaggregation, sides)
    serving = tuple(objects for objects in roles if objects.role in service.entry_roles)
    direct = entry_service(service, _target_port(serving))
    router = service.router
    return Desired(
        service,
        direct if router is None or router.route is not None else router_entry(service, router),
        direct,
        roles,
        *_routers(service, roles, strategy, least),
        _gang(service),
    )


def refusals(
    service: InferenceService, installed: engines.Engines, strategies: Strategies
) -> Iterator[InvalidSpec]:  # fmt: skip
    """All for which `desired_objects` refuses `service`, as far as one does not hide another."""
    each = (partial(_role_objects, service, role, installed, None) for role in service.roles)
    return raised_by([*each, partial(desired_objects, service, installed, strategies)])


def _routers(
    service: InferenceService, roles: tuple[EngineObjects, ...], strategy: Strategy | None, least: int | None
) -> tuple[RouterObjects | None, RouterObjects | None]:  # fmt: skip
    """The router, in front of those of the `roles` that its strategy, or its own config, picks among; and as it is as
    long as prefillers are to get nothing.

    That is so by the pods that the picker knows: its config is the same, so that it need not be restarted.
    """
    router = service.router
    if router is None:
        return None, None
    among_all, among_decoders = serving_selector(service), direct_selector(service)
    picked = roles if sends_prompts(strategy) else tuple(own for own in roles if own.role in service.entry_roles)
    whole = _router(service, router, picked, strategy, least, among_all if picked == roles else among_decoders)
    if strategy is None or picked != roles or among_all == among_decoders:
        return whole, None
    return whole, _router(service, router, picked, strategy, least, among_decoders)


def _router(
    service: InferenceService,
    router: Router,
    picked: tuple[EngineObjects, ...],
    strategy: Strategy | None,
    least: int | None,
    selector: Mapping[str, str],
) -> RouterObjects:
    """The router's objects, with a config for the roles `picked` and knowing the pods of `selector`."""
    release = release_of(router)
    port = picked[0].port
    config = picker_config(
        router,
        release,
        strategy,
        engine=picked[0].found.engine.name,
        labels=labels_of(own.templates[0] for own in picked),
        has_lora=any(_may_serve_lora(objects) for objects in picked),
        min_uncached_prompt_tokens=least,
    )
    as_role = Role(
        name=router.name,
        component_type="router",
        template={},
        replicas=router.replicas,
        rolling_update=RollingUpdate(max_unavailable=0, max_surge=1),
        progress_deadline_seconds=router.progress_deadline_seconds,
        input_hash=router.input_hash,
        path=router.path,
    )
    return RouterObjects(
        as_role,
        router_deployment(service, router, release, config, port, selector),
        _router_warnings(release),
        release,
        router_parts(service, router, release, port, selector),
        *(() if router.route is None else _by_gateway(service, router, port)),
    )


def _by_gateway(service: InferenceService, router: Router, port: int) -> tuple[Manifest, str, tuple[Manifest, ...]]:
    """The route, its path, and what is there for some gateways alone."""
    return http_route(service, router), path_of(service, router), provider_objects(service, router, port)


def _router_warnings(release: Release) -> tuple[str, ...]:
    if release.checked.how == "run":
        return ()
    return (f"picker release {release.name} was never run by us: its config is checked against its catalogue only",)


def _may_serve_lora(objects: EngineObjects) -> bool:
    """The engine was told to serve adapters, or we cannot tell since its words are not known to us."""
    if objects.found.engine.name not in ("vllm", "sglang"):
        return True
    words = [
        word
        for container in objects.templates[0]["spec"]["containers"]
        for word in (*(container.get("command") or ()), *(container.get("args") or ()))
    ]
    return any(word.startswith(("--enable-lora", "--lora-")) for word in words)


def _check_one_port(roles: tuple[EngineObjects, ...]) -> None:
    """A pool has one port, and a router may come later."""
    ports = {objects.port: objects.role for objects in roles}
    if len(ports) > 1:
        said = " and ".join(f"{port} of role {role.name!r}" for port, role in ports.items())
        raise InvalidSpec(
            "spec.roles",
            f"all pods that get requests need one port, and these differ: {said}; write the same --port in all roles",
        )


def _target_port(serving: tuple[EngineObjects, ...]) -> str | int:
    """Where the pods that get requests are reached: by name if they agree on it, else by number.

    By number where a sidecar answers: before Kubernetes 1.33 a Service finds no port's name in an init container.
    """
    if any(objects.launch.sidecar is not None for objects in serving):
        return serving[0].port
    port_names = {objects.port_name for objects in serving}
    return port_names.pop() if len(port_names) == 1 else serving[0].port


def _gang(service: InferenceService) -> Manifest | None:
    if service.gang is None:
        return None
    copies = {role.name: 1 if role.replicas is None else role.replicas for role in service.roles}
    return SCHEDULERS[service.gang.scheduler].group(service, members(service, copies))


def members(service: InferenceService, copies: Mapping[str, int]) -> tuple[Member, ...]:
    """The engine roles in the gang, each of which has so many `copies`; none is needed where no gang was asked for."""
    gang = service.gang
    return tuple(
        Member(role.name, role.nodes_per_replica, 0 if gang is None else gang.needed(role.name, copies[role.name]))
        for role in service.roles
    )


def _role_objects(
    service: InferenceService, role: Role, installed: engines.Engines, strategy: Strategy | None
) -> EngineObjects:  # fmt: skip
    found = engines.found(role, installed)
    launch = leader_launch(role, found)
    leader = leader_template(service, role, found, launch)
    workload = (
        stateful_set(service, role, leader)
        if role.nodes_per_replica == 1
        else leader_worker_set(service, role, leader, worker_template(service, role, found))
    )
    warnings = _warnings(service, role, found, launch, strategy)
    name, port = serving_port(leader, launch)
    return EngineObjects(role, workload, warnings, found, port, name, launch)


def _warnings(
    service: InferenceService, role: Role, found: engines.Found, launch: engines.Launch, strategy: Strategy | None
) -> tuple[str, ...]:  # fmt: skip
    warnings = list(launch.warnings)
    if not found.evidence.is_sure:
        warnings.append(
            f"engine {found.engine.name} is assumed, since {found.evidence.words}; name it in `engine` to be sure"
        )
    if apart.is_apart(role) and launch.transfer is None:
        warnings.append(
            f"how engine {found.engine.name} hands the KV cache over cannot be seen: its template must see to all of "
            "it, a decoder's sidecar as well"
        )
    if role.component_type == "prefiller" and (service.router is None or not sends_prompts(strategy)):
        warnings.append(_unfed(launch, strategy))
    return tuple(warnings)


def _unfed(launch: engines.Launch, strategy: Strategy | None) -> str:
    why = "nothing sends it any prompts yet" if strategy is None else f"strategy {strategy.name} sends it no prompts"
    if launch.transfer is None or launch.transfer.answers_alone:
        return f"{why}: the decoders answer alone"
    instead = "add a router" if strategy is None else f"choose {PD_STRATEGY}"
    return f"{why}, and the decoders cannot answer without: {instead}"
