"""A router behind a gateway: its route, its pods without an Envoy, and what some gateways need besides."""

from __future__ import annotations

from typing import Any

import pytest

from fusioninfer.api import names
from fusioninfer.api.service import InvalidSpec, Manifest
from fusioninfer.build.desired import Desired, RouterObjects
from fusioninfer.build.router.envoy import pause_seconds
from fusioninfer.build.router.ports import PICKER_PORT
from tests import make

NEW = "llm-d-router-0.10"
POOL = [{"group": "inference.networking.k8s.io", "kind": "InferencePool", "name": "qwen-entry"}]


def desired(router: Manifest | None = None, *engines: Manifest, **fields: Any) -> Desired:
    return make.desired(*(engines or (make.a_role(),)), router or make.behind_a_gateway(**fields))


def objects(desired: Desired) -> RouterObjects:
    assert desired.router is not None
    return desired.router


def route_of(router: Manifest | None = None, **route: Any) -> Manifest:
    """The HTTPRouteSpec that is made of `route`."""
    made = objects(desired(router or make.behind_a_gateway(route=route))).route
    assert made is not None
    spec: Manifest = made["spec"]
    return spec


def part(desired: Desired, kind: str) -> Manifest:
    (found,) = (one for one in objects(desired).manifests if one["kind"] == kind)
    return found


def pods(**fields: Any) -> Manifest:
    template: Manifest = objects(desired(**fields)).workload["spec"]["template"]
    return template


# --- all of it ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("release", ["llm-d-inference-scheduler-0.7", NEW])
@pytest.mark.parametrize(
    ("router", "kinds"),
    [
        (make.behind_a_gateway(), []),
        (make.behind_a_gateway(replicas=2), ["PodDisruptionBudget"]),
        (make.with_own_gateway(), ["Gateway"]),
    ],
    ids=["somebody else's gateway", "two pods", "its own"],
)
def test_a_router_behind_a_gateway_is_made_of(router: Manifest, kinds: list[str], release: str) -> None:
    """A pool too where the picker needs none: the gateway does."""
    made = objects(desired({**router, "pickerRelease": release})).manifests

    first = ["ServiceAccount", "RoleBinding", "Service", "InferencePool"]
    assert [one["kind"] for one in made] == [*first, *kinds, "Deployment", "HTTPRoute"]


def test_every_object_has_the_routers_name_its_labels_and_our_owner() -> None:
    router = objects(desired(make.with_own_gateway()))

    for manifest in (*router.manifests, *router.for_providers):
        metadata = manifest["metadata"]
        assert (metadata["name"], metadata["namespace"]) == ("qwen-entry", "default")
        assert metadata["labels"] == names.router_labels("qwen", "entry")
        assert [owner["uid"] for owner in metadata["ownerReferences"]] == [make.UID]


@pytest.mark.parametrize("engines", [(make.a_role(),), make.prefill_and_decode()], ids=["worker", "decoders"])
def test_the_entry_leads_to_the_engines_themselves(engines: tuple[Manifest, ...]) -> None:
    """Nothing in the router's pods would answer there: its clients come by the gateway."""
    behind = desired(None, *engines)

    assert behind.entry == behind.direct_entry == make.desired(*engines).entry


def test_a_router_without_words_about_gateways_has_none_of_it() -> None:
    router = objects(desired(make.a_router()))

    assert (router.route, router.path, router.for_providers) == (None, "", ())
    assert not {one["kind"] for one in router.manifests} & {"HTTPRoute", "Gateway"}


# --- the route ----------------------------------------------------------------------------------------------------


def test_without_rules_it_has_a_path_of_its_own_which_engines_do_not_see() -> None:
    made = route_of(hostnames=["a.example"])

    assert made == {
        "parentRefs": [{"name": "public", "namespace": "infra"}],
        "hostnames": ["a.example"],
        "rules": [
            {
                "matches": [{"path": {"type": "PathPrefix", "value": "/default/qwen"}}],
                "filters": [
                    {
                        "type": "URLRewrite",
                        "urlRewrite": {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}},
                    }
                ],
                "backendRefs": POOL,
            }
        ],
    }
    assert objects(desired(route={"hostnames": ["a.example"]})).path == "/default/qwen"


def test_two_services_at_one_gateway_have_different_paths() -> None:
    one, other = (objects(make.desired(make.a_role(), make.behind_a_gateway(), name=name)).path for name in ("a", "b"))

    assert (one, other) == ("/default/a", "/default/b")


