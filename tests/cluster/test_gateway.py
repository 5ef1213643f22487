"""A router behind a gateway: the real kinds, the real picker, a real Envoy, and a played controller of gateways.

The controller writes what a gateway's would write into statuses, when a test says so; it configures nothing. The Envoy
is on this machine, and asks the picker as gateways do: by TLS, without looking at its certificate. No real gateway runs
here, so that what one makes of the route is not shown.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fusioninfer.build.router import envoy
from fusioninfer.reconcile.snapshot import FOR_PROVIDERS
from testbed.envoy import program
from tests.build.router.loopback import free_ports
from tests.cluster.conftest import OPERATOR
from tests.cluster.harness import AuditLog, Manifest, Namespace, chat, chat_or_nothing, is_write, routed
from tools.operator_process import Kubectl

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("operator")]

CLASS = "played"
GATEWAY_API = "gateway.networking.k8s.io"


@pytest.fixture(scope="module")
def providers(kubectl: Kubectl) -> Iterator[None]:
    """The kinds that only GKE and Istio have, without what they may hold."""
    crds = [_crd(resource.group, resource.version, resource.kind, resource.plural) for resource in FOR_PROVIDERS]
    kubectl.apply(crds)
    for crd in crds:  # with a path: `wait` for a condition gives up where there is none yet (kubectl 1.36)
        served = "--for=jsonpath={.status.acceptedNames.kind}=" + crd["spec"]["names"]["kind"]
        kubectl("wait", served, f"crd/{crd['metadata']['name']}", "--timeout=30s")
    yield
    kubectl("delete", "crd", "--wait=false", *(crd["metadata"]["name"] for crd in crds))


def _crd(group: str, version: str, kind: str, plural: str) -> Manifest:
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "names": {"kind": kind, "plural": plural, "singular": kind.lower()},
            "scope": "Namespaced",
            "versions": [{"name": version, "served": True, "storage": True, "schema": schema}],
        },
    }


def behind(name: str, **way_in: Manifest) -> Manifest:
    """A service of a simulated engine, whose router is behind a gateway."""
    service = routed(name)
    router = service["spec"]["roles"][0]
    router["template"] = {
        "spec": {**router["template"]["spec"], "containers": router["template"]["spec"]["containers"][:1]}
    }
    router.update(way_in)
    return service


SHARED: Manifest = {"parentRefs": [{"name": "public"}], "hostnames": ["models.example.com"]}


class Controller:
    """Writes statuses as the controller of a gateway would; each time the conditions are of another moment."""

    def __init__(self, namespace: Namespace) -> None:
        self.namespace = namespace

    def says(self, kind: str, name: str, *, parent: str | None = None, **conditions: str) -> None:
        """Of each of `conditions`: status, reason and message, with slashes between."""
        generation = self.namespace.get(kind, name)["metadata"]["generation"]
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        told = [
            {
                **dict(zip(("status", "reason", "message"), said.split("/"), strict=True)),
                "type": type_, "observedGeneration": generation, "lastTransitionTime": now,
            }
            for type_, said in conditions.items()
        ]  # fmt: skip
        by = {"parentRef": {"group": GATEWAY_API, "kind": "Gateway", "name": parent}, "conditions": told}
        status: Manifest = (
            {"conditions": told} if parent is None else {"parents": [{**by, "controllerName": "played.example/gw"}]}
        )
        if parent is None:
            status["addresses"] = [{"type": "IPAddress", "value": "192.0.2.7"}]
        self.namespace(
            "patch", kind, name, "--subresource=status", "--type=merge", "-p", json.dumps({"status": status})
        )

    def accepts(self, name: str, parent: str) -> None:
        for kind in ("httproute", "inferencepool"):
            self.says(kind, name, parent=parent, Accepted="True/Accepted/yes", ResolvedRefs="True/ResolvedRefs/yes")


@pytest.mark.side_by_side
def test_every_hop_is_named_until_all_are_open(namespace: Namespace, audit: AuditLog) -> None:
    controller = Controller(namespace)
    with audit.requests_of(OPERATOR) as requests:
        namespace.apply(behind("hops", httproute=SHARED))
        told = namespace.wait_reason("hops", "RouterReady", "RoutePending", 120)
        assert f"Gateway {namespace.name}/public has not looked at it" in told["message"]

        refused = "False/NotAllowedByListeners/no listener lets this namespace in"
        controller.says(
            "httproute", "hops-entry", parent="public", Accepted=refused, ResolvedRefs="True/ResolvedRefs/yes"
        )
        told = namespace.wait_reason("hops", "RouterReady", "RouteNotAccepted")
        assert "no listener lets this namespace in" in told["message"]
        assert namespace.condition("hops", "Available")["status"] == "False"

        controller.says(
            "httproute",
            "hops-entry",
            parent="public",
            Accepted="True/Accepted/yes",
            ResolvedRefs="True/ResolvedRefs/yes",
        )
        namespace.wait_reason("hops", "RouterReady", "PoolPending")
        controller.accepts("hops-entry", "public")
        status = namespace.wait_ready("hops")["status"]

    assert namespace.condition("hops", "RouterReady")["reason"] == "Routing"
    way = {address["name"]: address["url"] for address in status["addresses"]}
    assert way[f"gateway {namespace.name}/public"] == f"//models.example.com/{namespace.name}/hops"
    writes = [entry for entry in requests if is_write(entry) and entry["objectRef"].get("namespace") == namespace.name]
    children = Counter(e["objectRef"]["resource"] for e in writes if e["objectRef"]["resource"] != "inferenceservices")
    assert children - Counter(events=children["events"]) == Counter(
        services=2, statefulsets=1, serviceaccounts=1, rolebindings=1, inferencepools=1, deployments=1, httproutes=1
    )

    time.sleep(11)  # counts that moved last are told 10 s after what was told before
    with audit.requests_of(OPERATOR) as requests:
        for _ in range(4):
            controller.accepts("hops-entry", "public")
            time.sleep(1)
    mine = [entry for entry in requests if entry["objectRef"].get("namespace") == namespace.name]
    assert mine == [], json.dumps(mine)[:2000]


def test_a_service_is_ready_in_ten_writes_where_the_gateway_is_quick(namespace: Namespace, audit: AuditLog) -> None:
    controller = Controller(namespace)
    with audit.requests_of(OPERATOR) as requests:
        namespace.apply(behind("quick", httproute=SHARED))
        namespace.wait(lambda: namespace.list("httproutes"), bool, "the route")
        controller.accepts("quick-entry", "public")
        namespace.wait_ready("quick", 120)

    mine = [entry for entry in requests if is_write(entry) and entry["objectRef"].get("namespace") == namespace.name]
    moments = sorted(datetime.fromisoformat(entry["requestReceivedTimestamp"]) for entry in mine)
    # Reasons are told every 2 s: a machine so slow that a router takes longer hears of them in between.
    in_between = (moments[-1] - moments[0]).total_seconds() // 2
    assert len(mine) <= 10 + in_between, Counter(f"{e['verb']} {e['objectRef']['resource']}" for e in mine)


def test_a_gateway_asks_the_picker_by_tls_and_the_engine_answers(namespace: Namespace, tmp_path: Path) -> None:
    namespace.apply(behind("secure", gateway={"gatewayClassName": CLASS}))
    told = namespace.wait_reason("secure", "RouterReady", "GatewayPending", 120)
    assert "GatewayClass 'played'" in told["message"]
    controller = Controller(namespace)
    controller.accepts("secure-entry", "secure-entry")
    controller.says("gateway", "secure-entry", Accepted="True/Accepted/yes", Programmed="True/Programmed/yes")
    status = namespace.wait_ready("secure")["status"]
    way = {address["name"]: address["url"] for address in status["addresses"]}
    assert way[f"gateway {namespace.name}/secure-entry"] == f"http://192.0.2.7/{namespace.name}/secure"

    (picker,) = namespace.list("pods", "-l", "fusioninfer.io/component-type=router")
    with a_gateways_envoy(picker["status"]["podIP"], tmp_path) as where:
        namespace.wait(lambda: chat_or_nothing(where), bool, "an answer", 20)
        assert chat(where, "hello") == "hello"


@contextmanager
def a_gateways_envoy(picker: str, folder: Path) -> Iterator[str]:
    """An Envoy that asks the picker at that address; where it answers."""
    at = envoy.Ports(*free_ports(5))
    config = envoy.envoy_config(at)
    (cluster,) = (one for one in config["static_resources"]["clusters"] if "health_checks" in one)
    del cluster["health_checks"]  # which are in the clear, at another port
    (endpoint,) = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]
    endpoint["endpoint"] = {"address": {"socket_address": {"address": picker, "port_value": 9002}}}
    cluster["transport_socket"] = {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
            "common_tls_context": {"alpn_protocols": ["h2"], "validation_context": {}},
        },
    }
    with (folder / "envoy.log").open("wb") as log:
        process = subprocess.Popen([program(), *envoy.envoy_arguments(config)], stdout=log, stderr=log)
        try:
            yield f"127.0.0.1:{at.entry}"
        finally:
            process.kill()
            process.wait()


@pytest.mark.side_by_side
def test_a_route_that_another_one_shadows_says_so(namespace: Namespace) -> None:
    path = f"/{namespace.name}/late"
    route: Manifest = {
        "apiVersion": f"{GATEWAY_API}/v1", "kind": "HTTPRoute", "metadata": {"name": "early"},
        "spec": {
            "parentRefs": [{"name": "public"}],
            "rules": [{"matches": [{"path": {"type": "PathPrefix", "value": path}}],
                       "backendRefs": [{"name": "web", "port": 80}]}],
        },
    }  # fmt: skip
    namespace.apply(route)
    controller = Controller(namespace)
    controller.says(
        "httproute", "early", parent="public", Accepted="True/Accepted/yes", ResolvedRefs="True/ResolvedRefs/yes"
    )
    time.sleep(1.1)  # the older one is first, and Kubernetes counts seconds
    namespace.apply(behind("late", httproute={"parentRefs": [{"name": "public"}]}))
    namespace.wait_reason("late", "RouterReady", "RoutePending", 120)
    controller.accepts("late-entry", "public")

    told = namespace.wait_reason("late", "RouterReady", "Shadowed")
    assert f"HTTPRoute {namespace.name}/early claims the same" in told["message"]
    namespace("delete", "httproute", "early")
    namespace.wait_ready("late")


@pytest.mark.side_by_side
def test_a_route_that_the_api_server_refuses_is_told_in_its_words(namespace: Namespace) -> None:
    namespace.apply(behind("wrong", httproute={**SHARED, "hostnames": ["not a name"]}))

    told = namespace.wait_reason("wrong", "Accepted", "Refused", 60)
    assert "HTTPRoute wrong-entry" in told["message"]
    assert "spec.hostnames[0]" in told["message"]


OF_PROVIDERS = tuple(resource.kind.lower() for resource in FOR_PROVIDERS)


def wait_followed(namespace: Namespace) -> None:
    """Until the operator knows that there are these kinds, seconds after they are served: it makes some then.

    Strangers' objects that were there before would never be met, and `get` on these kinds would be a right unused.
    """
    probe = behind("probe", gateway={"gatewayClassName": CLASS})
    for role in probe["spec"]["roles"]:
        role["replicas"] = 0
    namespace.apply(probe)
    for kind in OF_PROVIDERS:
        namespace.wait(lambda kind=kind: namespace.list(kind), bool, f"{kind} to be made")  # type: ignore[misc]
    namespace("delete", "inferenceservice", "probe")


def test_what_only_some_gateways_need_is_made_where_its_kinds_are_served_and_strangers_are_left_alone(
    providers: None, namespace: Namespace
) -> None:
    wait_followed(namespace)
    strangers = [
        {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {"name": "some-entry"}}
        for resource in FOR_PROVIDERS
    ]
    spec = {"gatewayClassName": CLASS, "listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}]}
    gateway = {"apiVersion": f"{GATEWAY_API}/v1", "kind": "Gateway", "metadata": {"name": "some-entry"}, "spec": spec}
    route = {"apiVersion": f"{GATEWAY_API}/v1", "kind": "HTTPRoute", "metadata": {"name": "some-entry"}, "spec": {}}
    namespace.apply(*strangers, gateway, route)
    service = behind("some", gateway={"gatewayClassName": CLASS})
    namespace.apply(service)
    namespace.wait_reason("some", "Accepted", "NameConflict")

    namespace("delete", ",".join((*OF_PROVIDERS, "gateway")), "some-entry")
    told = namespace.wait(
        lambda: namespace.condition("some", "Accepted").get("message", ""),
        lambda said: "HTTPRoute" in said,
        "the route's turn",
    )
    assert "'some-entry' belongs to" in told
    namespace("delete", "httproute", "some-entry")
    namespace.wait_reason("some", "RouterReady", "GatewayPending", 120)

    pool = {"group": "inference.networking.k8s.io", "kind": "InferencePool", "name": "some-entry"}
    assert namespace.get("healthcheckpolicy", "some-entry")["spec"]["targetRef"] == pool
    assert namespace.get("gcpbackendpolicy", "some-entry")["spec"]["default"] == {"timeoutSec": 3600}
    host = f"some-entry.{namespace.name}.svc.cluster.local"
    assert namespace.get("destinationrule", "some-entry")["spec"]["host"] == host

    service["spec"]["roles"].pop(0)
    namespace.apply(service)
    kinds = ",".join((*OF_PROVIDERS, "gateway", "httproute"))
    namespace.wait(lambda: namespace("get", kinds, "-o", "name"), lambda names: not names, "all of it to go", 60)
