"""The pod template of a role: what the user wrote, completed and never overwritten.

Completed are: our labels, the engine's port and its name, probes, environment, the scheduler, and what makes a
pod's end and its last words reliable. Each stands in a function of its own below. One thing is rewritten: behind a
decoder's sidecar, the engine's port and what asks it.
"""

from __future__ import annotations

import copy
import math
from typing import Any

from fusioninfer.api import names
from fusioninfer.api.service import InferenceService, InvalidSpec, Manifest, Role
from fusioninfer.build import ending
from fusioninfer.build.engines import Found, Launch
from fusioninfer.build.engines.apart import kv_revision, moved
from fusioninfer.build.gang.schedulers import mark_of
from fusioninfer.build.sidecar import side_labels, sidecars

PROBE_PERIOD_SECONDS = 5
PROBE_TIMEOUT_SECONDS = 5
STARTUP_PERIOD_SECONDS = 5


def leader_template(service: InferenceService, role: Role, found: Found, launch: Launch) -> Manifest:
    """The template of the pods that answer: all pods of a role of one node per copy, else the first of each copy."""
    return _template(service, role, role.template, found.container_name, launch)


def worker_template(service: InferenceService, role: Role, found: Found) -> Manifest:
    """The template of the other pods of a copy: what the user wrote for them, else derived from the leader's."""
    if role.worker_template is not None:
        return _template(service, role, role.worker_template, "", ON_ITS_OWN)
    launch = found.engine.worker(_container(role, found), role)
    return _template(service, role, role.template, found.container_name, launch)


def leader_launch(role: Role, found: Found) -> Launch:
    """How the engine wants its answering process started."""
    return found.engine.leader(_container(role, found), role)


def serving_port(template: Manifest, launch: Launch) -> tuple[str, int]:
    """What the port on which a pod answers is called in a built template, and its number."""
    spec = template["spec"]
    ports = (port for c in (*spec["containers"], *spec.get("initContainers", ())) for port in c.get("ports") or ())
    port = next(port for port in ports if port["containerPort"] == launch.serving_port)
    return str(port["name"]), int(port["containerPort"])


ON_ITS_OWN = Launch(port=None, args=())
"""For a template in which no container is known to be the engine's."""


def _container(role: Role, found: Found) -> Manifest:
    container: Manifest = next(c for c in role.template["spec"]["containers"] if c["name"] == found.container_name)
    return container


def _template(
    service: InferenceService, role: Role, written: Manifest, engine_container: str, launch: Launch
) -> Manifest:  # fmt: skip
    template = copy.deepcopy(written)
    return {
        "metadata": _metadata(template.get("metadata") or {}, service, role, engine_container, launch),
        "spec": _pod_spec(template["spec"], service, role, engine_container, launch),
    }


def _metadata(
    metadata: Manifest, service: InferenceService, role: Role, engine_container: str, launch: Launch
) -> Manifest:  # fmt: skip
    ours = names.role_labels(service.name, role.name, role.component_type)
    serving = {} if launch.port is None else _of_who_answers(metadata, service, role, engine_container, launch)
    kept = {key: value for key, value in metadata.items() if value is not None}
    labelled = {**kept, "labels": {**(metadata.get("labels") or {}), **ours, **serving}}
    if (mark := mark_of(service)) is None:
        return labelled
    return {**labelled, "annotations": {**(metadata.get("annotations") or {}), **dict([mark])}}


def _of_who_answers(
    metadata: Manifest, service: InferenceService, role: Role, engine_container: str, launch: Launch
) -> Manifest:  # fmt: skip
    sides = side_labels(service, role, metadata.get("labels") or {})
    if launch.transfer is None:
        return {names.SERVING_LABEL: "true", **sides}
    (image,) = (c["image"] for c in role.template["spec"]["containers"] if c["name"] == engine_container)
    return {names.SERVING_LABEL: "true", **sides, names.KV_REVISION: kv_revision(image, launch.transfer)}


def _pod_spec(
    spec: Manifest, service: InferenceService, role: Role, engine_container: str, launch: Launch
) -> Manifest:  # fmt: skip
    """The pod's spec.

    Links of Services are off unless wished for: one named `vllm` sets VLLM_PORT to a URL, which kills vLLM.
    """
    completed = _completed(
        {key: value for key, value in spec.items() if value or key != "schedulerName"},  # "" names none
        enableServiceLinks=False,
        terminationGracePeriodSeconds=ending.grace_seconds(spec),
        **({"schedulerName": service.scheduler_name} if service.scheduler_name else {}),
    )
    for kind in ("initContainers", "containers"):
        if spec.get(kind):
            completed[kind] = [
                _engine_container(c, role, launch, spec) if _is(c, kind, engine_container) else _with_last_words(c)
                for c in spec[kind]
            ]
    if sidecar := sidecars(service, role, engine_container, launch):
        completed["initContainers"] = [*(completed.get("initContainers") or ()), *sidecar]
    if any(mount == SHARED_MEMORY_MOUNT for c in completed["containers"] for mount in c.get("volumeMounts") or ()):
        completed["volumes"] = [*(spec.get("volumes") or ()), SHARED_MEMORY]
    return completed


def _is(container: Manifest, kind: str, engine_container: str) -> bool:
    return kind == "containers" and container["name"] == engine_container


