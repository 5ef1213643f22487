"""A gang never asks for more than can be there, and comes together whenever there is room for it.

Random services are edited at random moments, between any two writes of the operator, and a cluster goes on beside it:
controllers that make and replace pods, Volcano's rules for a gang, nodes with room for so many pods. The cluster is
values and a few rules; what the operator writes is what `plan_changes` plans. A LeaderWorkerSet here makes no surge,
and a copy of which one pod ends is begun anew.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fusioninfer.api import names
from fusioninfer.api.parse import parse
from fusioninfer.api.service import Manifest
from fusioninfer.build.desired import Desired, desired_objects, members
from fusioninfer.build.gang.volcano import VOLCANO
from fusioninfer.reconcile.plan import Apply, Delete, plan_changes
from fusioninfer.reconcile.snapshot import (
    ENTRIES,
    LEADER_WORKER_SETS,
    LWS_GROUP,
    LWS_NAME,
    LWS_SIZE,
    LWS_WORKER,
    POD_GROUPS,
    STATEFUL_SETS,
    WORKLOADS,
    Child,
    Entry,
    LeaderWorkerSet,
    Pod,
    PodGroup,
    Service,
    Snapshot,
    StatefulSet,
)
from tests import make
from tests.stories.played import POD_INDEX, Placing, Task

GANG = (POD_GROUPS.kind, "qwen")
ENOUGH = 1000
"""Room for every pod that any of these services could have."""
ROUNDS = 300
"""More than any of them needs until nothing changes any more."""


# --- what users write ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Wish:
    """One role as its user wants it; no `replicas`: left to /scale."""

    component_type: str
    replicas: int | None = 1
    nodes: int = 1
    image: int = 0
    surge: int = 0

    def written(self, name: str) -> Manifest:
        container = make.a_container(
            image=f"vllm/vllm-openai:v{self.image}",
            args=["--model", "qwen", "--data-parallel-size", str(self.nodes)],
        )
        role = make.a_role(name=name, componentType=self.component_type, template=make.a_template(container))
        del role["replicas"]
        if self.replicas is not None:
            role["replicas"] = self.replicas
        if self.nodes > 1:
            role["multinode"] = {"nodeCount": self.nodes}
        elif self.surge and self.replicas is not None:
            role["rolloutStrategy"] = {"rollingUpdate": {"maxSurge": self.surge}}
        return role


SHAPES = {
    "worker": {"chat": "worker"},
    "both": {"prefill": "prefiller", "decode": "decoder"},
    "three": {"prefill": "prefiller", "other": "prefiller", "decode": "decoder"},
}


@dataclass(slots=True)
class Wishes:
    """One service as its user wants it."""

    shape: str = "worker"
    mode: str = "off"
    least: int = 1
    """For mode MinReplicas, of every role."""
    roles: dict[str, Wish] = field(default_factory=dict)

    def role(self, name: str) -> Wish:
        return self.roles.get(name, Wish(SHAPES[self.shape][name]))

    def change(self, index: int, **fields: Any) -> None:
        """Change one role of those that there are."""
        name = list(SHAPES[self.shape])[index % len(SHAPES[self.shape])]
        self.roles[name] = replace(self.role(name), **fields)

    @property
    def has_gang(self) -> bool:
        return self.mode in ("All", "MinReplicas")

    def raw(self) -> Manifest:
        wanted = {name: self.role(name) for name in SHAPES[self.shape]}
        strategy: Manifest = {"schedulerName": "volcano", "gang": {"mode": self.mode}}
        if self.mode == "MinReplicas":
            strategy["gang"]["minReplicas"] = {
                name: self.least if role.replicas is None else min(self.least, role.replicas)
                for name, role in wanted.items()
            }
        spec: dict[str, Any] = {} if self.mode == "off" else {"schedulingStrategy": strategy}
        return make.raw_service(*(role.written(name) for name, role in wanted.items()), **spec)


# --- what the API server holds ------------------------------------------------------------------------------------


@dataclass(slots=True)
class Live:
    """A child of the service."""

    manifest: Manifest
    child: Child
    scaled: bool = False
    """Somebody else holds replicas."""
    ends: bool = False

    @property
    def uid(self) -> str:
        return str(self.manifest["metadata"]["uid"])

    @property
    def size(self) -> int:
        """Nodes of one copy."""
        return int(self.manifest["spec"].get("leaderWorkerTemplate", {"size": 1})["size"])

    @property
    def template(self) -> Manifest:
        spec = self.manifest["spec"]
        template: Manifest = spec["template"] if "template" in spec else spec["leaderWorkerTemplate"]["leaderTemplate"]
        return template

    @property
    def mark(self) -> str:
        """Of its present template."""
        return str(self.manifest["metadata"]["annotations"][names.TEMPLATE])

    @property
    def gang_pods(self) -> int:
        """Pods that it makes in the gang."""
        annotations = self.template["metadata"].get("annotations", {})
        is_inside = annotations.get(VOLCANO.group_annotation) == "qwen"
        return self.manifest["spec"]["replicas"] * self.size if is_inside and not self.ends else 0


@dataclass(slots=True)
class APod:
    """A pod, and how far it is."""

    name: str
    role: str
    copy: int
    node: int
    owner: Live
    uid: str
    mark: str = ""
    size: int = 1
    in_gang: bool = False
    on_node: bool = False
    ready: bool = False
    ends: bool = False

    def __post_init__(self) -> None:
        annotations = self.owner.template["metadata"].get("annotations", {})
        self.mark, self.size = self.owner.mark, self.owner.size
        self.in_gang = VOLCANO.group_annotation in annotations

    @property
    def labels(self) -> dict[str, str]:
        labels = {names.SERVICE_LABEL: "qwen", names.ROLE_LABEL: self.role}
        name = self.owner.manifest["metadata"]["name"]
        if self.owner.manifest["kind"] == STATEFUL_SETS.kind:
            return {**labels, POD_INDEX: str(self.copy), "controller-revision-hash": self.mark}
        index = {POD_INDEX: str(self.node or self.copy)}  # leaders and workers are pods of StatefulSets between
        return {**labels, **index, LWS_NAME: name, LWS_GROUP: str(self.copy), LWS_WORKER: str(self.node)}

    def seen(self) -> Pod:
        several: dict[str, str] = (
            {names.TEMPLATE: self.mark, LWS_SIZE: str(self.size)} if LWS_NAME in self.labels else {}
        )
        group = {VOLCANO.group_annotation: "qwen"} if self.in_gang else {}
        metadata: Manifest = {
            "name": self.name,
            "namespace": "default",
            "uid": self.uid,
            "labels": self.labels,
            "annotations": {**several, **group},
            "ownerReferences": [{"uid": self.owner.uid, "kind": "StatefulSet", "name": "its-own", "controller": True}],
            **({"deletionTimestamp": "2026-01-01T00:00:00Z"} if self.ends else {}),
        }
        ready: Manifest = {"conditions": [{"type": "Ready", "status": "True"}]} if self.ready else {}
        return make.decoded_pod(
            {"metadata": metadata, "spec": {"nodeName": "local" if self.on_node else ""}, "status": ready}
        )


KINDS: dict[str, type[Child]] = {
    STATEFUL_SETS.kind: StatefulSet,
    LEADER_WORKER_SETS.kind: LeaderWorkerSet,
    ENTRIES.kind: Entry,
    POD_GROUPS.kind: PodGroup,
}


# --- the cluster --------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Cluster:
    """One service, its children and its pods, and everybody who works on them."""

    wishes: Wishes
    is_patient: bool = False
    """StatefulSets replace no pod while another is not ready (feature gate MaxUnavailableStatefulSet)."""
    room: int = ENOUGH
    children: dict[tuple[str, str], Live] = field(default_factory=dict)
    pods: dict[str, APod] = field(default_factory=dict)
    group_writes: int = 0
    _made: int = 0

    def __post_init__(self) -> None:
        self.wishes = deepcopy(self.wishes)

    # what users and others do

    def scale(self, index: int, replicas: int) -> None:
        """Somebody writes to /scale of a workload whose replicas are left to them."""
        for live in self._workloads()[index : index + 1]:
            role = live.manifest["metadata"]["labels"][names.ROLE_LABEL]
            if self.wishes.shape and role in SHAPES[self.wishes.shape] and self.wishes.role(role).replicas is None:
                live.manifest["spec"]["replicas"] = replicas
                live.scaled = True
                self._store(live, spec_changed=True)

    def lose(self, index: int) -> None:
        """A pod ends, and with it all of its copy."""
        alive = [pod for pod in self.pods.values() if not pod.ends]
        if alive:
            self._end_copy(alive[index % len(alive)])

    # the operator

    @property
    def snapshot(self) -> Snapshot:
        service = msgspec.json.decode(msgspec.json.encode(self.wishes.raw()), type=Service)
        children = {place: live.child for place, live in self.children.items()}
        return Snapshot(service, children, tuple(pod.seen() for pod in self.pods.values()))

    @property
    def desired(self) -> Desired:
        return desired_objects(parse(self.wishes.raw()), make.ENGINES, make.STRATEGIES)

    def turn(self, writes: int = ENOUGH) -> bool:
        """One turn of the operator, ended after so many writes; whether there was anything to write."""
        snapshot, desired = self.snapshot, self.desired
        plan = plan_changes(desired, snapshot)
        left: list[Apply | Delete] = [*plan.applies, *plan.deletes]
        for step in left[:writes]:
            if isinstance(step, Apply):
                self._write(step)
            else:
                self._delete(step)
            self._check(snapshot.gang, is_whole=step is left[-1])
        return bool(left)

    def _write(self, step: Apply) -> None:
        place = step.resource.kind, step.name
        before = self.children.get(place)
        metadata = _unsigned(step.manifest["metadata"])
        live = make.applied({**step.manifest, "metadata": metadata})
        is_scaled = False
        if step.resource in WORKLOADS:
            is_scaled = before is not None and before.scaled
            theirs = before.manifest["spec"]["replicas"] if before is not None and is_scaled else 1
            is_scaled &= step.manifest["spec"].get("replicas", theirs) == theirs
            live["spec"].setdefault("replicas", theirs)
        if before is None:
            self._made += 1
            live["metadata"] |= {"uid": f"{step.name}-{self._made}", "generation": 0}
            live["status"] = {}
        else:
            live["metadata"] |= {"uid": before.uid, "generation": before.manifest["metadata"]["generation"]}
            live["status"] = before.manifest["status"]
        self.group_writes += place == GANG
        held = before or Live(live, self._decoded(live, scaled=False))
        changed = before is None or before.manifest["spec"] != live["spec"]
        held.manifest, held.scaled = live, is_scaled
        self.children[place] = held
        self._store(held, spec_changed=changed)

    def _delete(self, step: Delete) -> None:
        live = self.children[step.resource.kind, step.name]
        if step.resource in WORKLOADS:  # foreground: it stays until its pods are gone
            live.ends = True
            live.manifest["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
            self._store(live)
        else:
            del self.children[step.resource.kind, step.name]

    def _store(self, live: Live, *, spec_changed: bool = False) -> None:
        live.manifest["metadata"]["generation"] += spec_changed
        live.child = self._decoded(live.manifest, scaled=live.scaled)

    @staticmethod
    def _decoded(manifest: Manifest, *, scaled: bool) -> Child:
        others = [
            {
                "manager": "autoscaler",
                "operation": "Update",
                "subresource": "scale",
                "fieldsV1": {"f:spec": {"f:replicas": {}}},
            }
        ]
        metadata = manifest["metadata"]
        managed = {"managedFields": [*metadata["managedFields"], *(others if scaled else ())]}
        whole = {**manifest, "metadata": {**metadata, **managed}}
        return msgspec.json.decode(msgspec.json.encode(whole), type=KINDS[manifest["kind"]])

    # the controllers of workloads

    def _workloads(self) -> list[Live]:
        kinds = [resource.kind for resource in WORKLOADS]
        return [live for (kind, _), live in sorted(self.children.items()) if kind in kinds]

    def control(self) -> bool:
        """All workloads, once; whether anything was done."""
        return bool(sum([self._control(live) for live in self._workloads()]))

    def _control(self, live: Live) -> bool:
        mine = [pod for pod in self.pods.values() if pod.owner is live]
        replicas = 0 if live.ends else live.manifest["spec"]["replicas"]
        surplus = [pod for pod in mine if pod.copy >= replicas and not pod.ends]
        for pod in surplus:
            pod.ends = True
        if live.ends and not mine:
            del self.children[live.manifest["kind"], live.manifest["metadata"]["name"]]
            return True
        if live.ends:
            return bool(surplus)
        generation = live.manifest["metadata"]["generation"]
        status = {"observedGeneration": generation, "updateRevision": live.mark, "replicas": replicas}
        if live.manifest["status"] != status:
            live.manifest["status"] = status
            self._store(live)
            return True
        return (
            bool(sum([self._make(live, index) for index in range(replicas)])) or self._roll(live, mine) or bool(surplus)
        )

    def _make(self, live: Live, index: int) -> bool:
        name, role = live.manifest["metadata"]["name"], live.manifest["metadata"]["labels"][names.ROLE_LABEL]
        there = [pod for pod in self.pods.values() if pod.owner is live and pod.copy == index]
        size = there[0].size if there else live.size  # a copy keeps the size with which it was begun
        if any(pod.ends for pod in there):
            return False
        made = False
        for node in range(size):
            pod_name = f"{name}-{index}" + (f"-{node}" if node else "")
            if pod_name not in self.pods and not (there and there[0].mark != live.mark):
                self._made += 1
                self.pods[pod_name] = APod(pod_name, role, index, node, live, f"pod-{self._made}")
                made = True
        return made

    def _roll(self, live: Live, mine: list[APod]) -> bool:
        """Replace the highest copy of an older template, if its turn has come."""
        strategy = live.manifest["spec"].get("updateStrategy", {"rollingUpdate": {"partition": 0}})
        copies: dict[int, list[APod]] = defaultdict(list)
        for pod in mine:
            copies[pod.copy].append(pod)
        unready = {index for index, pods in copies.items() if not all(pod.ready and not pod.ends for pod in pods)}
        if self.is_patient and unready:
            return False
        for index in sorted(copies, reverse=True):
            if index < strategy["rollingUpdate"].get("partition", 0):
                return False
            pod = copies[index][0]
            if pod.mark != live.mark and not pod.ends:
                if live.size > 1 and index not in unready and unready:
                    return False  # LeaderWorkerSet takes down what is ready only while all others are (v0.9)
                self._end_copy(pod)
                return True
            if index in unready:
                return False
        return False

    def _end_copy(self, pod: APod) -> None:
        for other in self.pods.values():
            if other.owner is pod.owner and other.copy == pod.copy:
                other.ends = True

    # the schedulers and the nodes

    def schedule(self) -> bool:
        """Give nodes to pods; whether any got one."""
        waiting = [pod for pod in self.pods.values() if not pod.on_node and not pod.ends]
        for pod in waiting:
            if not pod.in_gang and self._free():
                pod.on_node = True
        if GANG in self.children:
            inside = [pod for pod in self.pods.values() if pod.in_gang and not pod.ends]
            tasks = [Task(pod.name, pod.labels, on_node=pod.on_node) for pod in inside]
            placing = Placing(self.children[GANG].manifest["spec"], tasks, self._free())
            placing.place()
            if tasks and placing.is_ready:  # Volcano says so once, and never takes it back
                self.children[GANG].manifest["status"] = {"phase": "Running", "conditions": [{"type": "Scheduled"}]}
                self._store(self.children[GANG])
            for pod, task in zip(inside, tasks, strict=True):
                pod.on_node = task.on_node
        return any(pod.on_node for pod in waiting)

    def _free(self) -> int:
        return max(0, self.room - sum(pod.on_node for pod in self.pods.values()))

    def run_pods(self) -> bool:
        """What was told to end is gone, and whole copies on nodes are ready; whether anything was news."""
        gone = [name for name, pod in self.pods.items() if pod.ends]
        for name in gone:
            del self.pods[name]
        started = False
        for pod in self.pods.values():
            copy = [other for other in self.pods.values() if other.owner is pod.owner and other.copy == pod.copy]
            if not pod.ready and len(copy) == pod.size and all(other.on_node for other in copy):
                pod.ready = started = True
        return bool(gone) or started

    def settle(self) -> None:
        """Until nobody has anything to do."""
        for _ in range(ROUNDS):
            if not any([self.turn(), self.control(), self.schedule(), self.run_pods()]):
                return
        raise AssertionError("it never comes to rest")

    # what must hold

    @property
    def asked(self) -> dict[str, tuple[int, int]]:
        """By role, the copies that the gang needs and the nodes of each, once all is as asked."""
        copies = {}
        for role in self.desired.service.roles:
            lives = [live for live in self._workloads() if live.manifest["metadata"]["name"] == f"qwen-{role.name}"]
            scaled = lives[0].manifest["spec"]["replicas"] if lives else 1
            copies[role.name] = scaled if role.replicas is None else role.replicas
        wanted = members(self.desired.service, copies)
        return {member.role: (member.needed, member.nodes) for member in wanted}

    def _check(self, before: PodGroup | None, *, is_whole: bool) -> None:
        """After a write of the operator; `is_whole` if it was the last of its turn."""
        makes = sum(live.gang_pods for live in self._workloads())
        if GANG not in self.children:
            assert not (is_whole and makes), "pods are made that name a gang which is not there"
            assert not any(pod.in_gang for pod in self.pods.values()), "pods name a gang that was deleted"
            return
        spec = self.children[GANG].manifest["spec"]
        if is_whole or any(self._inside()):
            assert spec["minMember"] <= max(1, makes + self._to_be_made()), "it asks for more than can be there"
        if before is not None and before.spec.minMember < spec["minMember"]:
            assert self._is_whole() or not any(self._inside()), "it asks for more before all of that runs"
        if before is not None and not self._has_pods_outside():
            now = {
                policy["name"]: (policy["minSubGroups"], policy["subGroupSize"]) for policy in spec["subGroupPolicy"]
            }
            for policy in before.spec.subGroupPolicy:
                if policy.subGroupSize == 1 < now.get(policy.name, (0, 1))[1]:
                    continue  # its workload is of another kind: none of its copies stays
                asked = self.asked.get(policy.name, (0, 1))
                for is_now, was, is_asked in zip(
                    now.get(policy.name, (0, 1)), (policy.minSubGroups, policy.subGroupSize), asked, strict=True
                ):
                    assert is_now >= min(was, is_asked), "it asks for less than before without need"

    def _to_be_made(self) -> int:
        """Pods of roles whose workload is not there yet, since the one of the other kind is in its way."""
        there = {live.manifest["metadata"]["name"]: live for live in self._workloads() if not live.ends}
        pods = 0
        for objects in self.desired.roles:
            live = there.get(objects.workload["metadata"]["name"])
            if live is None or live.manifest["kind"] != objects.workload["kind"]:
                pods += math.prod(self.asked[objects.role.name])
        return pods

    def _inside(self) -> Iterator[APod]:
        """Pods of the gang that are on nodes, without those of roles that are not wanted any more."""
        roles = SHAPES[self.wishes.shape]
        inside = (pod for pod in self.pods.values() if pod.on_node and pod.in_gang and not pod.ends)
        return (pod for pod in inside if pod.role in roles)

    @property
    def on_nodes(self) -> Counter[str]:
        """By role."""
        return Counter(pod.role for pod in self._inside())

    @property
    def needed(self) -> Counter[str]:
        """By role, pods that the gang asks for now."""
        policies = self.children[GANG].manifest["spec"]["subGroupPolicy"] if GANG in self.children else []
        return Counter({policy["name"]: policy["minSubGroups"] * policy["subGroupSize"] for policy in policies})

    def _is_whole(self) -> bool:
        """As many copies as the gang should ask for are on nodes."""
        copies = Counter((pod.role, pod.owner.uid, pod.copy, pod.size) for pod in self._inside())
        on_nodes = Counter((role, size) for (role, _, _, size), pods in copies.items() if pods == size)
        return all(on_nodes[role, nodes] >= needed for role, (needed, nodes) in self.asked.items())

    def _has_pods_outside(self) -> bool:
        return any(not pod.in_gang and not pod.ends for pod in self.pods.values())

    def check_that_all_is_as_asked(self) -> None:
        """After all has come to rest with room enough."""
        assert [pod.name for pod in self.pods.values() if not pod.ready] == []
        assert [pod.name for pod in self.pods.values() if pod.mark != pod.owner.mark] == []
        for live in self._workloads():
            role = live.manifest["metadata"]["labels"][names.ROLE_LABEL]
            pods = [pod for pod in self.pods.values() if pod.role == role]
            assert len(pods) == live.manifest["spec"]["replicas"] * self.wishes.role(role).nodes
            assert all(pod.in_gang == self.wishes.has_gang for pod in pods)
        if not self.wishes.has_gang:
            assert GANG not in self.children
            return
        spec = self.children[GANG].manifest["spec"]
        assert {p["name"]: (p["minSubGroups"], p["subGroupSize"]) for p in spec["subGroupPolicy"]} == self.asked
        assert spec["minMember"] == max(1, sum(math.prod(part) for part in self.asked.values()))


def _unsigned(metadata: Manifest) -> Manifest:
    """Without what `plan` put there."""
    kept = {key: value for key, value in metadata.items() if key not in ("uid", "resourceVersion", "annotations")}
    annotations = {key: value for key, value in metadata["annotations"].items() if key != names.APPLIED}
    return {**kept, **({"annotations": annotations} if annotations else {})}


# --- the story of one service -------------------------------------------------------------------------------------

Event = tuple[Any, ...]
"""What happens, and to what."""
ALL_SETTLES: Event = ("all settles", ())


def happens(cluster: Cluster, event: Event) -> None:
    wishes = cluster.wishes
    match event:
        case "replicas" | "nodes" | "image" | "surge" as what, index, value:
            wishes.change(index, **{what: value})
        case "mode" | "shape" | "least" as what, value:
            setattr(wishes, what, value)
        case "scaled", index, replicas:
            cluster.scale(index, replicas)
        case "lost", index:
            cluster.lose(index)
        case "all lost", _:
            for pod in cluster.pods.values():
                pod.ends = True
        case "gang lost", _:
            cluster.children.pop(GANG, None)
        case "room", room:
            cluster.room = room
        case "operator", writes:
            cluster.turn(writes)
        case "controllers", _:
            cluster.control()
        case "schedulers", _:
            cluster.schedule()
        case "nodes go on", _:
            cluster.run_pods()
        case "all settles", _:
            cluster.settle()
        case _:
            raise AssertionError(event)


indexes, counts, few = st.integers(0, 2), st.integers(0, 3), st.integers(0, 2)
modes = st.sampled_from(["All", "All", "MinReplicas", "None", "off"])
rooms = st.just(ENOUGH) | st.integers(0, 15)
edits: st.SearchStrategy[Event] = st.one_of(
    st.tuples(st.just("replicas"), indexes, st.none() | counts),
    st.tuples(st.just("nodes"), indexes, st.integers(1, 3)),
    st.tuples(st.just("image"), indexes, few),
    st.tuples(st.just("surge"), indexes, few),
    st.tuples(st.just("mode"), modes),
    st.tuples(st.just("shape"), st.sampled_from(list(SHAPES))),
    st.tuples(st.just("least"), counts),
    st.tuples(st.just("scaled"), indexes, counts),
)
losses: st.SearchStrategy[Event] = st.one_of(
    st.tuples(st.just("lost"), st.integers(0, 20)),
    st.sampled_from([("all lost", ()), ("gang lost", ())]),
    st.tuples(st.just("room"), rooms),
)
turns: st.SearchStrategy[Event] = st.one_of(
    st.tuples(st.just("operator"), st.sampled_from([1, 2, 3, ENOUGH])),
    st.sampled_from([("controllers", ()), ("schedulers", ()), ("nodes go on", ())]),
)
chapters = st.tuples(edits | losses, st.just([ALL_SETTLES]) | st.lists(turns, max_size=4))
stories = st.lists(chapters, max_size=5).map(
    lambda chapters: [ALL_SETTLES, *(event for change, rest in chapters for event in (change, *rest))]
)


@st.composite
def services(draw: st.DrawFn) -> Wishes:
    shape = draw(st.sampled_from(list(SHAPES)))
    wishes = Wishes(shape, draw(modes), draw(counts))
    for index in range(len(SHAPES[shape])):
        wishes.change(index, replicas=draw(st.none() | counts), nodes=draw(st.integers(1, 3)))
    return wishes


@settings(max_examples=500, deadline=None)
@given(services(), st.booleans(), rooms, stories)
@example(  # more nodes per copy while the gang waits
    Wishes(mode="All", roles={"chat": Wish("worker", replicas=2, nodes=2)}), False, 0, [ALL_SETTLES, ("nodes", 0, 3)]
)
@example(  # the same with a minimum that one new copy has reached already
    Wishes(mode="MinReplicas", least=0, roles={"chat": Wish("worker", nodes=2)}),
    True,
    0,
    [ALL_SETTLES, ("nodes", 0, 3)],
)
@example(  # more nodes per copy without room for them: half of a copy has nodes
    Wishes(mode="All", roles={"chat": Wish("worker", nodes=2)}), False, 2, [ALL_SETTLES, ("nodes", 0, 3), ALL_SETTLES]
)
@example(  # one copy ends in the moment in which another gets its node
    Wishes(mode="All", roles={"chat": Wish("worker", replicas=2)}),
    False,
    2,
    [ALL_SETTLES, ("replicas", 0, 3), ALL_SETTLES, ("room", 3), ("schedulers", ()), ("lost", 0), ("operator", ENOUGH)],
)
@example(  # several nodes per copy for one of two roles that run
    Wishes("both", mode="All"), False, 2, [ALL_SETTLES, ("nodes", 1, 2)]
)
def test_it_comes_together_whatever_happened_before(
    wishes: Wishes, is_patient: bool, room: int, story: list[Event]
) -> None:  # fmt: skip
    cluster = Cluster(wishes, is_patient, room)
    for event in story:
        happens(cluster, event)

    cluster.room = ENOUGH
    cluster.settle()

    cluster.check_that_all_is_as_asked()


@settings(max_examples=150, deadline=None)
@given(services(), rooms, stories)
def test_a_gang_needs_no_more_room_than_for_what_is_asked(wishes: Wishes, room: int, story: list[Event]) -> None:
    wishes.mode = "All"
    cluster = Cluster(wishes, room=room)
    for event in story:
        if event[0] not in ("mode", "surge"):
            happens(cluster, event)

    cluster.settle()
    asked = sum(math.prod(part) for part in cluster.asked.values())
    cluster.room = max(asked, sum(pod.on_node for pod in cluster.pods.values()))
    cluster.settle()

    cluster.check_that_all_is_as_asked()


@settings(max_examples=100, deadline=None)
@given(services(), st.booleans(), st.sampled_from(["All", "MinReplicas"]))
def test_a_gang_that_is_turned_on_for_what_runs_is_raised_once(
    wishes: Wishes, is_patient: bool, mode: str
) -> None:  # fmt: skip
    wishes.mode = "off"
    cluster = Cluster(wishes, is_patient)
    cluster.settle()

    cluster.wishes.mode = mode
    cluster.settle()

    runs = any(pod.in_gang for pod in cluster.pods.values())
    needs = any(copies for copies, _ in cluster.asked.values())
    assert cluster.group_writes == 1 + (runs and needs)


grown: st.SearchStrategy[Event] = st.one_of(
    st.tuples(st.just("replicas"), indexes, st.integers(3, 5)),
    st.tuples(st.just("image"), indexes, few),
    st.just(("shape", "three")),
    st.tuples(st.just("nodes"), indexes, st.integers(2, 4)),
)


@settings(max_examples=150, deadline=None)
@given(services(), st.booleans(), st.lists(grown, max_size=3), st.integers(0, 20))
def test_what_runs_finds_its_place_again_though_there_is_no_room_for_more(
    wishes: Wishes, is_patient: bool, edits: list[Event], lost: int
) -> None:  # fmt: skip
    wishes.mode = "All"
    cluster = Cluster(wishes, is_patient)
    cluster.settle()
    cluster.room = len(cluster.pods)
    for edit in edits:
        happens(cluster, edit)
        cluster.settle()
    before = cluster.on_nodes & cluster.needed
    for role in {pod.role for pod in cluster.pods.values() if pod.size != cluster.wishes.role(pod.role).nodes}:
        del before[role]  # a copy of it comes back in another size

    cluster.lose(lost)
    if not cluster.on_nodes:
        return  # nothing runs: it begins anew, and may wait for all
    cluster.settle()

    assert cluster.on_nodes >= before
