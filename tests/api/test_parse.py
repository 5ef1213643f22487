"""What the user's words mean, and what is refused with which words."""

from __future__ import annotations

import copy

import pytest

from fusioninfer.api import types
from fusioninfer.api.parse import parse
from fusioninfer.api.service import (
    Disaggregation,
    Gang,
    InvalidSpec,
    Manifest,
    NetworkTopology,
    RollingUpdate,
    Router,
    Scorer,
)
from tests import make
from tests.refusals import ACCEPTED, REFUSALS, Accepted, Refusal


@pytest.mark.parametrize(
    "refusal", [pytest.param(refusal, id=refusal.id) for refusal in REFUSALS if refusal.parse_says is not None]
)
def test_bad_input_is_refused_with_its_field_and_what_to_do(refusal: Refusal) -> None:
    with pytest.raises(InvalidSpec) as caught:
        parse(refusal.service)

    assert caught.value.field == refusal.field
    assert str(refusal.parse_says) in caught.value.problem


@pytest.mark.parametrize("accepted", [pytest.param(accepted, id=accepted.id) for accepted in ACCEPTED])
def test_good_input_is_understood(accepted: Accepted) -> None:
    assert parse(accepted.service).roles


def test_defaults_are_filled_in_here_and_nowhere_else() -> None:
    (role,) = parse(make.raw_service({k: v for k, v in make.a_role().items() if k != "replicas"})).roles

    assert role.replicas is None
    assert role.nodes_per_replica == 1
    assert role.engine is None
    assert role.rolling_update == RollingUpdate(max_unavailable=1, max_surge=0, partition=0)
    assert role.progress_deadline_seconds == 3600


@pytest.mark.parametrize("spelling", [{"replicas": 3}, {"roleReplicas": 3}, {"replicas": 3, "roleReplicas": 3}])
def test_both_spellings_mean_the_same(spelling: dict[str, int]) -> None:
    role = {key: value for key, value in make.a_role().items() if key != "replicas"}

    assert parse(make.raw_service({**role, **spelling})).roles[0].replicas == 3


def test_a_surge_leaves_no_copy_unavailable_unless_asked_for() -> None:
    role = make.a_role(rolloutStrategy={"rollingUpdate": {"maxSurge": 1}})

    assert parse(make.raw_service(role)).roles[0].rolling_update == RollingUpdate(max_unavailable=0, max_surge=1)


def test_parsing_leaves_the_users_object_as_it_is() -> None:
    raw = make.raw_service(make.a_role(metadata={"labels": {"a": "b"}}))
    before = copy.deepcopy(raw)

    parse(raw)

    assert raw == before


# --- the router ---------------------------------------------------------------------------------------------------


def router_of(**fields: object) -> Router:
    router = parse(make.raw_service(make.a_role(), {"name": "entry", "componentType": "router", **fields})).router
    assert router is not None
    return router


def test_defaults_of_a_router_are_filled_in() -> None:
    router = router_of()

    assert router.name == "entry"
    assert router.path == "spec.roles[1]"
    assert router.input_hash
    assert (router.strategy, router.scorers, router.config, router.release) == (None, (), None, None)
    assert (router.replicas, router.template, router.progress_deadline_seconds) == (None, None, 600)
    assert (router.labels, router.annotations) == ({}, {})


def test_every_word_of_a_router_is_understood() -> None:
    template = make.a_router_template({"name": "epp", "resources": {}})

    router = router_of(
        strategy="queue-size",
        scorers=[{"type": "queue-scorer", "weight": 2}, {"type": "prefix-cache-scorer", "weight": 0}],
        pickerRelease="llm-d-router-0.10",
        replicas=3,
        template=template,
        progressDeadlineSeconds=60,
        metadata={"labels": {"a": "b"}, "annotations": {"c": "d"}},
    )

    assert router.strategy == "queue-size"
    assert router.scorers == (Scorer("queue-scorer", 2), Scorer("prefix-cache-scorer", 0))
    assert router.release == "llm-d-router-0.10"
    assert (router.replicas, router.template, router.progress_deadline_seconds) == (3, template, 60)
    assert (router.labels, router.annotations) == ({"a": "b"}, {"c": "d"})


def test_a_config_of_the_users_own_is_kept_as_text() -> None:
    text = "apiVersion: x  # a note\n"

    assert router_of(endpointPickerConfig=text).config == text


@pytest.mark.parametrize("spelling", [{"replicas": 3}, {"roleReplicas": 3}, {"replicas": 3, "roleReplicas": 3}])
def test_both_spellings_mean_the_same_of_a_router_too(spelling: dict[str, int]) -> None:
    assert router_of(**spelling).replicas == 3


@pytest.mark.parametrize("roles", [(make.a_router(), make.a_role()), (make.a_role(), make.a_router())])
def test_a_router_is_none_of_the_engine_roles_wherever_it_stands(roles: tuple[Manifest, ...]) -> None:
    service = parse(make.raw_service(*roles))

    assert [role.name for role in service.roles] == [role.name for role in service.entry_roles] == ["inference"]
    assert service.router is not None
    assert roles[int(service.router.path[-2])]["name"] == "entry"