def _engine_container(container: Manifest, role: Role, launch: Launch, spec: Manifest) -> Manifest:
    completed = _with_last_words(container)
    if launch.command is not None:
        completed["command"] = list(launch.command)
    if launch.args:
        completed["args"] = list(launch.args)
    if env := _env(container.get("env") or [], launch.env):
        completed["env"] = env
    if launch.needs_shared_memory and not _has_shared_memory(container):
        completed["volumeMounts"] = [*(container.get("volumeMounts") or ()), SHARED_MEMORY_MOUNT]
    if launch.port is None:
        kept = {key: value for key, value in completed.items() if key not in _OF_WHO_ANSWERS}
        return _with_pause(kept, ending.worker_pause_seconds(spec, container, role.component_type))
    completed = _completed(completed, **_probes(role, launch))
    serving = launch.port if launch.sidecar is None else launch.sidecar.port
    completed["ports"] = _ports(container.get("ports") or [], serving, role)
    if launch.sidecar is not None:
        completed = _behind(serving, launch.port, completed)
    return _with_pause(completed, ending.drain_seconds(spec, role.component_type))


def _behind(serving: int, port: int, container: Manifest) -> Manifest:
    """`container`, whose engine listens on `port` behind a sidecar on `serving`, and all of it that names the port.

    The port's name goes to the sidecar, by which others find it.
    """
    called = {port["name"] for port in container["ports"] if port.get("containerPort") == serving}
    asked = {serving, str(serving), *called}
    hooks = {hook: moved(how, asked, port) for hook, how in (container.get("lifecycle") or {}).items()}
    return {
        **container,
        **{kind: moved(container[kind], asked, port) for kind in _PROBES if container.get(kind)},
        **({"lifecycle": hooks} if hooks else {}),
        "ports": [_unnamed(port, at) if at.get("containerPort") == serving else at for at in container["ports"]],
    }


def _unnamed(port: int, written: Manifest) -> Manifest:
    return {**{key: value for key, value in written.items() if key != "name"}, "containerPort": port}


def _with_pause(container: Manifest, seconds: int) -> Manifest:
    """`container`, told to end so many seconds later than its pod, unless the user wrote a preStop."""
    if not seconds:
        return container
    lifecycle = _completed(container.get("lifecycle") or {}, preStop={"sleep": {"seconds": seconds}})
    return {**container, "lifecycle": lifecycle}


_PROBES = frozenset({"readinessProbe", "livenessProbe", "startupProbe"})
_OF_WHO_ANSWERS = _PROBES | {"ports"}
"""What the user wrote for the process that answers, and what a process that answers nobody could only fail."""

SHARED_MEMORY: Manifest = {"name": "fusioninfer-shm", "emptyDir": {"medium": "Memory", "sizeLimit": "16Gi"}}
"""Counts against the container's memory limit as it is filled, and is no more than that."""
SHARED_MEMORY_MOUNT: Manifest = {"name": SHARED_MEMORY["name"], "mountPath": "/dev/shm"}


def _has_shared_memory(container: Manifest) -> bool:
    mounts = container.get("volumeMounts") or ()
    return any(str(mount.get("mountPath", "")).rstrip("/") == SHARED_MEMORY_MOUNT["mountPath"] for mount in mounts)


def _with_last_words(container: Manifest) -> Manifest:
    """The last lines of a crashed container's log become its termination message: no right to read logs is needed."""
    return _completed(container, terminationMessagePolicy="FallbackToLogsOnError")


def _completed(written: Manifest, **additional: Any) -> Manifest:
    """What the user wrote, and after it what is missing there."""
    return {**written, **{key: value for key, value in additional.items() if key not in written}}


def _ports(ports: list[Any], serving: int, role: Role) -> list[Any]:
    """The user's ports, with the serving one there and named: the Service finds it by name, so that it may change."""
    taken = {port.get("name") for port in ports if port.get("containerPort") != serving}
    if names.PORT_NAME in taken:
        raise InvalidSpec(
            f"{role.path}.template.spec.containers.ports",
            f"{names.PORT_NAME!r} names another port than {serving}, where the engine serves; rename it, "
            "or say --port in the engine's args",
        )
    if not any(port.get("containerPort") == serving for port in ports):
        return [*ports, {"name": names.PORT_NAME, "containerPort": serving}]
    return [_completed(port, name=names.PORT_NAME) if port.get("containerPort") == serving else port for port in ports]


def _env(env: list[Any], additional: tuple[Manifest, ...]) -> list[Any]:
    written = {variable["name"] for variable in env}
    return [*env, *(variable for variable in additional if variable["name"] not in written)]


def _probes(role: Role, launch: Launch) -> Manifest:
    """Probes where the user wrote none. A model may load for as long as progressDeadlineSeconds says."""
    timeout = {"timeoutSeconds": PROBE_TIMEOUT_SECONDS}
    probes: Manifest = {}
    if launch.ready:
        probes["readinessProbe"] = _completed(
            launch.ready, periodSeconds=PROBE_PERIOD_SECONDS, **timeout, failureThreshold=3
        )
    if launch.alive:
        attempts = math.ceil(role.progress_deadline_seconds / STARTUP_PERIOD_SECONDS)
        probes["livenessProbe"] = _completed(launch.alive, periodSeconds=10, **timeout, failureThreshold=3)
        probes["startupProbe"] = _completed(
            launch.alive, periodSeconds=STARTUP_PERIOD_SECONDS, **timeout, failureThreshold=attempts
        )
    return probes