RULE = {"matches": [{"path": {"type": "PathPrefix", "value": "/v1"}}], "timeouts": {"request": "600s"}}


@pytest.mark.parametrize(
    ("rule", "made"),
    [
        pytest.param(RULE, {**RULE, "backendRefs": POOL}, id="no backend"),
        pytest.param({**RULE, "backendRefs": []}, {**RULE, "backendRefs": POOL}, id="no backend, said"),
        pytest.param({}, {"backendRefs": POOL}, id="no word"),
        pytest.param(
            {"filters": [{"type": "RequestHeaderModifier"}]},
            {"filters": [{"type": "RequestHeaderModifier"}], "backendRefs": POOL},
            id="another filter",
        ),
        pytest.param(
            {"filters": [{"type": "RequestHeaderModifier"}, {"type": "RequestRedirect"}]},
            {"filters": [{"type": "RequestHeaderModifier"}, {"type": "RequestRedirect"}]},
            id="a redirection has no backend",
        ),
        pytest.param(
            {"backendRefs": [{"name": "beta", "port": 80}]}, {"backendRefs": [{"name": "beta", "port": 80}]},
            id="a backend of the user's own",
        ),
    ],
)  # fmt: skip
def test_a_rule_of_the_users_own_is_kept_and_leads_to_the_pool_unless_it_says_where(
    rule: Manifest, made: Manifest
) -> None:
    assert route_of(rules=[rule])["rules"] == [made]
    assert objects(desired(route={"rules": [rule]})).path == ""


def test_each_rule_is_looked_at_for_itself() -> None:
    own = {"backendRefs": [{"name": "beta", "port": 80}]}

    assert route_of(rules=[RULE, own, {}])["rules"] == [{**RULE, "backendRefs": POOL}, own, {"backendRefs": POOL}]


def test_words_about_the_route_that_we_do_not_know_are_passed_on() -> None:
    assert route_of(useDefaultGateways="All")["useDefaultGateways"] == "All"


def test_the_route_leads_to_the_pool_that_is_made() -> None:
    pool = part(desired(), "InferencePool")

    (backend,) = route_of()["rules"][0]["backendRefs"]
    assert backend == {
        "group": pool["apiVersion"].partition("/")[0],
        "kind": pool["kind"],
        "name": pool["metadata"]["name"],
    }


# --- a gateway of its own -----------------------------------------------------------------------------------------


def test_a_gateway_of_its_own_is_the_routes_parent_and_listens_for_http() -> None:
    whole = desired(make.with_own_gateway())

    assert part(whole, "Gateway")["spec"] == {
        "gatewayClassName": "played",
        "listeners": [
            {"name": "http", "port": 80, "protocol": "HTTP", "allowedRoutes": {"namespaces": {"from": "Same"}}}
        ],
    }
    assert part(whole, "HTTPRoute")["spec"]["parentRefs"] == [{"name": "qwen-entry"}]
    assert part(whole, "Gateway")["metadata"]["name"] == "qwen-entry"


def test_listeners_of_the_users_own_stand_alone() -> None:
    own = {"listeners": [{"name": "tls", "port": 443, "protocol": "HTTPS"}], "infrastructure": {"labels": {"a": "b"}}}

    assert part(desired(make.with_own_gateway(None, own)), "Gateway")["spec"] == {"gatewayClassName": "played", **own}


# --- the pods -----------------------------------------------------------------------------------------------------


def test_the_picker_is_alone_in_its_pod() -> None:
    spec = pods()["spec"]

    assert [one["name"] for one in spec["containers"]] == ["epp"]
    assert "initContainers" not in spec
    assert "restartPolicy" not in spec["containers"][0]


@pytest.mark.parametrize("release", ["llm-d-inference-scheduler-0.7", NEW])
def test_gateways_are_spoken_to_by_tls_and_an_envoy_in_the_same_pod_is_not(release: str) -> None:
    (behind,) = pods(pickerRelease=release)["spec"]["containers"]
    standalone = objects(desired(make.a_router(pickerRelease=release))).workload["spec"]["template"]["spec"]
    (beside,) = standalone["initContainers"]

    assert not [word for word in behind["args"] if word.startswith("--secure-serving")]
    assert beside["args"] == [*behind["args"], "--secure-serving=false"]