def test_who_asks_for_no_router_gets_none() -> None:
    assert parse(make.raw_service()).router is None


@pytest.mark.parametrize(
    "template",
    [
        pytest.param({"spec": "x"}, id="spec no mapping"),
        pytest.param({"spec": {"containers": 7}}, id="containers no list"),
    ],
)
def test_what_is_no_template_at_all_is_refused_and_no_fault(template: Manifest) -> None:
    """The API server lets none of it in; `fusioninfer render` meets it."""
    with pytest.raises(InvalidSpec):
        router_of(template=template)


def routing(**fields: object) -> str:
    return router_of(**fields).input_hash


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"strategy": "queue-size"}, id="strategy"),
        pytest.param({"scorers": [{"type": "queue-scorer", "weight": 1}]}, id="scorers"),
        pytest.param({"pickerRelease": "llm-d-router-0.10"}, id="release"),
        pytest.param({"endpointPickerConfig": "a: b"}, id="config"),
        pytest.param({"template": make.a_router_template(nodeSelector={"a": "b"})}, id="template"),
    ],
)
def test_what_shapes_the_routers_pods_may_restart_them(fields: Manifest) -> None:
    assert routing(**fields) != routing()


@pytest.mark.parametrize("fields", [{"replicas": 3}, {"roleReplicas": 3}, {"metadata": {"labels": {"a": "b"}}}])
def test_what_shapes_no_pod_of_the_router_restarts_none(fields: Manifest) -> None:
    assert routing(**fields) == routing()


# --- the gang -----------------------------------------------------------------------------------------------------


def gang_of(strategy: Manifest, *roles: Manifest) -> Gang | None:
    return parse(make.raw_service(*(roles or make.prefill_and_decode((2, 1))), schedulingStrategy=strategy)).gang


def test_how_prompts_are_computed_apart_is_what_the_user_says() -> None:
    roles = make.prefill_and_decode()
    said = {"connector": "nixl", "minUncachedPromptTokens": 64, "whenNoPrefiller": "DecodeLocally"}

    service = parse(make.raw_service(*roles, disaggregation=said))

    assert service.disaggregation == Disaggregation("nixl", 64, "DecodeLocally")
    assert {role.connector for role in service.roles} == {"nixl"}
    assert parse(make.raw_service(*roles)).disaggregation == Disaggregation()
    assert parse(make.raw_service()).disaggregation is None


def volcano(**gang: object) -> Manifest:
    return {**make.GANG, "gang": gang}


@pytest.mark.parametrize(
    ("strategy", "min_replicas"),
    [
        pytest.param(make.GANG, None, id="no word of a gang: all"),
        pytest.param(volcano(), None, id="a gang that says nothing: all"),
        pytest.param(volcano(mode="All"), None, id="All"),
        pytest.param(volcano(mode="All", minReplicas={"prefill": 1}), None, id="All, whatever stands beside it"),
        pytest.param(volcano(minReplicas={"prefill": 1}), None, id="counts alone do not change the mode"),
        pytest.param(volcano(mode="MinReplicas"), {"prefill": 1, "decode": 1}, id="MinReplicas: 1 of each role"),
        pytest.param(
            volcano(mode="MinReplicas", minReplicas={"prefill": 2}), {"prefill": 2, "decode": 1},
            id="1 of a role that is not named",
        ),
        pytest.param(
            volcano(mode="MinReplicas", minReplicas={"decode": 0}), {"prefill": 1, "decode": 0}, id="0 is a count"
        ),
    ],
)  # fmt: skip
def test_volcano_makes_a_gang_of_all_copies_or_of_so_many(
    strategy: Manifest, min_replicas: dict[str, int] | None
) -> None:
    assert gang_of(strategy) == Gang("volcano", min_replicas)


@pytest.mark.parametrize(
    "strategy",
    [{}, {"schedulerName": "my-scheduler"}, {"gang": {"mode": "None"}}, volcano(mode="None")],
    ids=["nothing said", "another scheduler", "mode None", "volcano and mode None"],
)
def test_no_gang_is_made(strategy: Manifest) -> None:
    assert gang_of(strategy) is None


@pytest.mark.parametrize(("mode", "needed"), [("All", [0, 1, 5]), ("MinReplicas", [0, 1, 2])])
def test_a_role_needs_all_of_its_copies_or_the_least_of_them_that_there_are(mode: str, needed: list[int]) -> None:
    gang = gang_of(volcano(mode=mode, minReplicas={"prefill": 2}))

    assert gang is not None
    assert [gang.needed("prefill", replicas) for replicas in (0, 1, 5)] == needed


def test_what_is_wished_for_the_gang_is_understood() -> None:
    topology = {"mode": "hard", "highestTierAllowed": 2}

    gang = gang_of({**make.GANG, "queue": "research", "priorityClassName": "high", "networkTopology": topology})

    assert gang == Gang("volcano", None, "research", "high", NetworkTopology("hard", 2))


