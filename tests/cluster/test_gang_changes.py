"""A gang that is scaled, changed, killed, turned on and off: it ends as one expects, and never waits for ever."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.conftest import OPERATOR
from tests.cluster.harness import (
    AuditLog,
    Manifest,
    Namespace,
    a_gang,
    a_role,
    asked,
    asked_by,
    history,
    is_write,
    wait_asked,
)
from tests.cluster.test_restarts import DIES_AT_A_WRITE, Operators

pytestmark = pytest.mark.cluster


@pytest.fixture
def operators(operator_kubeconfig: Path, namespace: Namespace, tmp_path: Path) -> Iterator[Operators]:
    """Operators of this test's own; none of them outlives it."""
    own = Operators(operator_kubeconfig, namespace, tmp_path)
    yield own
    for process in own.started:
        process.kill()
        process.wait()


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("write", [1, 2])
def test_an_operator_that_is_killed_before_the_workloads_is_followed_up(
    write: int, moment: str, namespace: Namespace, operators: Operators
) -> None:
    """Write 1 is the PodGroup. Comes first in this file: from the next test on the file's own operator runs."""
    namespace.make_nodes(8, 8)
    dying = operators.start(DIES_AT_A_WRITE, DIE_AT=str(write), DIE=moment)
    namespace.apply(a_gang("cut", a_role(namespace, nodes=2)))
    assert dying.wait(30) == -9
    assert len(namespace.list("podgroups")) == ((write, moment) != (1, "before"))

    with operators.running():
        namespace.wait_ready("cut")

    assert asked(namespace, "cut") == (2, [1])
    assert len(namespace.list("pods")) == 2


def group_names(namespace: Namespace) -> list[str]:
    return [group["metadata"]["name"] for group in namespace.list("podgroups")]


def pods(namespace: Namespace) -> dict[str, str]:
    """The uid of each pod that has a node."""
    return {
        pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in namespace.list("pods") if "nodeName" in pod["spec"]
    }


def whole_copies(namespace: Namespace) -> int:
    """How many copies have nodes for all of their pods; none may have nodes for some."""
    seen = namespace.list("pods")
    index = "apps.kubernetes.io/pod-index"
    several = "leaderworkerset.sigs.k8s.io/group-index"
    found: dict[str, set[bool]] = {}
    for pod in seen:
        labels = pod["metadata"]["labels"]
        found.setdefault(labels.get(several, labels.get(index)), set()).add("nodeName" in pod["spec"])
    return sum(has == {True} for has in found.values())


def wait_back(namespace: Namespace, name: str, before: str) -> None:
    """Until the pod `name` has a node again after the one with uid `before`."""
    namespace.wait(lambda: pods(namespace).get(name), lambda uid: uid not in (None, before), f"{name} to be back")


def writes(requests: list[Manifest], namespace: Namespace) -> list[str]:
    """What was written to children, in order."""
    mine = [entry for entry in requests if is_write(entry) and entry["objectRef"].get("namespace") == namespace.name]
    mine.sort(key=lambda entry: str(entry["requestReceivedTimestamp"]))
    kinds = [f"{entry['verb']} {entry['objectRef']['resource']}" for entry in mine]
    return [kind for kind in kinds if not kind.endswith("inferenceservices")]


@pytest.mark.usefixtures("operator")
@pytest.mark.parametrize("nodes", [1, 2])
def test_copies_are_added_and_taken_away(nodes: int, namespace: Namespace, audit: AuditLog) -> None:
    """Those that run never wait for one that was added, and it starts whole when there is room for it."""
    namespace.make_nodes(*3 * nodes * [8])
    service = a_gang("sized", role := a_role(namespace, nodes=nodes, replicas=2))
    namespace.apply(service)
    namespace.wait_ready("sized")

    role["replicas"] = 3
    with audit.requests_of(OPERATOR) as growing:
        namespace.apply(service)
        namespace.wait_ready("sized")
    workload = "patch statefulsets" if nodes == 1 else "patch leaderworkersets"
    assert writes(growing, namespace) == [workload, "patch podgroups"]
    assert asked(namespace, "sized") == (3 * nodes, [3])

    running = pods(namespace)
    role["replicas"] = 4
    namespace.apply(service)
    waits = f"without a node: {nodes} pod{'s' * (nodes > 1)} x 8 nvidia.com/gpu"
    namespace.wait(
        lambda: namespace.condition("sized", "Scheduled"),
        lambda told: told.get("reason") == "Unschedulable" and waits in told["message"],
        f"Scheduled to say {waits!r}: of two pods the scheduler speaks one after the other",
    )
    assert pods(namespace) == running

    killed = f"sized-inference-0{'-1' * (nodes > 1)}"
    namespace("delete", "pod", killed, "--wait=false")
    namespace.wait(
        lambda: (whole_copies(namespace), running[killed] in pods(namespace).values()),
        lambda seen: seen == (3, False),
        "three copies to run again: the one that ended, or the one that waited, which had asked first",
    )
    assert len(namespace.list("pods")) == 4 * nodes
    assert asked(namespace, "sized") == (3 * nodes, [3])

    namespace.make_nodes(*nodes * [8])
    namespace.wait_ready("sized")
    wait_asked(namespace, "sized", 4 * nodes, 4)

    role["replicas"] = 1
    with audit.requests_of(OPERATOR) as shrinking:
        namespace.apply(service)
        namespace.wait_ready("sized")
    assert writes(shrinking, namespace) == ["patch podgroups", workload]
    assert asked(namespace, "sized") == (nodes, [1])