def test_the_picker_goes_on_until_shortly_before_the_pods_grace_is_over() -> None:
    """Gateways that have heard of its end ask another one; what they have asked is finished."""
    (picker,) = pods()["spec"]["containers"]
    (brief,) = pods(template=make.a_router_template(terminationGracePeriodSeconds=20))["spec"]["containers"]

    assert picker["lifecycle"] == {"preStop": {"sleep": {"seconds": pause_seconds(60)}}}
    assert brief["lifecycle"] == {"preStop": {"sleep": {"seconds": 15}}}


def test_the_pickers_service_leads_to_the_port_on_which_it_is_asked() -> None:
    whole = desired()
    (port,) = part(whole, "Service")["spec"]["ports"]
    (picker,) = pods()["spec"]["containers"]

    assert port["targetPort"] == port["port"] == PICKER_PORT
    assert PICKER_PORT in [one["containerPort"] for one in picker["ports"]]
    assert part(whole, "InferencePool")["spec"]["endpointPickerRef"]["port"] == {"number": PICKER_PORT}
    assert part(whole, "Service")["spec"]["selector"].items() <= pods()["metadata"]["labels"].items()


def test_pods_are_such_as_the_strictest_pod_security_lets_in() -> None:
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted"""
    spec = pods()["spec"]
    (picker,) = spec["containers"]

    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] != 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC", "volumes"} & spec.keys()
    assert picker["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_a_users_words_about_the_picker_are_heard() -> None:
    own = make.a_router_template(
        {"name": "epp", "resources": {"limits": {"cpu": "2"}}}, {"name": "log", "image": "log:1"}
    )
    picker, log = pods(template=own)["spec"]["containers"]

    assert picker["resources"] == {"requests": {"cpu": "250m", "memory": "256Mi"}, "limits": {"cpu": "2"}}
    assert picker["readinessProbe"] == pods()["spec"]["containers"][0]["readinessProbe"]
    assert log == {"name": "log", "image": "log:1"}


@pytest.mark.parametrize("envoy", [{"resources": {}}, {"image": "mirror/envoy:1"}], ids=["no image", "an image"])
@pytest.mark.parametrize("kind", ["containers", "initContainers"])
def test_words_about_an_envoy_that_is_not_there_are_refused(kind: str, envoy: Manifest) -> None:
    with pytest.raises(InvalidSpec) as caught:
        pods(template=make.a_router_template(**{kind: [{"name": "epp"}, {"name": "envoy", **envoy}]}))

    assert caught.value.field == f"spec.roles[1].template.spec.{kind}[1]"
    assert caught.value.problem == (
        "behind a gateway the router has no Envoy of its own, the picker `epp` is alone; remove it"
    )


def test_to_go_behind_a_gateway_or_back_changes_the_pods() -> None:
    alone, behind = (objects(desired(router)).workload for router in (make.a_router(), make.behind_a_gateway()))

    assert make.mark_of(alone) != make.mark_of(behind)
    assert alone["metadata"]["annotations"][names.ROLE_INPUT] != behind["metadata"]["annotations"][names.ROLE_INPUT]
    assert alone["spec"]["selector"] == behind["spec"]["selector"]
    assert alone["metadata"]["name"] == behind["metadata"]["name"]


# --- for some gateways --------------------------------------------------------------------------------------------


def test_gkes_gateways_are_told_of_health_and_of_long_answers() -> None:
    engine = make.a_role(template=make.a_template(make.a_container(args=["--model", "qwen", "--port", "9000"])))
    health, backend, _ = objects(desired(None, engine)).for_providers

    target = {"group": "inference.networking.k8s.io", "kind": "InferencePool", "name": "qwen-entry"}
    assert (health["apiVersion"], health["kind"]) == ("networking.gke.io/v1", "HealthCheckPolicy")
    assert health["spec"]["targetRef"] == backend["spec"]["targetRef"] == target
    assert health["spec"]["default"]["config"]["httpHealthCheck"] == {"requestPath": "/health", "port": 9000}
    assert (backend["apiVersion"], backend["kind"]) == ("networking.gke.io/v1", "GCPBackendPolicy")
    assert backend["spec"]["default"] == {"timeoutSec": 3600}


def test_istios_gateways_are_told_to_speak_tls_to_the_pickers_service() -> None:
    whole = desired()
    *_, rule = objects(whole).for_providers

    picker = part(whole, "Service")["metadata"]
    assert (rule["apiVersion"], rule["kind"]) == ("networking.istio.io/v1", "DestinationRule")
    assert rule["spec"] == {
        "host": f"{picker['name']}.{picker['namespace']}.svc.cluster.local",
        "trafficPolicy": {"tls": {"mode": "SIMPLE", "insecureSkipVerify": True}},
    }
