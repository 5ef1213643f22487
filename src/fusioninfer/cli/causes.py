"""Why a service is not ready: the class of the cause, what leads to it, and what to type next. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Any

import msgspec

from fusioninfer.api.types import Condition
from fusioninfer.cli.flags import Flags
from fusioninfer.cli.terminal import age
from fusioninfer.cli.view import NOT_SEEN, Gang, Hop, Pod, Role, View, roles_in, why, words_of
from fusioninfer.reconcile.conditions import GANG_OVERRIDDEN, NAME_CONFLICT, PAUSED
from fusioninfer.reconcile.hops import SHADOWED
from fusioninfer.reconcile.phases import DEADLINE_EXCEEDED, NOT_INSTALLED, RECREATING, SCALED_TO_ZERO, UPDATE_PENDING
from fusioninfer.reconcile.trouble import CONFIG_REASONS, IMAGE_REASONS

# ruff: noqa: N815 - the names are the wire's


class Class(IntEnum):
    """What kind of cause; the exit code of `explain`. 1 and 2 are left to programs that crash and to wrong usage."""

    READY = 0
    CAPACITY = 3
    IMAGE = 4
    CRASH = 5
    ROUTE = 6
    REFUSED = 7
    PROGRESSING = 8
    MISSING = 9
    OTHER = 10


MEANING: Mapping[Class, str] = {
    Class.READY: "it is ready",
    Class.CAPACITY: "no node has room, the gang waits, or a quota is used up",
    Class.IMAGE: "an image cannot be had",
    Class.CRASH: "a container ends, or cannot be started",
    Class.ROUTE: "the router, or a hop of its gateway, is closed",
    Class.REFUSED: "the spec, or an object made of it, was refused",
    Class.PROGRESSING: "it is loading, or a change is under way",
    Class.MISSING: "the cluster lacks a kind that the service needs",
    Class.OTHER: "something else",
}


def _all(found: Class, *reasons: str) -> dict[str, Class]:
    return dict.fromkeys(reasons, found)


CLASSES: Mapping[str, Class] = {
    **_all(Class.CAPACITY, "Unschedulable", "GangPending", "GangInqueue", "GangIncomplete", "WaitingForGang"),
    **_all(Class.CAPACITY, "QuotaExceeded", "SchedulingGated", "PodsPending", "Evicted", "Preempted"),
    **_all(Class.IMAGE, *IMAGE_REASONS),
    **_all(Class.CRASH, *CONFIG_REASONS, "CrashLoopBackOff", "ContainerCrashed", "RecreatingCopy", "PodFailed"),
    **_all(Class.CRASH, "PodSucceeded"),
    **_all(Class.ROUTE, "NoRouter", "NoPrefillerReady", SHADOWED),
    **_all(Class.REFUSED, "InvalidSpec", "NotYetSupported", "Refused", "AdmissionDenied", NAME_CONFLICT),
    **_all(Class.PROGRESSING, "StartupProbePending", "ReadinessProbeFailing", "ContainerCreating", "PodInitializing"),
    **_all(Class.PROGRESSING, "PodPending", "PodsMissing", "NotCreated", "RollingOut", "Recovering", RECREATING),
    **_all(Class.PROGRESSING, "NoReplicaReady"),
    **_all(Class.MISSING, NOT_INSTALLED),
    **_all(Class.OTHER, PAUSED, "UpdateHeld", UPDATE_PENDING, GANG_OVERRIDDEN, SCALED_TO_ZERO, DEADLINE_EXCEEDED),
    **_all(Class.OTHER, "RBACDenied", "NotServed", "WebhookDown", "NamespaceTerminating"),
    **_all(Class.OTHER, "APIServerUnreachable", "APIServerUnavailable"),
}
"""By the reason of Ready; what is not named here is OTHER, unless it is of a hop."""
_OF_A_HOP = re.compile(r"(Gateway|Route|Pool)(Pending|NotAccepted|NotProgrammed|NotResolved)")


def class_of(view: View) -> Class:
    """What kind of cause keeps `view` from being ready."""
    ready = view.condition("Ready")
    if ready is None:
        return Class.OTHER
    if not view.is_seen:
        return Class.PROGRESSING
    if ready.status == "True":
        return Class.READY
    if _OF_A_HOP.fullmatch(ready.reason) or (ready.reason == SCALED_TO_ZERO and ready.message.startswith("no copy of")):
        return Class.ROUTE
    found = CLASSES.get(ready.reason, Class.OTHER)
    if ready.reason == DEADLINE_EXCEEDED:  # of which the pod says why
        pod = culprit(view)
        found = CLASSES.get(pod.reason, found) if pod else found
    return found


# --- who is to blame ----------------------------------------------------------------------------------------------


def to_blame(view: View) -> Role | None:
    """The role that Ready's message names, else the first that is not whole."""
    ready = view.condition("Ready")
    words = ready.message if ready else ""
    named = (role for role in view.roles if re.match(rf"(role|router) {re.escape(role.name)}:", words))
    unwhole = (role for role in view.roles if not role.is_whole)
    return next(named, next(unwhole, None))