@pytest.mark.usefixtures("operator")
def test_a_role_that_is_added_waits_alone(namespace: Namespace) -> None:
    namespace.make_nodes(*3 * [8])
    roles = [
        a_role(namespace, "prefill", replicas=1, componentType="prefiller"),
        a_role(namespace, "decode", replicas=2, componentType="decoder"),
    ]
    namespace.apply(a_gang("wider", *roles))
    namespace.wait_ready("wider")

    namespace.apply(a_gang("wider", *roles, a_role(namespace, "more", nodes=2, componentType="prefiller")))
    namespace.wait_reason("wider", "Scheduled", "Unschedulable")
    assert asked(namespace, "wider") == (3, [1, 2, 0])
    before = pods(namespace)["wider-decode-0"]
    namespace("delete", "pod", "wider-decode-0", "--wait=false")
    wait_back(namespace, "wider-decode-0", before)

    namespace.make_nodes(8, 8)
    namespace.wait_ready("wider")
    wait_asked(namespace, "wider", 5, 1, 2, 1)
    namespace.apply(a_gang("wider", *roles))
    namespace.wait_ready("wider")
    wait_asked(namespace, "wider", 3, 1, 2)


@pytest.mark.usefixtures("operator")
@pytest.mark.parametrize("nodes", [1, 2])
def test_the_only_copy_that_runs_comes_back_although_an_added_one_waits(nodes: int, namespace: Namespace) -> None:
    """A container that ends is enough where copies have several nodes: all pods of the copy are made anew then."""
    namespace.make_nodes(*nodes * [8])
    service = a_gang("one", role := a_role(namespace, nodes=nodes, replicas=1))
    namespace.apply(service)
    namespace.wait_ready("one")
    role["replicas"] = 2
    namespace.apply(service)
    namespace.wait_reason("one", "Scheduled", "Unschedulable")

    before = set(pods(namespace).values())
    namespace("delete", "pod", "one-inference-0", "--wait=false")

    namespace.wait(
        lambda: (whole_copies(namespace), before & set(pods(namespace).values())),
        lambda seen: seen == (1, set()),
        "one copy to run again",
        15,
    )


@pytest.mark.usefixtures("operator")
@pytest.mark.parametrize("mode", ["All", "MinReplicas"])
def test_after_the_loss_of_a_node_another_copy_that_ends_comes_back_if_less_than_all_is_enough(
    mode: str, namespace: Namespace
) -> None:
    namespace.make_nodes(*4 * [8])
    namespace.apply(a_gang("smaller", a_role(namespace, replicas=4), gang={"mode": mode}))
    namespace.wait_ready("smaller")
    lost = namespace.get("pod", "smaller-inference-3")["spec"]["nodeName"]
    namespace.kubectl("delete", "node", lost)
    namespace("delete", "pod", "smaller-inference-3", "--force")
    namespace.wait(lambda: len(pods(namespace)), (3).__eq__, "three pods on nodes")

    before = pods(namespace)["smaller-inference-0"]
    namespace("delete", "pod", "smaller-inference-0", "--wait=false")

    there = 3 if mode == "MinReplicas" else 2
    namespace.wait(
        lambda: (len(pods(namespace)), before in pods(namespace).values()), (there, False).__eq__, "the others", 15
    )
    reason = {"All": "GangIncomplete", "MinReplicas": "Unschedulable"}[mode]
    told = namespace.wait_reason("smaller", "Scheduled", reason)["message"]
    assert ("these copies would start now: 3 of inference" in told) == (mode == "All")
    assert len(pods(namespace)) == there


@pytest.mark.usefixtures("operator")
@pytest.mark.parametrize("nodes", [1, 2])
def test_a_gang_that_fits_nowhere_starts_once_its_template_is_corrected(nodes: int, namespace: Namespace) -> None:
    """Workloads replace one copy after the other, and go on when it is ready: which none of a waiting gang gets."""
    namespace.make_nodes(*3 * nodes * [8])
    namespace.apply(a_gang("asks", a_role(namespace, nodes=nodes, gpus=16, replicas=3)))
    namespace.wait_reason("asks", "Scheduled", "GangInqueue")

    namespace.apply(a_gang("asks", a_role(namespace, nodes=nodes, gpus=8, replicas=3)))
    namespace.wait_ready("asks", 20)