@pytest.mark.parametrize("mode", ["All", "None"])
def test_the_scheduler_reaches_the_pods_with_and_without_a_gang(mode: str) -> None:
    assert parse(make.raw_service(schedulingStrategy=volcano(mode=mode))).scheduler_name == "volcano"


# --- what may restart pods ----------------------------------------------------------------------------------------


def shaping(*roles: Manifest) -> str:
    return parse(make.raw_service(*roles)).roles[0].input_hash


@pytest.mark.parametrize(
    "role",
    [
        pytest.param(make.a_role(replicas=7), id="replicas"),
        pytest.param(make.a_role(rolloutStrategy={"rollingUpdate": {"partition": 1}}), id="how it rolls"),
        pytest.param(make.a_role(metadata={"labels": {"a": "b"}}), id="labels of the workload"),
    ],
)
def test_what_shapes_no_pod_restarts_none(role: Manifest) -> None:
    assert shaping(role) == shaping(make.a_role())


@pytest.mark.parametrize(
    "role",
    [
        pytest.param(make.a_role(template=make.a_template(make.a_container(image="other:1"))), id="image"),
        pytest.param(make.a_role(engine="vllm"), id="engine"),
        pytest.param(make.a_role(progressDeadlineSeconds=60), id="deadline of the startup probe"),
    ],
)
def test_what_shapes_pods_may_restart_them(role: Manifest) -> None:
    assert shaping(role) != shaping(make.a_role())


def hashes_of(said: Manifest | None) -> dict[str, str]:
    """What each role of a service says that is apart."""
    raw = make.raw_service(*make.prefill_and_decode(), make.a_router())
    service = parse(raw if said is None else {**raw, "spec": {**raw["spec"], "disaggregation": said}})
    assert service.router is not None
    return {service.router.name: service.router.input_hash} | {role.name: role.input_hash for role in service.roles}


@pytest.mark.parametrize(
    ("said", "changed"),
    [
        ({}, set()),
        ({"connector": "mooncake"}, {"prefill", "decode"}),
        ({"minUncachedPromptTokens": 64}, {"entry"}),
        ({"whenNoPrefiller": "DecodeLocally"}, {"entry"}),
        ({"connector": "nixl", "minUncachedPromptTokens": 64}, {"prefill", "decode", "entry"}),
    ],
)
def test_what_is_said_of_the_transfer_is_said_of_the_pods_that_it_shapes(said: Manifest, changed: set[str]) -> None:
    before, after = hashes_of(None), hashes_of(said)

    assert {name for name in before if before[name] != after[name]} == changed


def test_a_router_that_is_added_is_no_change_of_the_engines() -> None:
    """Else adding one would restart engines that keep an earlier version's template."""
    assert shaping(make.a_role(), make.a_router()) == shaping(make.a_role())


def test_a_change_of_the_router_is_none_of_the_engines() -> None:
    changed = make.a_router(strategy="queue-size")

    assert shaping(make.a_role(), changed) == shaping(make.a_role(), make.a_router())


def test_the_hash_of_what_the_user_wrote_is_a_promise() -> None:
    """A release that computes it in another way restarts everybody's pods: change this number never."""
    assert shaping(make.a_role()) == "5d9e61d6f77cd0bd"


def test_the_deepest_allowed_names_fit_together() -> None:
    role = make.a_role(name="r" * (types.MAX_CHILD_NAME - len("qwen-")))

    assert parse(make.raw_service(role)).roles[0].name == role["name"]


@pytest.mark.parametrize("raw", [make.raw_service(make.a_role(name="a\n")), make.raw_service(name="qwen\n")])
def test_a_line_end_is_no_part_of_a_name(raw: Manifest) -> None:
    with pytest.raises(InvalidSpec, match="label"):
        parse(raw)


# --- behind a gateway ---

NAMED = {"parentRefs": [{"name": "gw"}], "hostnames": ["a.example"], "rules": [{"timeouts": {"request": "9s"}}]}
CLASS = {"gatewayClassName": "istio"}


@pytest.mark.parametrize(
    ("fields", "route", "gateway"),
    [
        pytest.param({}, None, None, id="neither"),
        pytest.param({"httproute": NAMED}, NAMED, None, id="of a gateway that is named, word for word"),
        pytest.param({"gateway": CLASS}, {}, CLASS, id="of its own"),
        pytest.param(
            {"gateway": CLASS, "httproute": {"hostnames": ["a.example"]}}, {"hostnames": ["a.example"]}, CLASS,
            id="of its own, with words about the route",
        ),
        pytest.param(
            {"gateway": CLASS, "httproute": {"parentRefs": []}}, {"parentRefs": []}, CLASS, id="a list that names none"
        ),
    ],
)  # fmt: skip
def test_a_router_is_behind_a_gateway_where_there_is_a_route(
    fields: Manifest, route: Manifest | None, gateway: Manifest | None
) -> None:
    router = router_of(**fields)

    assert (router.route, router.gateway) == (route, gateway)