def culprit(view: View) -> Pod | None:
    """The pod that Ready's message names, else the first of the role to blame that is not ready."""
    ready, role = view.condition("Ready"), to_blame(view)
    pods = role.pods if role else ()
    words = set(re.findall(r"[a-z0-9-]+", ready.message)) if ready else set()
    named = (pod for pod in pods if pod.name in words and not pod.ready)
    return next(named, next((pod for pod in pods if not pod.ready), None))


class InvolvedObject(msgspec.Struct, frozen=True):
    """What an event is about."""

    kind: str = ""
    name: str = ""


class Event(msgspec.Struct, frozen=True):
    """What somebody told of an object (core/v1 Event), as far as it is shown."""

    type: str = ""
    reason: str = ""
    message: str | None = None
    involvedObject: InvolvedObject = InvolvedObject()
    count: int | None = None
    lastTimestamp: str | None = None
    eventTime: str | None = None

    @property
    def time(self) -> str:
        """When it was last told; empty if that is not said."""
        return self.lastTimestamp or self.eventTime or ""


MOST_EVENTS = 3


def telling(events: Sequence[Event]) -> list[Event]:
    """The latest warnings; if there are none, the latest events."""
    warnings = [event for event in events if event.type == "Warning"]
    return sorted(warnings or events, key=lambda event: event.time)[-MOST_EVENTS:]


# --- the chain ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Link:
    """One object on the way to the cause."""

    what: str
    """Such as "pod"."""
    name: str
    words: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """The cause, what leads to it, and what to type next."""

    cause: str
    """The very sentence of Ready's message."""
    chain: tuple[Link, ...]
    next_step: str
    exit_code: Class


def explained(
    view: View, spec: Mapping[str, Any], events: Sequence[Event], flags: Flags, now: datetime
) -> Explanation:  # fmt: skip
    """Why `view`, whose spec is `spec`, is as it is. `flags` lead kubectl there."""
    ready, found = view.condition("Ready"), class_of(view)
    if ready is None:
        cause = NOT_SEEN
    elif not view.is_seen:
        seen = view.status.observedGeneration if view.status else 0
        cause = f"the operator has not looked at generation {view.generation} yet; of {seen} it said: {ready.message}"
    else:
        cause = ready.message
    chain = (Link("service", view.name, _of_service(view, ready, now)), *_chain(view, found, events, now))
    return Explanation(cause, chain, next_step(view, spec, found, flags), found)


def _of_service(view: View, ready: Condition | None, now: datetime) -> str:
    if ready is None or not view.is_seen:
        return f"generation {view.generation} has no status yet"
    since = age(ready.lastTransitionTime, now)
    return f"Ready={ready.status} for {since}, {ready.reason}"


def _chain(view: View, found: Class, events: Sequence[Event], now: datetime) -> Iterator[Link]:
    if found in (Class.READY, Class.REFUSED):
        yield from _events(events, now)
        return
    role = to_blame(view)
    if role is not None and role.status is not None:
        told = role.status
        counts = f"{told.readyReplicas} of {told.desiredReplicas} copies ready"
        yield Link("role", role.name, f"{told.phase}, {counts}; {told.reason}: {told.message}")
        yield Link("workload", role.workload, f"{told.readyPods} of {told.totalPods} pods ready")
    yield from map(_gang, filter(None, [view.gang]))
    yield from (_hop(hop) for hop in view.hops if not hop.isOpen)
    pod = culprit(view)
    if pod is not None:
        where = f"on node {pod.node}" if pod.node else "without a node"
        restarts = f", {pod.restarts} restarts" if pod.restarts else ""
        yield Link("pod", pod.name, f"{where}{restarts}; {why(pod)}")
    failure = role.last_failure if role else None
    if failure is not None:
        said = f"; its last words: {failure.message}" if failure.message else ""
        words = f"exit code {failure.exitCode} ({failure.reason}) {age(failure.time, now)} ago{said}"
        yield Link("failure", f"{failure.pod}/{failure.container}", words)
    yield from _events(events, now)


