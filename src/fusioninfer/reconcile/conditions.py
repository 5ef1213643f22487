"""What each condition says: a list of named rules, of which the first that speaks wins."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fusioninfer.api import names
from fusioninfer.build.gang.schedulers import mark_of
from fusioninfer.kube import errors
from fusioninfer.reconcile.facts import RoleFacts
from fusioninfer.reconcile.gateway_api import HTTP_ROUTES, POOLS
from fusioninfer.reconcile.phases import (
    DEADLINE_EXCEEDED,
    NOT_INSTALLED,
    PENDING_WORDS,
    RECREATING,
    SCALED_TO_ZERO,
    UPDATE_PENDING,
    Seen,
    Verdict,
    failure_of,
    recreating_words,
    rolling_words,
    standing_of,
    uninstalled_words,
    words_of,
)
from fusioninfer.reconcile.room import Room, copies_that_could_start, nearest, room_of
from fusioninfer.reconcile.snapshot import POD_GROUPS

NAME_CONFLICT = "NameConflict"
GANG_OVERRIDDEN = "GangOverridden"
NOT_REQUESTED = "NotRequested"
DECODERS_ALONE = "DecodersAlone"
PAUSED = "Paused"

Rule = Callable[[Seen], Verdict | None]


def first(rules: Sequence[Rule], seen: Seen) -> Verdict | None:
    """What the first rule that speaks says."""
    return next((verdict for rule in rules if (verdict := rule(seen)) is not None), None)


def name_is_taken(seen: Seen) -> Verdict | None:
    for taken in seen.outcome.taken or seen.plan.taken:
        return Verdict(
            "False",
            NAME_CONFLICT,
            f"{taken.kind} {taken.name!r} belongs to {taken.holder} and is left alone; "
            "rename the service or the role, or remove that object",
        )
    return None


def spec_was_refused_by_the_api_server(seen: Seen) -> Verdict | None:
    for failure in seen.outcome.failures:
        if isinstance(failure.error, errors.Refused):
            return words_of(failure)
    return None


def something_looks_like_a_mistake(seen: Seen) -> Verdict | None:
    warnings = [f"role {facts.role.name}: {warning}" for facts in seen.facts.all_roles for warning in facts.warnings]
    return Verdict("True", "AcceptedWithWarnings", "; ".join(warnings)) if warnings else None


def spec_is_accepted(seen: Seen) -> Verdict | None:
    return Verdict("True", "Accepted", "the spec is valid")


def no_copy_is_asked_for(seen: Seen) -> Verdict | None:
    if any(facts.desired for facts in seen.facts.roles):
        return None
    return Verdict("True", SCALED_TO_ZERO, "no copy is asked for")


def nothing_at_all_is_asked_for(seen: Seen) -> Verdict | None:
    router = seen.facts.router
    return None if router is not None and router.desired else no_copy_is_asked_for(seen)


def gang_is_not_installed(seen: Seen) -> Verdict | None:
    if not seen.plan.gang_is_uninstalled:
        return None
    words = (
        f"a gang needs {POD_GROUPS.kind} ({POD_GROUPS.api_version}), which this cluster does not serve; install "
        "Volcano 1.14 or newer, and it goes on by itself; until then nothing is changed"
    )
    return Verdict("False", NOT_INSTALLED, words)


def gang_is_overridden(seen: Seen) -> Verdict | None:
    mark, pod = mark_of(seen.facts.service), seen.facts.astray
    if pod is None or mark is None:
        return None
    annotation, gang = mark
    words = (
        f"pod {pod.metadata.name} was put into gang {pod.metadata.annotations[annotation]!r} instead of "
        f"{gang!r}: somebody else writes {annotation} too; if it is LeaderWorkerSet, turn off "
        "gangSchedulingManagement in its configuration. Until then the pods start one by one"
    )
    return Verdict("False", GANG_OVERRIDDEN, words)


def gang_waits(seen: Seen) -> Verdict | None:
    """Fewer pods than the gang needs have a node, and it is not a scheduling gate that holds them back."""
    service, gang = seen.facts.service, seen.facts.gang
    if service.gang is None or gang is None or gang.status.phase == "Running":
        return None
    copies = {facts.role.name: service.gang.needed(facts.role.name, facts.desired) for facts in seen.facts.roles}
    needed = sum(copies[facts.role.name] * facts.role.nodes_per_replica for facts in seen.facts.roles)
    pods = [pod for facts in seen.facts.roles for pod in nearest(facts, copies[facts.role.name])]
    bound = sum(bool(pod.spec.nodeName) for _, pod in pods)
    room = room_of(pods)
    if bound == len(pods) or len(pods) < needed or room.is_gated:
        return None
    phase, queue = gang.status.phase or "Pending", gang.spec.queue or "default"
    total = sum(facts.total_pods for facts in seen.facts.roles)
    its = f"its {total} pods" if needed == total else f"the {needed} pods that it needs of its {total}"
    words = f"PodGroup {gang.metadata.name} is {phase} in queue {queue} and {bound} of {its} are bound: "
    if room.waiting:
        words += f"it needs {room.needs}, of which {room.fitting} fit{_short(room)}{_would_start(seen, room)}"
    else:
        words += (
            f"{service.gang.scheduler} has not looked at them yet; if that lasts, see that its scheduler runs, and "
            f"that queue {queue!r} exists and is Open"
        )
    return Verdict("False", _GANG_REASONS.get(phase, "GangIncomplete"), words)


_GANG_REASONS = {"Pending": "GangPending", "Inqueue": "GangInqueue"}
"""Pending: the queue has not let it in. Inqueue: it may have nodes, as soon as there are enough."""


def _short(room: Room) -> str:
    said = f"; the scheduler says: {room.said}" if room.said else ""
    return (f"; {room.short}" if room.short else "") + said


def _would_start(seen: Seen, room: Room) -> str:
    """What could start at once with less than all."""
    gang = seen.facts.service.gang
    if room.fitting == len(room.waiting):
        return ""
    asked = [facts for facts in seen.facts.roles if facts.desired]
    could = {facts.role.name: copies_that_could_start(facts) for facts in asked}
    if gang is None or gang.min_replicas is not None or not all(could.values()):
        return ""
    words = " and ".join(f"{copies} of {role}" for role, copies in could.items())
    return f"; with gang.mode MinReplicas these copies would start now: {words}"


def pods_wait_for_room(seen: Seen) -> Verdict | None:
    room = room_of((facts, pod) for facts in seen.facts.all_roles for pod in facts.pods)
    if not room.waiting:
        return None
    total = sum(facts.total_pods for facts in seen.facts.all_roles)
    bound = sum(facts.bound_pods for facts in seen.facts.all_roles)
    reason = "SchedulingGated" if room.is_gated else "Unschedulable"
    fit = f", of which {room.fitting} fit" if room.fitting else ""
    words = f"{bound} of {total} pods are bound; without a node: {room.needs}{fit}{_short(room)}"
    return Verdict("False", reason, words)


def pods_are_not_bound(seen: Seen) -> Verdict | None:
    for facts in seen.facts.all_roles:
        if facts.bound_pods < facts.total_pods:
            words = f"{facts.bound_pods} of {facts.total_pods} pods of role {facts.role.name} are bound"
            return Verdict("False", "PodsPending", words)
    return None


def all_pods_are_bound(seen: Seen) -> Verdict | None:
    return Verdict("True", "Scheduled", f"all {sum(facts.total_pods for facts in seen.facts.all_roles)} pods are bound")


def a_write_failed(seen: Seen) -> Verdict | None:
    for failure in seen.outcome.failures:
        return words_of(failure)
    return None


def a_role_failed(seen: Seen) -> Verdict | None:
    for facts in seen.facts.roles:
        if (verdict := failure_of(facts, seen)) is not None:
            return Verdict("False", verdict.reason, _of_role(facts, verdict.message))
    return None


def _of_role(facts: RoleFacts, message: str) -> str:
    return f"role {facts.role.name}: {facts.ready} of {facts.desired} copies are ready; {message}"


def a_role_is_not_whole(seen: Seen) -> Verdict | None:
    for facts in seen.facts.roles:
        if not facts.is_complete:
            standing = standing_of(facts, seen)
            return Verdict("False", standing.reason, _of_role(facts, standing.message))
    return None


def the_router_is_not_whole(seen: Seen) -> Verdict | None:
    router = seen.facts.router
    return None if router is None or router.is_complete else _router_stands(router, seen)


def every_role_is_whole(seen: Seen) -> Verdict | None:
    counts = ", ".join(f"{facts.role.name} {facts.ready}/{facts.desired}" for facts in seen.facts.roles)
    return Verdict("True", "AllReplicasReady", f"every copy is ready: {counts}")


def no_router_was_asked_for(seen: Seen) -> Verdict | None:
    return Verdict("True", NOT_REQUESTED, "the service has no router") if seen.facts.router is None else None


def router_is_not_installed(seen: Seen) -> Verdict | None:
    if not seen.plan.router_lacks:
        return None
    kinds = " and ".join(f"{resource.kind} ({resource.api_version})" for resource in seen.plan.router_lacks)
    projects = " and ".join(dict.fromkeys(_BROUGHT_BY[resource.group] for resource in seen.plan.router_lacks))
    words = (
        f"the router needs {kinds}, which this cluster does not serve; install the CRDs of {projects}, and it is made "
        "by itself"
    )
    return Verdict("False", NOT_INSTALLED, words)


_BROUGHT_BY = {POOLS.group: "the Gateway API inference extension", HTTP_ROUTES.group: "the Gateway API"}
"""Who brings kinds that a router needs."""


def the_router_failed(seen: Seen) -> Verdict | None:
    router = seen.facts.router
    if router is None or (verdict := failure_of(router, seen)) is None:
        return None
    return Verdict("False", verdict.reason, _of_hops(router, verdict.message))


def no_router_pod_is_ready(seen: Seen) -> Verdict | None:
    router = seen.facts.router
    return None if router is None or router.ready or not router.desired else _router_stands(router, seen)


def no_router_pod_is_asked_for(seen: Seen) -> Verdict | None:
    router = seen.facts.router
    if router is None or router.desired:
        return None
    return Verdict("False", SCALED_TO_ZERO, f"no copy of router {router.role.name} is asked for, and nothing gets in")


def _router_stands(router: RoleFacts, seen: Seen) -> Verdict:
    standing = standing_of(router, seen)
    return Verdict("False", standing.reason, _of_hops(router, standing.message))


def _of_hops(router: RoleFacts, message: str) -> str:
    return f"router {router.role.name}: {router.ready} of {router.desired} pods are ready; {message}"


def a_hop_is_closed(seen: Seen) -> Verdict | None:
    closed = seen.facts.closed_hop
    return None if closed is None else Verdict("False", closed.reason, closed.message)


def gateways_send_requests(seen: Seen) -> Verdict | None:
    router, written = seen.facts.router, seen.facts.service.router
    if router is None or written is None or written.route is None:
        return None
    names_of_ways = (way.name.partition(",")[0] for way in seen.facts.addresses)
    through = " and ".join(dict.fromkeys(names_of_ways)) or "the gateway"
    words = f"{through} has route and pool; the picker is ready in {router.ready} of {router.desired} pods"
    return Verdict("True", "Routing", words)


def no_prefiller_is_ready(seen: Seen) -> Verdict | None:
    """A router that could send prompts to prefillers finds none."""
    prefillers = seen.facts.prefillers
    if not prefillers or seen.facts.router is None or any(facts.ready for facts in prefillers):
        return None
    waits = "; ".join(_of_role(facts, standing_of(facts, seen).message) for facts in prefillers)
    if all(facts.serves_alone for facts in seen.facts.entry_roles):
        return Verdict("True", DECODERS_ALONE, f"decoders compute their prompts themselves, since {waits}")
    return Verdict("False", "NoPrefillerReady", f"decoders answer nothing without a prefiller, and {waits}")


def revisions_are_mixed(seen: Seen) -> Verdict | None:
    if not seen.plan.decoders_stand_alone:
        return None
    words = (
        "decoders compute their prompts themselves until the pods of both sides have one image, model, dtype, block "
        f"size and connector ({names.KV_REVISION})"
    )
    return Verdict("True", DECODERS_ALONE, words)


def the_router_sends_requests(seen: Seen) -> Verdict | None:
    router = seen.facts.router
    if router is None:
        return None
    return Verdict("True", "Routing", f"picker and Envoy are ready in {router.ready} of {router.desired} pods")


def the_way_in_is_closed(seen: Seen) -> Verdict | None:
    """Clients are led to the router, and it does not take them on."""
    if seen.facts.router is None or seen.plan.router_is_bypassed:
        return None
    return router_is_not_ready(seen)


def router_is_not_ready(seen: Seen) -> Verdict | None:
    verdict = first(ROUTER_READY, seen)
    return verdict if verdict is not None and verdict.answer == "False" else None


def nothing_is_asked_to_serve(seen: Seen) -> Verdict | None:
    if any(facts.desired for facts in seen.facts.entry_roles):
        return None
    return Verdict("False", SCALED_TO_ZERO, "no copy is asked for")


def nobody_computes_prompts(seen: Seen) -> Verdict | None:
    """Decoders that cannot do it themselves have nobody who sends them what prefillers computed."""
    alone = all(facts.serves_alone for facts in seen.facts.entry_roles)
    if alone or seen.facts.router is not None:
        return None
    words = "these decoders answer nothing without a prefiller, and there is no router that would ask one: add a router"
    return Verdict("False", "NoRouter", words)


def nobody_serves(seen: Seen) -> Verdict | None:
    if any(facts.ready for facts in seen.facts.entry_roles):
        return None
    verdict = name_is_taken(seen) or a_role_failed(seen) or gang_waits(seen) or a_role_is_not_whole(seen)
    return verdict or Verdict("False", "NoReplicaReady", "no copy is ready")


def the_address_is_taken(seen: Seen) -> Verdict | None:
    entry = names.entry(seen.facts.service.name)
    taken = any(taken.kind == "Service" and taken.name == entry for taken in seen.outcome.taken or seen.plan.taken)
    return name_is_taken(seen) if taken else None


def somebody_serves(seen: Seen) -> Verdict | None:
    ready = sum(facts.ready for facts in seen.facts.entry_roles)
    answering = "1 copy answers" if ready == 1 else f"{ready} copies answer"
    return Verdict("True", "Serving", f"{answering} at {names.url(*_name(seen))}")


def _name(seen: Seen) -> tuple[str, str]:
    return seen.facts.service.name, seen.facts.service.namespace


def changes_are_paused(seen: Seen) -> Verdict | None:
    if not seen.facts.service.paused:
        return None
    waiting = len(seen.plan.applies) + len(seen.plan.deletes)
    return Verdict("False", PAUSED, f"spec.paused is true; {waiting} changes wait")


def workloads_are_replaced(seen: Seen) -> Verdict | None:
    words = _of_roles(seen, seen.plan.recreating, recreating_words)
    return Verdict("True", RECREATING, words) if words else None


def a_kind_is_not_installed(seen: Seen) -> Verdict | None:
    words = _of_roles(seen, seen.plan.uninstalled, uninstalled_words)
    return Verdict("False", NOT_INSTALLED, words) if words else None


def _of_roles(seen: Seen, roles: frozenset[str], words: Callable[[RoleFacts], str]) -> str:
    """What `words` say of each of `roles`."""
    return "; ".join(
        f"role {facts.role.name}: {words(facts)}" for facts in seen.facts.all_roles if facts.role.name in roles
    )


def a_change_is_held(seen: Seen) -> Verdict | None:
    """Of decoders that cannot answer alone."""
    if not seen.plan.is_stuck:
        return None
    roles = " and ".join(sorted(seen.plan.held))
    words = (
        f"role {roles}: the change would pair prefillers and decoders of two KV revisions, and these decoders answer "
        "nothing alone; set replicas of one side to 0 until its pods are gone, then back: nothing is answered meanwhile"
    )
    return Verdict("False", "UpdateHeld", words)


def a_change_begins(seen: Seen) -> Verdict | None:
    """Its templates come once no prompt is sent to prefillers any more."""
    if not seen.plan.held:
        return None
    roles = " and ".join(sorted(seen.plan.held))
    return Verdict("True", "RollingOut", f"role {roles}: first every picker has to know the decoders alone")


def a_change_has_not_begun(seen: Seen) -> Verdict | None:
    verdict = a_change_begins(seen)
    return verdict and Verdict("False", verdict.reason, verdict.message)


def nobody_answers_while_it_loads(seen: Seen) -> Verdict | None:
    """The only copy of what answers requests is replaced, and no other is lent meanwhile."""
    entries = seen.facts.entry_roles
    rolling = [facts for facts in entries if facts.is_rolling and facts.copies]
    if not rolling or sum(facts.desired for facts in entries) != 1 or is_some(rolling[0].role.rolling_update.max_surge):
        return None
    words = f"role {rolling[0].role.name}: {rolling_words(rolling[0])}; {NOBODY_ANSWERS}"
    return Verdict("True", "RollingOut", words)


NOBODY_ANSWERS = (
    "with one copy and no surge nothing is answered until the new one is ready: replicas 2, or "
    "rolloutStrategy.rollingUpdate.maxSurge 1, would spare that"
)


def is_some(surge: int | str) -> bool:
    """A copy is lent while a change rolls."""
    return surge not in (0, "0%")


def paused_changes_wait(seen: Seen) -> Verdict | None:
    return None if seen.plan.is_empty else changes_are_paused(seen)


def progress_has_stopped(seen: Seen) -> Verdict | None:
    for facts in seen.facts.all_roles:
        verdict = failure_of(facts, seen)
        if verdict is not None and verdict.reason == DEADLINE_EXCEEDED:
            return verdict
    return None


def a_role_is_rolling(seen: Seen) -> Verdict | None:
    rolling = [facts for facts in seen.facts.all_roles if not facts.is_complete]
    if not rolling:
        return None
    words = "; ".join(f"role {facts.role.name}: {rolling_words(facts)}" for facts in rolling)
    return Verdict("True", "RollingOut" if any(facts.is_rolling for facts in rolling) else "Recovering", words)


def an_update_is_pending(seen: Seen) -> Verdict | None:
    if not seen.plan.update_pending:
        return None
    roles = ", ".join(sorted(seen.plan.update_pending))
    return Verdict("False", UPDATE_PENDING, f"role {roles}: {PENDING_WORDS}")


def everything_is_rolled_out(seen: Seen) -> Verdict | None:
    return Verdict("False", "RolledOut", f"generation {seen.facts.service.generation} is rolled out")


def copies_are_missing(seen: Seen) -> Verdict | None:
    for facts in seen.facts.all_roles:
        if facts.ready < facts.desired and not facts.is_rolling and not facts.is_loading:
            standing = standing_of(facts, seen)
            return Verdict("True", standing.reason, _of_role(facts, standing.message))
    return None


def rights_are_missing(seen: Seen) -> Verdict | None:
    verdict = a_write_failed(seen)
    return Verdict("True", verdict.reason, verdict.message) if verdict and verdict.reason == "RBACDenied" else None


def nothing_is_missing(seen: Seen) -> Verdict | None:
    return Verdict("False", "AsExpected", "no copy is missing that should be there by now")


def the_service_is_ready(seen: Seen) -> Verdict | None:
    return Verdict("True", "Ready", f"every copy is ready; requests are answered at {names.url(*_name(seen))}")


ACCEPTED: Sequence[Rule] = (
    name_is_taken,
    spec_was_refused_by_the_api_server,
    something_looks_like_a_mistake,
    spec_is_accepted,
)
SCHEDULED: Sequence[Rule] = (
    no_copy_is_asked_for,
    gang_is_not_installed,
    gang_is_overridden,
    gang_waits,
    pods_wait_for_room,
    pods_are_not_bound,
    all_pods_are_bound,
)
WORKLOADS_READY: Sequence[Rule] = (a_role_failed, a_role_is_not_whole, every_role_is_whole)
ROUTER_READY: Sequence[Rule] = (
    no_router_was_asked_for,
    router_is_not_installed,
    no_router_pod_is_asked_for,
    no_router_pod_is_ready,
    a_hop_is_closed,
    revisions_are_mixed,
    no_prefiller_is_ready,
    gateways_send_requests,
    the_router_sends_requests,
)
AVAILABLE: Sequence[Rule] = (
    nothing_is_asked_to_serve,
    the_address_is_taken,
    nobody_serves,
    nobody_computes_prompts,
    the_way_in_is_closed,
    somebody_serves,
)
PROGRESSING: Sequence[Rule] = (
    changes_are_paused,
    gang_is_not_installed,
    a_kind_is_not_installed,
    workloads_are_replaced,
    a_change_is_held,
    progress_has_stopped,
    a_change_begins,
    nobody_answers_while_it_loads,
    a_role_is_rolling,
    an_update_is_pending,
    everything_is_rolled_out,
)
DEGRADED: Sequence[Rule] = (rights_are_missing, copies_are_missing, nothing_is_missing)
READY: Sequence[Rule] = (
    name_is_taken,
    a_write_failed,
    paused_changes_wait,
    a_role_failed,
    a_change_is_held,
    a_change_has_not_begun,
    gang_is_not_installed,
    a_kind_is_not_installed,
    gang_is_overridden,
    gang_waits,
    a_role_is_not_whole,
    nothing_at_all_is_asked_for,
    router_is_not_ready,
    the_router_is_not_whole,
    no_copy_is_asked_for,
    nobody_serves,
    nobody_computes_prompts,
    the_service_is_ready,
)

CONDITIONS: dict[str, Sequence[Rule]] = {
    "Accepted": ACCEPTED,
    "Scheduled": SCHEDULED,
    "WorkloadsReady": WORKLOADS_READY,
    "RouterReady": ROUTER_READY,
    "Available": AVAILABLE,
    "Progressing": PROGRESSING,
    "Degraded": DEGRADED,
    "Ready": READY,
}
"""Each is always there: what was not asked for is True, so that `kubectl wait` cannot hang."""


def stalled_by(rule: Rule) -> Rule:
    """A rule that says Stalled=True with the words with which `rule` says no."""

    def stalls(seen: Seen) -> Verdict | None:
        verdict = rule(seen)
        return Verdict("True", verdict.reason, verdict.message) if verdict else None

    return stalls


STALLED: Sequence[Rule] = tuple(
    stalled_by(rule)
    for rule in (
        name_is_taken,
        spec_was_refused_by_the_api_server,
        a_role_failed,
        a_change_is_held,
        the_router_failed,
        gang_is_not_installed,
        router_is_not_installed,
        a_kind_is_not_installed,
    )
)
"""There only while nothing will move without the user (kstatus, and so Flux and Helm, read it)."""