@pytest.mark.usefixtures("operator")
@pytest.mark.parametrize(("nodes", "kind"), [(1, "statefulset"), (2, "leaderworkerset")])
def test_a_gang_follows_whoever_scales_its_workload(nodes: int, kind: str, namespace: Namespace) -> None:
    namespace.make_nodes(*4 * nodes * [8])
    namespace.apply(a_gang("theirs", a_role(namespace, nodes=nodes)))
    namespace.wait_ready("theirs")

    for replicas in (3, 2, 0, 1):
        namespace("scale", kind, "theirs-inference", f"--replicas={replicas}")
        wait_asked(namespace, "theirs", max(1, replicas * nodes), replicas)
        namespace.wait(lambda: len(pods(namespace)), (replicas * nodes).__eq__, f"{replicas} copies")
        namespace.wait_ready("theirs")


@pytest.mark.usefixtures("operator")
def test_a_role_goes_to_zero_and_back_and_a_name_is_taken_anew(namespace: Namespace) -> None:
    namespace.make_nodes(*3 * [8])
    service = a_gang(
        "again",
        prefill := a_role(namespace, "prefill", nodes=2, replicas=1, componentType="prefiller"),
        a_role(namespace, "decode", replicas=1, componentType="decoder"),
    )
    namespace.apply(service)
    namespace.wait_ready("again")
    for replicas in (0, 1):
        prefill["replicas"] = replicas
        namespace.apply(service)
        namespace.wait_ready("again")
        wait_asked(namespace, "again", 1 + 2 * replicas, replicas, 1)

    before = pods(namespace)
    namespace("delete", "inferenceservice", "again", "--wait=false")
    namespace.wait(lambda: len(namespace.list("inferenceservices")), lambda n: n == 0, "it to be gone")
    namespace.apply(service)
    namespace.wait_ready("again")
    namespace.wait(
        lambda: pods(namespace), lambda now: len(now) == 3 and not set(now.values()) & set(before.values()), "3"
    )
    assert asked(namespace, "again") == (3, [1, 1])


@pytest.mark.usefixtures("operator")
def test_a_pod_that_is_killed_gets_its_place_back_although_a_gang_waits_for_one(namespace: Namespace) -> None:
    namespace.make_nodes(*4 * [8])
    namespace.apply(
        a_gang(
            "runs",
            a_role(namespace, "prefill", nodes=2, replicas=1, componentType="prefiller"),
            a_role(namespace, "decode", replicas=2, componentType="decoder"),
        )
    )
    namespace.wait_ready("runs")
    namespace.apply(a_gang("waits", a_role(namespace, replicas=3)))
    namespace.wait_reason("waits", "Scheduled", "GangInqueue")

    for killed in ("runs-decode-1", "runs-prefill-0-1"):
        before = pods(namespace)
        namespace("delete", "pod", killed, "--wait=false")
        wait_back(namespace, killed, before[killed])
        namespace.wait_ready("runs")
    assert asked(namespace, "runs") == (4, [1, 2])
    assert all(name.startswith("runs-") for name in pods(namespace))

    namespace("delete", "inferenceservice", "runs")
    namespace.wait_ready("waits")


def revisions(states: list[Manifest], kind: str) -> list[tuple[int, Manifest]]:
    """The states of that `kind`, ADDED, MODIFIED or DELETED, each with when it was: the same clock for all objects."""
    return [
        (int(state["object"]["metadata"]["resourceVersion"]), state["object"])
        for state in states
        if state["type"] == kind
    ]


def is_inside(pod: Manifest, gang: str) -> bool:
    found: str | None = pod["metadata"].get("annotations", {}).get("scheduling.k8s.io/group-name")
    return found == gang


def serving(state: Manifest) -> int:
    """How many endpoints are ready in a state of a slice."""
    return sum(bool(endpoint["conditions"].get("ready")) for endpoint in state["object"]["endpoints"] or ())


def wait_serving(namespace: Namespace, count: int, *words: str) -> None:
    """Until the slices have so many ready endpoints: they follow the pods with a delay."""
    namespace.wait(
        lambda: sum(serving({"object": found}) for found in namespace.list("endpointslices", *words)),
        count.__eq__,
        f"{count} endpoints",
    )


