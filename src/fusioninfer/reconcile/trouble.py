"""What keeps a pod from being ready, in one word and one sentence, with the words of whoever said so."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from fusioninfer.reconcile.snapshot import ABOUT_THE_GANG, FITS, ContainerStatus, Pod, Terminated

IMAGE_REASONS = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError"}
)
CONFIG_REASONS = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})
KILLED_BY_SIGNAL = frozenset({137, 143})
MAX_WORDS = 1024
"""Characters of a container's last words that we repeat: the status is no log."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a pod is not ready."""

    reason: str
    message: str
    is_failure: bool = False
    """It will not mend by waiting: the phase is Failed while it lasts."""
    is_loading: bool = False
    """The pod is on its way: it was just made, or its engine is loading."""


Finding = Callable[[Pod], Trouble | None]


def of_pod(pod: Pod) -> Trouble | None:
    """The first thing that the list finds; None if the pod is ready."""
    if pod.ready:
        return None
    return next((trouble for finding in FINDINGS if (trouble := finding(pod)) is not None), None)


def worst(pods: Iterable[Pod]) -> Trouble | None:
    """The most serious trouble among `pods`: the earlier in the list of findings, the more serious."""
    waiting = [pod for pod in pods if not pod.ready]
    found = ((finding(pod) for pod in waiting) for finding in FINDINGS)
    return next((trouble for row in found for trouble in row if trouble is not None), None)


def _containers(pod: Pod) -> tuple[ContainerStatus, ...]:
    return (*pod.status.initContainerStatuses, *pod.status.containerStatuses)


def _where(pod: Pod, container: ContainerStatus) -> str:
    return f"pod {pod.metadata.name}, container {container.name}"


def image_cannot_be_had(pod: Pod) -> Trouble | None:
    for container in _containers(pod):
        waiting = container.state.waiting
        if waiting and waiting.reason in IMAGE_REASONS:
            words = f"{_where(pod, container)}: {waiting.reason}: {waiting.message or container.image}"
            return Trouble(waiting.reason, words[:MAX_WORDS], is_failure=True)
    return None


def container_cannot_be_made(pod: Pod) -> Trouble | None:
    for container in _containers(pod):
        waiting = container.state.waiting
        if waiting and waiting.reason in CONFIG_REASONS:
            words = f"{_where(pod, container)}: {waiting.reason}: {waiting.message}"
            return Trouble(waiting.reason, words[:MAX_WORDS], is_failure=True)
    return None


def container_crashes(pod: Pod) -> Trouble | None:
    """A container ended and is not up again: it waits to be restarted, or runs once more without being ready yet."""
    for container in _containers(pod):
        end = crash_of(container)
        if end is None or container.ready:
            continue
        waiting = container.state.waiting
        reason = "CrashLoopBackOff" if waiting and waiting.reason == "CrashLoopBackOff" else "ContainerCrashed"
        message = f"{_where(pod, container)}: {_ending(end)}, {container.restartCount} restarts{_last_words(end)}"
        return Trouble(reason, message, is_failure=True)
    return None


def crash_of(container: ContainerStatus, *, ends: bool = False) -> Terminated | None:
    """How the container ended most recently against expectation; None if it never did. Init containers end with 0.

    In a pod that `ends` only what was before its last start counts: now every container ends, as it was told to.
    """
    now, before = container.state.terminated, container.lastState.terminated
    if not ends and now is not None and (now.exitCode or container.restartCount):
        return now
    return before if container.restartCount else None


def ended_by_a_crash(pod: Pod) -> Trouble | None:
    """Why a pod that ends had crashed before; for a copy that is recreated as a whole, this is why."""
    for container in _containers(pod):
        end = crash_of(container, ends=True)
        if end is not None:
            message = f"its pods are made anew since {_where(pod, container)}: {_ending(end)}{_last_words(end)}"
            return Trouble("RecreatingCopy", message, is_loading=True)
    return None


def _ending(end: Terminated) -> str:
    if end.reason == "OOMKilled":
        return f"ran out of its memory limit (OOMKilled, exit code {end.exitCode})"
    if end.exitCode in KILLED_BY_SIGNAL and end.reason != "Completed":
        return f"was killed (exit code {end.exitCode}), as the kubelet does when startup or liveness probes do not pass"
    return f"ended with exit code {end.exitCode}"


def _last_words(end: Terminated) -> str:
    words = end.message.strip()
    return f"; its last words: {words[-MAX_WORDS:]}" if words else ""


def pod_ended(pod: Pod) -> Trouble | None:
    if pod.status.phase not in ("Failed", "Succeeded"):
        return None
    reason = pod.status.reason or f"Pod{pod.status.phase}"
    words = pod.status.message or "it will be replaced once it is deleted"
    return Trouble(reason, f"pod {pod.metadata.name}: {reason}: {words}"[:MAX_WORDS], is_failure=True)


def no_node_has_room(pod: Pod) -> Trouble | None:
    scheduled = pod.condition("PodScheduled")
    if scheduled is None or scheduled.status == "True" or pod.spec.nodeName or scheduled.reason == FITS:
        return None
    words = scheduled.message or "no scheduler has looked at it yet"
    if words.startswith(ABOUT_THE_GANG):
        words = "there is no room for it, and so none for its gang"
    return Trouble(
        scheduled.reason or "Unschedulable", f"pod {pod.metadata.name} has no node: {words}", is_loading=False
    )


def gang_is_not_complete(pod: Pod) -> Trouble | None:
    scheduled = pod.condition("PodScheduled")
    if scheduled is None or scheduled.reason != FITS or pod.spec.nodeName:
        return None
    return Trouble("WaitingForGang", "its pods would fit, and wait for the rest of their gang")


def engine_has_not_started(pod: Pod) -> Trouble | None:
    for container in _containers(pod):
        running = container.state.running
        if running and container.started is False:
            since = f" since {running.startedAt}" if running.startedAt else ""
            message = f"{_where(pod, container)} is loading: its startup probe has not passed{since}"
            return Trouble("StartupProbePending", message, is_loading=True)
    return None


def container_is_not_ready(pod: Pod) -> Trouble | None:
    sidecars = [container for container in pod.status.initContainerStatuses if container.started]
    for container in (*sidecars, *pod.status.containerStatuses):
        running = container.state.running
        if running and container.started is not False and not container.ready:
            condition = pod.condition("Ready")
            since = f" since {condition.lastTransitionTime}" if condition and condition.lastTransitionTime else ""
            message = f"{_where(pod, container)} runs, but its readiness probe does not pass{since}"
            return Trouble("ReadinessProbeFailing", message)
    return None


def container_is_being_made(pod: Pod) -> Trouble | None:
    for container in _containers(pod):
        waiting = container.state.waiting
        if waiting:
            words = f": {waiting.message}" if waiting.message else ""
            return Trouble(waiting.reason, f"{_where(pod, container)}: {waiting.reason}{words}", is_loading=True)
    return None


def pod_is_new(pod: Pod) -> Trouble | None:
    return Trouble("PodPending", f"pod {pod.metadata.name} was just made", is_loading=True)


FINDINGS: Sequence[Finding] = (
    image_cannot_be_had,
    container_cannot_be_made,
    container_crashes,
    pod_ended,
    no_node_has_room,
    gang_is_not_complete,
    container_is_not_ready,
    engine_has_not_started,
    container_is_being_made,
    pod_is_new,
)
"""In this order: what waiting does not mend, then what waits for room, then what does not answer, then what loads."""
