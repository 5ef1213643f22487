"""The router's pods: the Endpoint Picker, and beside it, unless a gateway does it, the Envoy that sends each request
to the pod that was picked.

Beside Envoy the picker is a native sidecar: it is there before Envoy takes requests, and after Envoy has finished them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from fusioninfer.api import hashes, names
from fusioninfer.api.service import InferenceService, InvalidSpec, Manifest, Router
from fusioninfer.build import ending
from fusioninfer.build.metadata import child_metadata
from fusioninfer.build.router.envoy import ALIVE_PATH, ENVOY_IMAGE, READY_PATH, envoy_arguments, pause_seconds
from fusioninfer.build.router.merge import merged_template
from fusioninfer.build.router.ports import ENTRY_PORT, READY_PORT
from fusioninfer.build.router.releases import Release

PICKER = "epp"
ENVOY = "envoy"
"""Names of the containers, by which a user's template changes them."""


def router_deployment(
    service: InferenceService,
    router: Router,
    release: Release,
    config: Manifest,
    port: int,
    selector: Mapping[str, str],
) -> Manifest:
    """The Deployment; a new pod is ready before an old one ends, so that a change loses no request.

    What the picker is told of the engines, in `config`, by `port`, and by `selector` where no pool says it, counts as
    the user's words: it is of no use once the engines have changed.
    """
    name, labels = names.workload(service.name, router.name), names.router_labels(service.name, router.name)
    picker = _picker(service, router, release, config, port, selector)
    written = (router.template or {}).get("spec") or {}
    run = _with_envoy if router.route is None else _alone
    template = _template(service, router, run(picker, release, ending.grace_seconds(written)))
    mark = {names.TEMPLATE: hashes.of(template)}
    metadata = template["metadata"]
    marked = {**template, "metadata": {**metadata, "annotations": {**metadata.get("annotations", {}), **mark}}}
    told = [_of_engines(config), port, *([] if release.needs_pool else [selector])]
    annotations = {names.ROLE_INPUT: hashes.of([router.input_hash, *told]), **mark}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": child_metadata(
            service,
            name,
            labels={**router.labels, **labels},
            annotations={**router.annotations, **annotations},
        ),
        "spec": {
            **({} if router.replicas is None else {"replicas": router.replicas}),
            "selector": {"matchLabels": labels},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "progressDeadlineSeconds": router.progress_deadline_seconds,
            "template": marked,
        },
    }


def _of_engines(config: Manifest) -> list[Manifest]:
    """The plug-ins with parameters: whose metrics are read is said there."""
    return [plugin for plugin in config.get("plugins", ()) if plugin.get("parameters")]


def _with_envoy(picker: Manifest, release: Release, grace_seconds: int) -> Manifest:
    """The containers of a router that lets clients in by itself."""
    words = [*picker["args"], *release.flags.standalone]
    return {
        "initContainers": [{**picker, "restartPolicy": "Always", "args": words}],
        "containers": [_envoy(grace_seconds)],
    }


def _alone(picker: Manifest, release: Release, grace_seconds: int) -> Manifest:
    """The containers of a router behind a gateway: that one asks the picker, for each request as long as it lasts."""
    return {"containers": [{**picker, **_pause(grace_seconds)}]}


def _pause(grace_seconds: int) -> Manifest:
    """Who sends requests through it has until shortly before the grace period's end."""
    seconds = pause_seconds(grace_seconds)
    return {"lifecycle": {"preStop": {"sleep": {"seconds": seconds}}}} if seconds else {}


def _template(service: InferenceService, router: Router, containers: Manifest) -> Manifest:
    ours: Manifest = {
        "metadata": {"labels": names.router_labels(service.name, router.name)},
        "spec": {
            "serviceAccountName": names.workload(service.name, router.name),
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": ending.GRACE_SECONDS,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": NOBODY,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            **containers,
        },
    }
    _check_containers(router)
    template = ours if router.template is None else merged_template(ours, router.template, f"{router.path}.template")
    template["metadata"]["labels"] |= names.router_labels(service.name, router.name)
    return template


