"""The pod template of a role: what the user wrote, completed and never overwritten.

Completed are: our labels, the engine's port and its name, probes, environment, the scheduler, and what makes a
pod's end and its last words reliable. Each stands in a function of its own below.
"""

from __future__ import annotations

import copy
import math
from typing import Any

from fusioninfer.api import names
from fusioninfer.api.service import InferenceService, InvalidSpec, Manifest, Role
from fusioninfer.build.engines import Additions, Found

PROBE_PERIOD_SECONDS = 5
STARTUP_PERIOD_SECONDS = 5
GRACE_SECONDS = 60
"""Time to finish streams after the pod has left the Service; Kubernetes' own default of 30 is short for an LLM."""
DRAIN_SECONDS = 5
"""How long a pod goes on serving after it was told to end: until every node's proxy has dropped it from the Service."""


def pod_template(service: InferenceService, role: Role, found: Found) -> Manifest:
    """The template of the role's serving pods."""
    template = copy.deepcopy(role.template)
    spec = template["spec"]
    container = next(c for c in spec["containers"] if c["name"] == found.container_name)
    additions = found.engine.additions(container, role)
    return {
        "metadata": _metadata(template.get("metadata") or {}, service, role),
        "spec": _pod_spec(spec, service, role, found.container_name, additions),
    }


def serving_port(template: Manifest, found: Found, role: Role) -> str:
    """The name of the container port, in a built template, on which the role's pods answer."""
    container = next(c for c in template["spec"]["containers"] if c["name"] == found.container_name)
    port = found.engine.additions(container, role).port
    return str(next(p["name"] for p in container["ports"] if p["containerPort"] == port))


def _metadata(metadata: Manifest, service: InferenceService, role: Role) -> Manifest:
    ours = {**names.role_labels(service.name, role.name, role.component_type), names.SERVING_LABEL: "true"}
    kept = {key: value for key, value in metadata.items() if value is not None}
    return {**kept, "labels": {**(metadata.get("labels") or {}), **ours}}


def _pod_spec(
    spec: Manifest, service: InferenceService, role: Role, engine_container: str, additions: Additions
) -> Manifest:  # fmt: skip
    """The pod's spec.

    Links of Services are off unless wished for: one named `vllm` sets VLLM_PORT to a URL, which kills vLLM.
    """
    grace = spec.get("terminationGracePeriodSeconds", GRACE_SECONDS)
    completed = _completed(
        spec,
        enableServiceLinks=False,
        terminationGracePeriodSeconds=grace,
        **({"schedulerName": service.scheduler_name} if service.scheduler_name else {}),
    )
    for kind in ("initContainers", "containers"):
        if spec.get(kind):
            completed[kind] = [
                _engine_container(c, role, additions, grace) if _is(c, kind, engine_container) else _with_last_words(c)
                for c in spec[kind]
            ]
    return completed


def _is(container: Manifest, kind: str, engine_container: str) -> bool:
    return kind == "containers" and container["name"] == engine_container


def _engine_container(container: Manifest, role: Role, additions: Additions, grace_seconds: int) -> Manifest:
    completed = _completed(_with_last_words(container), **_probes(role, additions))
    completed["ports"] = _ports(container.get("ports") or [], additions.port, role)
    env = _env(container.get("env") or [], additions.env)
    if env:
        completed["env"] = env
    if drain_seconds := min(DRAIN_SECONDS, grace_seconds // 2):
        completed["lifecycle"] = _completed(
            container.get("lifecycle") or {}, preStop={"sleep": {"seconds": drain_seconds}}
        )
    return completed


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


def _probes(role: Role, additions: Additions) -> Manifest:
    """Probes where the user wrote none. A model may load for as long as progressDeadlineSeconds says."""
    timing = {"periodSeconds": PROBE_PERIOD_SECONDS, "timeoutSeconds": additions.probe_timeout_seconds}
    probes: Manifest = {}
    if additions.ready:
        probes["readinessProbe"] = {**additions.ready, **timing, "failureThreshold": 3}
    if additions.alive:
        probes["livenessProbe"] = {**additions.alive, **timing, "periodSeconds": 10, "failureThreshold": 3}
        probes["startupProbe"] = {
            **additions.alive,
            **timing,
            "periodSeconds": STARTUP_PERIOD_SECONDS,
            "failureThreshold": math.ceil(role.progress_deadline_seconds / STARTUP_PERIOD_SECONDS),
        }
    return probes