def _gang(gang: Gang) -> Link:
    return Link("gang", f"{gang.kind} {gang.name}", f"{gang.phase} in queue {gang.queue}; asks for {gang.asks}")


def _hop(hop: Hop) -> Link:
    return Link("hop", f"{hop.kind} {hop.name}", words_of(hop))


def _events(events: Sequence[Event], now: datetime) -> Iterator[Link]:
    for event in telling(events):
        times = f" x{event.count}" if event.count and event.count > 1 else ""
        since = f", {age(event.time, now)} ago" if event.time else ""
        about = f"{event.involvedObject.kind} {event.involvedObject.name}"
        yield Link("event", about, f"{event.reason}{times}{since}: {' '.join((event.message or '').split())}")


# --- what to type next --------------------------------------------------------------------------------------------


def next_step(view: View, spec: Mapping[str, Any], found: Class, flags: Flags) -> str:
    """One command, with what it is for behind a `#` where that is not plain."""
    name, role = view.name, to_blame(view)
    edit = f"kubectl {flags} edit inferenceservice {name}"
    ready = view.condition("Ready")
    reason, message = (ready.reason, ready.message) if ready else ("", "")
    match found:
        case Class.READY:
            return f"fusioninfer chat {name} {flags}"
        case Class.CAPACITY if reason == "QuotaExceeded":
            return f"kubectl {flags} describe resourcequota"
        case Class.CAPACITY:
            column = (_lacking(message) or "cpu").replace(".", r"\.")
            nodes = f"kubectl get nodes -o 'custom-columns=NAME:.metadata.name,HAS:.status.allocatable.{column}'"
            return f"{nodes} {flags.cluster}".rstrip() + "   # what the nodes have"
        case Class.IMAGE:
            return f"{edit}   # {_image_path(view, spec)}"
        case Class.CRASH if reason in CONFIG_REASONS:
            return edit
        case Class.CRASH:
            return f"fusioninfer logs {name} {role.name if role else ''} --previous {flags}"
        case Class.ROUTE:
            closed = next((hop for hop in view.hops if not hop.isOpen), None)
            return f"kubectl {flags} describe {closed.kind.lower()} {closed.name}" if closed else edit
        case Class.REFUSED:
            field = message.partition(": ")[0]
            return f"{edit}   # {field}" if re.match(r"(spec|metadata)\b", field) else edit
        case Class.PROGRESSING:
            return f"fusioninfer status {name} --watch {flags}"
        case Class.MISSING:
            return f"fusioninfer check {flags.cluster}".strip()
    return _otherwise(view, reason, flags)


def _otherwise(view: View, reason: str, flags: Flags) -> str:
    match reason:
        case "":
            return f"fusioninfer check {flags.cluster}".strip() + "   # is the operator there?"
        case "Paused":
            return (
                f'kubectl {flags} patch inferenceservice {view.name} --type=merge -p \'{{"spec":{{"paused":false}}}}\''
            )
        case "RBACDenied":
            return "fusioninfer rbac | kubectl apply -f -   # with the operator's own namespace: -n"
    return f"kubectl {flags} describe inferenceservice {view.name}"


def _lacking(message: str) -> str:
    """The resource that nodes lack, by the scheduler's words."""
    found = re.search(r"Insufficient ([\w./-]*\w)", message)
    return found[1] if found else ""


def _image_path(view: View, spec: Mapping[str, Any]) -> str:
    """The field with the image of the container that Ready's message names."""
    ready, role = view.condition("Ready"), to_blame(view)
    container = re.search(r"container ([a-z0-9-]+)", ready.message if ready else "")
    for index, written in enumerate(roles_in(spec)):
        if role is None or container is None or written.get("name") != role.name:
            continue
        template = (written.get("template") or {}).get("spec") or {}
        for kind in ("containers", "initContainers"):
            for number, one in enumerate(template.get(kind) or ()):
                if one.get("name") == container[1]:
                    return f"spec.roles[{index}].template.spec.{kind}[{number}].image"
    return f"the image of container {container[1]}" if container else "the image"