def _check_containers(router: Router) -> None:
    """What would take a container's configuration away, or leave an Envoy without any: where we have none, one would be
    taken for a container of the user's own."""
    for kind in ("initContainers", "containers"):
        for index, container in enumerate(((router.template or {}).get("spec") or {}).get(kind) or []):
            path = f"{router.path}.template.spec.{kind}[{index}]"
            if container["name"] == ENVOY and router.route is not None:
                raise InvalidSpec(
                    path, "behind a gateway the router has no Envoy of its own, the picker `epp` is alone; remove it"
                )
            for field in ("args", "command"):
                if container["name"] in (PICKER, ENVOY) and container.get(field):
                    raise InvalidSpec(
                        f"{path}.{field}",
                        f"the whole configuration of {container['name']!r} is in its arguments; remove it, and change "
                        "the picker by strategy, scorers or endpointPickerConfig",
                    )


NOBODY = 65532
"""The user id of distroless images."""

_LOCKED: Manifest = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
"""With the pod's securityContext, what Pod Security `restricted` asks for."""


def _picker(
    service: InferenceService,
    router: Router,
    release: Release,
    config: Manifest,
    port: int,
    selector: Mapping[str, str],
) -> Manifest:
    words = release.arguments(
        config=_text(config),
        namespace=service.namespace,
        pool=names.workload(service.name, router.name) if release.needs_pool else None,
        selector=selector,
        port=port,
    )
    probe = {"grpc": {"port": release.ports.health, "service": release.health_service}, "timeoutSeconds": 2}
    pod_name = {"valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
    return {
        "name": PICKER,
        "image": release.image,
        "args": [_literal(word) for word in words],
        **({"env": [{"name": release.flags.pod_name, **pod_name}]} if release.flags.pod_name else {}),
        "ports": [
            {"name": "grpc-ext-proc", "containerPort": release.ports.ext_proc},
            {"name": "grpc-health", "containerPort": release.ports.health},
            {"name": "metrics", "containerPort": release.ports.metrics},
        ],
        "startupProbe": {**probe, "periodSeconds": 1, "failureThreshold": 120},
        "readinessProbe": {**probe, "periodSeconds": 2, "failureThreshold": 3},
        "livenessProbe": {**probe, "periodSeconds": 10, "failureThreshold": 3},
        "resources": {"requests": {"cpu": "250m", "memory": "256Mi"}},
        "securityContext": _LOCKED,
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def _envoy(grace_seconds: int) -> Manifest:
    return {
        "name": ENVOY,
        "image": ENVOY_IMAGE,
        "args": [_literal(word) for word in envoy_arguments()],
        "ports": [{"name": names.PORT_NAME, "containerPort": ENTRY_PORT}],
        "readinessProbe": {
            "httpGet": {"path": READY_PATH, "port": READY_PORT},
            "periodSeconds": 2,
            "timeoutSeconds": 2,
            "failureThreshold": 2,
        },
        "livenessProbe": {
            "httpGet": {"path": ALIVE_PATH, "port": READY_PORT},
            "periodSeconds": 10,
            "timeoutSeconds": 5,
            "failureThreshold": 3,
        },
        **_pause(grace_seconds),
        "resources": {"requests": {"cpu": "250m", "memory": "128Mi"}},
        "securityContext": _LOCKED,
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def _text(config: Any) -> str:
    """JSON, which is YAML: an argument has one line, and keys always in the same order."""
    return json.dumps(config, separators=(",", ":"), ensure_ascii=False)


def _literal(word: str) -> str:
    """`word` as the process gets it: Kubernetes expands $(VARIABLE) in args, and $$ stands for a dollar sign."""
    return word.replace("$", "$$")
