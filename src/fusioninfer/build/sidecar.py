"""A decoder's sidecar: it answers at the serving port, and has a prefiller compute the prompt if the router said so.

A native sidecar: it listens before the engine starts, and ends after it, so that no answer is cut short. Sources, all
llm-d-inference-scheduler 0.7.1 (pkg/sidecar/proxy): a request without x-prefiller-host-port goes straight to the
engine, and so does everything that is no completion, such as /metrics and /v1/models; /health is the sidecar's own,
always 200, so that the engine is asked on its own port; without --secure-proxy=false it speaks TLS. Told to end it
stops at once, which by then nobody misses.
"""

from __future__ import annotations

from collections.abc import Iterable

from fusioninfer.api import names
from fusioninfer.api.service import InferenceService, InvalidSpec, Manifest, Role
from fusioninfer.build.engines import Launch, Sidecar
from fusioninfer.build.router import releases
from fusioninfer.build.router.picker import release_of
from fusioninfer.build.router.releases import Release

SIDECAR = "pd-sidecar"
"""Name of the container."""
NOBODY = 65532
"""The user id in its image."""


def release_in(service: InferenceService) -> Release:
    """The picker's release, with which the pods have to get on; without a router the default one."""
    return releases.releases()[releases.DEFAULT] if service.router is None else release_of(service.router)


def sidecars(service: InferenceService, role: Role, engine_container: str, launch: Launch) -> tuple[Manifest, ...]:
    """What stands before the engine in a pod of `role`: the last of its init containers.

    It comes after the user's own, since it would answer while they still prepare.
    """
    if launch.sidecar is None or launch.port is None:
        return ()
    release = release_in(service)
    _check_protocol(launch.sidecar, release, role)
    _check_name(role)
    (engine,) = (c for c in role.template["spec"]["containers"] if c["name"] == engine_container)
    port_name = _name_of(launch.sidecar.port, engine.get("ports") or ())
    return (_container(launch.sidecar, release, launch.port, port_name),)


def _check_name(role: Role) -> None:
    spec = role.template["spec"]
    if any(container["name"] == SIDECAR for container in (*spec["containers"], *(spec.get("initContainers") or ()))):
        raise InvalidSpec(
            f"{role.path}.template.spec.containers",
            f"{SIDECAR!r} is the sidecar that FusionInfer adds to a decoder; remove yours, or give it another name",
        )


def _name_of(serving: int, ports: Iterable[Manifest]) -> str:
    """What the user calls the serving port, else our own name for it."""
    called = (port.get("name") for port in ports if port.get("containerPort") == serving)
    return next((str(name) for name in called if name), names.PORT_NAME)


def _check_protocol(sidecar: Sidecar, release: Release, role: Role) -> None:
    if sidecar.protocol in release.sidecar.protocols:
        return
    able = [name for name, known in releases.releases().items() if sidecar.protocol in known.sidecar.protocols]
    instead = f"choose {' or '.join(able)} in a router's pickerRelease, or " if able else ""
    raise InvalidSpec(
        f"{role.path}.template.spec.containers",
        f"the sidecar of {release.name} does not know the connector ({sidecar.protocol}); {instead}use one that it "
        f"knows: {', '.join(release.sidecar.protocols)}",
    )


def _container(sidecar: Sidecar, release: Release, engine_port: int, port_name: str) -> Manifest:
    env = [*({"name": name, "value": value} for name, value in release.sidecar.env.items()), *sidecar.env]
    probe: Manifest = {"httpGet": {"path": "/health", "port": sidecar.port}, "timeoutSeconds": 2}
    return {
        "name": SIDECAR,
        "image": release.sidecar.image,
        "restartPolicy": "Always",
        "args": list(release.sidecar.arguments(port=sidecar.port, engine_port=engine_port, protocol=sidecar.protocol)),
        **({"env": env} if env else {}),
        "ports": [{"name": port_name, "containerPort": sidecar.port}],
        "startupProbe": {**probe, "periodSeconds": 1, "failureThreshold": 60},
        "readinessProbe": {**probe, "periodSeconds": 5, "failureThreshold": 3},
        "livenessProbe": {**probe, "periodSeconds": 10, "failureThreshold": 3},
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "runAsUser": NOBODY,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def side_labels(service: InferenceService, role: Role, written: dict[str, str]) -> dict[str, str]:
    """By what the picker tells the sides apart; raises InvalidSpec if the user's own label says otherwise."""
    known = release_in(service).sides
    side = {"prefiller": known.prefiller, "decoder": known.decoder}.get(role.component_type)
    if side is None:
        return {}
    if written.get(known.label, side) != side:
        raise InvalidSpec(
            f"{role.path}.template.metadata.labels.{known.label}",
            f"{written[known.label]!r} on a {role.component_type}, which the picker would take for something else; "
            f"remove it: FusionInfer writes {side}",
        )
    return {known.label: side}
