"""Random pod templates that a real API server accepts."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from fusioninfer.api.service import Manifest

texts = st.text(st.characters(min_codepoint=32, max_codepoint=0x1F9FF, exclude_categories=["Cs"]), max_size=20)
names = st.from_regex(r"[a-z]([-a-z0-9]{0,10}[a-z0-9])?", fullmatch=True)
variables = st.from_regex(r"[A-Z][A-Z0-9_]{0,15}", fullmatch=True)
label_values = st.from_regex(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,10}[A-Za-z0-9])?)?", fullmatch=True)
quantities = st.sampled_from(["1", "500m", "0.5", "1000m", "2Gi", "1024Mi", "1e3", "0"])

env = st.lists(
    st.fixed_dictionaries({"name": variables}, optional={"value": texts}),
    unique_by=lambda item: item["name"],
    max_size=4,
)
ports = st.lists(
    st.fixed_dictionaries(
        {"containerPort": st.integers(1, 65535)}, optional={"protocol": st.sampled_from(["TCP", "UDP"])}
    ),
    unique_by=lambda port: port["containerPort"],
    max_size=3,
)
resources = st.fixed_dictionaries(
    {}, optional={"limits": st.fixed_dictionaries({}, optional={"cpu": quantities, "memory": quantities})}
)


def probes(port: int = 8000) -> st.SearchStrategy[Manifest]:
    handlers = st.sampled_from(
        [
            {"httpGet": {"path": "/x", "port": port}},
            {"tcpSocket": {"port": port}},
            {"exec": {"command": ["true"]}},
            {"grpc": {"port": port}},
        ]
    )
    return st.builds(
        lambda handler, numbers: {**handler, **numbers},
        handlers,
        st.fixed_dictionaries({}, optional={"periodSeconds": st.integers(1, 60), "timeoutSeconds": st.integers(1, 60)}),
    )


def containers() -> st.SearchStrategy[list[Manifest]]:
    one = st.fixed_dictionaries(
        {"name": names, "image": st.just("example.org/image:1")},
        optional={
            "args": st.lists(texts, max_size=4),
            "command": st.lists(texts, min_size=1, max_size=3),
            "env": env,
            "ports": ports,
            "resources": resources,
            "readinessProbe": probes(),
            "livenessProbe": probes(),
            "workingDir": st.just("/tmp"),
            "imagePullPolicy": st.sampled_from(["Always", "IfNotPresent"]),
            "tty": st.booleans(),
            "volumeMounts": st.just([{"name": "cache", "mountPath": "/cache"}]),
            "securityContext": st.just({"runAsNonRoot": True, "capabilities": {"drop": ["ALL"]}}),
        },
    )
    return st.lists(one, min_size=1, max_size=3, unique_by=lambda container: container["name"])


@st.composite
def pod_templates(draw: st.DrawFn) -> Manifest:
    """A template with one to three containers, and some of what users write beside them."""
    spec: dict[str, Any] = {
        "containers": draw(containers()),
        "volumes": [
            {"name": "cache", "emptyDir": draw(st.sampled_from([{}, {"medium": "Memory", "sizeLimit": "1Gi"}]))}
        ],
    }
    optional = {
        "nodeSelector": st.dictionaries(names, label_values, max_size=2),
        "terminationGracePeriodSeconds": st.integers(0, 300),
        "enableServiceLinks": st.booleans(),
        "tolerations": st.just([{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}]),
        "priorityClassName": st.just("system-node-critical"),
        "hostAliases": st.just([{"ip": "127.0.0.1", "hostnames": ["a", "b"]}]),
        "serviceAccountName": st.just("default"),
        "imagePullSecrets": st.just([{"name": "pull"}]),
        "affinity": st.just({"nodeAffinity": {}}),
    }
    for field, values in optional.items():
        if draw(st.booleans()):
            spec[field] = draw(values)
    metadata = {}
    if draw(st.booleans()):
        metadata["labels"] = draw(st.dictionaries(names, label_values, max_size=3))
    if draw(st.booleans()):
        metadata["annotations"] = draw(st.dictionaries(names, texts, max_size=3))
    return {**({"metadata": metadata} if metadata else {}), "spec": spec}