@pytest.mark.usefixtures("operator")
@pytest.mark.parametrize("nodes", [1, 2])
def test_a_gang_is_turned_on_and_off_for_a_service_that_fills_its_cluster(
    nodes: int, namespace: Namespace, audit: AuditLog
) -> None:
    """As long as there are pods outside, the gang asks for nothing; it is there as long as there are pods inside."""
    namespace.make_nodes(*3 * nodes * [8])
    service = a_gang("turns", a_role(namespace, nodes=nodes, replicas=3))
    strategy = service["spec"].pop("schedulingStrategy")
    namespace.apply(service)
    namespace.wait_ready("turns")
    of_the_service = ("-l", "kubernetes.io/service-name=turns")
    wait_serving(namespace, 3, *of_the_service)

    service["spec"]["schedulingStrategy"] = strategy
    with (
        audit.requests_of(OPERATOR) as requests,
        history(namespace, "pods") as pod_states,
        history(namespace, "podgroups") as group_states,
        history(namespace, "endpointslices", of_the_service[1]) as slices,
    ):
        namespace.apply(service)
        wait_asked(namespace, "turns", 3 * nodes, 3)
        namespace.wait_ready("turns")
    assert writes(requests, namespace).count("patch podgroups") == 2
    groups = revisions(group_states, "ADDED") + revisions(group_states, "MODIFIED")
    raised = min(when for when, group in groups if asked_by(group) != (1, [0]))
    assert all(asked_by(group) == ((1, [0]) if when < raised else (3 * nodes, [3])) for when, group in groups)
    gone = [when for when, pod in revisions(pod_states, "DELETED") if not is_inside(pod, "turns")]
    assert len(gone) == 3 * nodes
    assert max(gone) < raised
    assert min(map(serving, slices)) >= 2

    wait_serving(namespace, 3, *of_the_service)
    del service["spec"]["schedulingStrategy"]
    with (
        audit.requests_of(OPERATOR) as requests,
        history(namespace, "pods") as pod_states,
        history(namespace, "podgroups") as group_states,
        history(namespace, "endpointslices", of_the_service[1]) as slices,
    ):
        namespace.apply(service)
        namespace.wait(lambda: group_names(namespace), lambda names: names == [], "the gang to be gone")
        namespace.wait_ready("turns")
    assert writes(requests, namespace)[-1] == "delete podgroups"
    ((removed, _),) = revisions(group_states, "DELETED")
    gone = [when for when, pod in revisions(pod_states, "DELETED") if is_inside(pod, "turns")]
    assert len(gone) == 3 * nodes
    assert max(gone) < removed
    assert min(map(serving, slices)) >= 2


@pytest.mark.usefixtures("operator")
def test_the_mode_of_a_gang_is_changed(namespace: Namespace) -> None:
    namespace.make_nodes(*4 * [8])
    service = a_gang("modes", a_role(namespace, replicas=4))
    namespace.apply(service)
    namespace.wait_ready("modes")
    before = pods(namespace)

    service["spec"]["schedulingStrategy"]["gang"] = {"mode": "MinReplicas", "minReplicas": {"inference": 2}}
    namespace.apply(service)
    wait_asked(namespace, "modes", 2, 2)
    namespace.wait_ready("modes")
    assert pods(namespace) == before

    service["spec"]["schedulingStrategy"]["gang"] = {"mode": "All"}
    namespace.apply(service)
    wait_asked(namespace, "modes", 4, 4)
    assert pods(namespace) == before

    service["spec"]["schedulingStrategy"]["gang"] = {"mode": "None"}
    namespace.apply(service)
    namespace.wait(lambda: group_names(namespace), lambda names: "modes" not in names, "the gang to be gone")
    namespace.wait_ready("modes")
    assert not set(before.values()) & set(pods(namespace).values())
    assert len(group_names(namespace)) == 1  # Volcano makes one of its own where a pod names none

    service["spec"]["schedulingStrategy"]["gang"] = {"mode": "All"}
    namespace.apply(service)
    namespace.wait(lambda: group_names(namespace), lambda names: "modes" in names, "a gang again")
    wait_asked(namespace, "modes", 4, 4)
    namespace.wait_ready("modes")


@pytest.mark.usefixtures("operator")
def test_copies_get_more_nodes_and_fewer_within_a_gang(namespace: Namespace) -> None:
    namespace.make_nodes(*8 * [8])
    service = a_gang("grows", a_role(namespace, nodes=2, replicas=2))
    namespace.apply(service)
    namespace.wait_ready("grows")
    uid = namespace.get("leaderworkerset", "grows-inference")["metadata"]["uid"]

    for nodes in (4, 2, 1, 2):
        service["spec"]["roles"] = [a_role(namespace, nodes=nodes, replicas=2)]
        namespace.apply(service)
        namespace.wait_ready("grows")
        wait_asked(namespace, "grows", 2 * nodes, 2)
        namespace.wait(lambda: len(namespace.list("pods")), (2 * nodes).__eq__, "two copies")
        if nodes == 4:
            assert namespace.get("leaderworkerset", "grows-inference")["metadata"]["uid"] == uid
