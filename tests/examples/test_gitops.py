"""What those say of a service who read statuses of all kinds: kstatus (Flux, Helm), and Argo CD with our health check.

Every status here is written by our own code for a state of the design, and read by the real library and in a real Lua.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from fusioninfer.api.service import InvalidSpec, Manifest
from fusioninfer.api.types import InferenceServiceStatus
from fusioninfer.reconcile.apply import Failure, Outcome
from fusioninfer.reconcile.plan import NameTaken
from fusioninfer.reconcile.status import status_of_refused
from testbed import build, programs
from tests import make
from tests.reconcile.test_status import (
    NOON,
    UNSCHEDULABLE,
    WAITING,
    conditions,
    gang_status,
    routed,
    running,
    said,
    status,
    status_in,
    waiting_picker,
)

CHECK = Path("examples/gitops/argocd-cm.yaml")
HEALTH = "resource.customizations.health.fusioninfer.io_InferenceService"
TWO = make.a_role(replicas=2)
IMAGE = make.a_waiting_pod(reason="ImagePullBackOff", message="Back-off pulling image none:1")


def refused() -> InferenceServiceStatus:
    return status_of_refused(InvalidSpec("spec.roles", "no"), make.a_snapshot(), None, NOON)


def failed(code: int, message: str) -> InferenceServiceStatus:
    return status(outcome=Outcome(failures=(Failure("apply", "StatefulSet", "qwen-inference", said(code, message)),)))


def late() -> InferenceServiceStatus:
    role = make.a_role(progressDeadlineSeconds=60)
    before = status(running(started=False), role=role)
    return status(running(started=False), role=role, previous=before, now=NOON + timedelta(seconds=60))


def updated_later() -> InferenceServiceStatus:
    """A new version of the operator would build other pods, and keeps those that run."""
    workload = make.applied(make.desired().manifests[1])
    return status(make.a_ready_pod(), live={"metadata": with_other_template(workload)})


def with_other_template(workload: Manifest) -> Manifest:
    annotations = {name: f"{value}-of-old" if name.endswith("/template") else value
                   for name, value in workload["metadata"]["annotations"].items()}  # fmt: skip
    return {**workload["metadata"], "annotations": annotations}


def paused(*, waiting: bool) -> InferenceServiceStatus:
    workload = make.applied(make.desired().manifests[1])["metadata"]
    changed = {"metadata": {**workload, "annotations": {"fusioninfer.io/applied": "other"}}}
    return status(make.a_ready_pod(), live=changed if waiting else None, paused=True)


def not_installed() -> InferenceServiceStatus:
    return status_in(make.a_snapshot(make.raw_service(make.a_role_of_nodes(2)), unserved={"LeaderWorkerSet"}))


@dataclass(frozen=True, slots=True)
class State:
    """A state of a service, what is so then, and what others say of it."""

    name: str
    status: Callable[[], InferenceServiceStatus | None]
    ready: str
    """What Ready says: `status/reason`; empty: nothing yet."""
    kstatus: str
    argo: str
    metadata: Manifest = field(default_factory=dict)


STATES = (
    State("ready", lambda: status(make.a_ready_pod()), "True/Ready", "Current", "Healthy"),
    State("seen, nothing runs yet", status, "False/PodsMissing", "InProgress", "Progressing"),
    State("loading", lambda: status(running(started=False)), "False/StartupProbePending", "InProgress", "Progressing"),
    State(
        "waits for room",
        lambda: status(make.a_pod(conditions=[UNSCHEDULABLE])), "False/Unschedulable", "InProgress", "Progressing",
    ),
    State("its gang waits", lambda: gang_status(*WAITING), "False/GangPending", "InProgress", "Progressing"),
    State(
        "rolling out",
        lambda: status(make.a_ready_pod(revision="rev-0")), "False/RollingOut", "InProgress", "Progressing",
    ),
    State(
        "a copy stopped answering",
        lambda: status(make.a_ready_pod(0), running(started=True), role=TWO),
        "False/ReadinessProbeFailing", "InProgress", "Degraded",
    ),
    State("its image is not there", lambda: status(IMAGE), "False/ImagePullBackOff", "Failed", "Degraded"),
    State("late", late, "False/ProgressDeadlineExceeded", "Failed", "Degraded"),
    State("refused by us", refused, "False/InvalidSpec", "Failed", "Degraded"),
    State(
        "refused by the API server", lambda: failed(422, "image: Required value"), "False/Refused", "Failed", "Degraded"
    ),
    State("over quota", lambda: failed(403, "exceeded quota: few"), "False/QuotaExceeded", "Failed", "Degraded"),
    State(
        "the operator lacks a right",
        lambda: failed(403, 'User "x" cannot patch resource "statefulsets"'),
        "False/RBACDenied", "Failed", "Degraded",
    ),
    State(
        "a stranger has its name",
        lambda: status(outcome=Outcome(taken=(NameTaken("Service", "qwen", "Deployment 'web'"),))),
        "False/NameConflict", "Failed", "Degraded",
    ),
    State("a kind is not installed", not_installed, "False/NotInstalled", "Failed", "Degraded"),
    State(
        "its router has no image",
        lambda: routed(make.a_ready_pod(), waiting_picker("ImagePullBackOff")),
        "False/ImagePullBackOff", "Failed", "Degraded",
    ),
    State(
        "scaled to zero", lambda: status(role=make.a_role(replicas=0)), "True/ScaledToZero", "Current", "Healthy"
    ),
    State("paused as it should be", lambda: paused(waiting=False), "True/Ready", "Current", "Healthy"),
    State("an update waits for the user", updated_later, "True/Ready", "Current", "Healthy"),
    State(
        "changed, and not seen yet",
        lambda: status(make.a_ready_pod()), "True/Ready", "InProgress", "Progressing", {"generation": 2},
    ),
    State(
        "deleted",
        lambda: status(make.a_ready_pod()), "True/Ready", "Terminating", "Progressing",
        {"deletionTimestamp": "2026-11-24T12:00:00Z", "finalizers": ["foregroundDeletion"]},
    ),
)  # fmt: skip
DISAGREEING = (
    State("never seen by the operator", lambda: None, "", "Current", "Progressing"),
    State("paused, and changes wait", lambda: paused(waiting=True), "False/Paused", "InProgress", "Suspended"),
)
"""Where kstatus says another thing than we mean."""


def as_stored(state: State) -> Manifest:
    """The object as a client reads it."""
    service = make.raw_service()
    told = state.status()
    written = {} if told is None else {"status": msgspec.to_builtins(told)}
    return {**service, "metadata": {**service["metadata"], **state.metadata}, **written}


@pytest.fixture(scope="session")
def said_of(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What kstatus and Argo CD say, by the state's name."""
    build.build(["health"])
    script = tmp_path_factory.mktemp("argo") / "health.lua"
    script.write_text(yaml.safe_load(CHECK.read_text())["data"][HEALTH])
    states = (*STATES, *DISAGREEING)
    objects = json.dumps([as_stored(state) for state in states])
    done = subprocess.run([programs.path("health"), script], input=objects, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return dict(zip((state.name for state in states), json.loads(done.stdout), strict=True))


@pytest.mark.parametrize("state", [*STATES, *DISAGREEING], ids=lambda state: state.name)
def test_the_state_is_the_one_that_is_meant(state: State) -> None:
    told = state.status()
    ready = conditions(told)["Ready"] if told else None

    assert state.ready == (f"{ready.status}/{ready.reason}" if ready else "")


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.name)
def test_kstatus_says_what_we_mean(said_of: dict[str, Any], state: State) -> None:
    assert said_of[state.name]["kstatus"]["status"] == state.kstatus


@pytest.mark.parametrize("state", [*STATES, *DISAGREEING], ids=lambda state: state.name)
def test_argo_cd_says_what_we_mean(said_of: dict[str, Any], state: State) -> None:
    assert said_of[state.name]["argo"]["status"] == state.argo


@pytest.mark.parametrize(
    "state", [it for it in (*STATES, *DISAGREEING) if it.ready and not it.metadata], ids=lambda state: state.name
)
def test_argo_cd_shows_the_sentence_of_ready(said_of: dict[str, Any], state: State) -> None:
    told = state.status()

    assert told is not None
    assert said_of[state.name]["argo"]["message"] == conditions(told)["Ready"].message


def test_kstatus_takes_a_service_without_a_status_for_current(said_of: dict[str, Any]) -> None:
    """We mean in progress. The operator's first status, milliseconds after, says that it is."""
    assert said_of["never seen by the operator"]["kstatus"]["status"] == "Current"


def test_kstatus_knows_no_pause_and_waits_for_what_is_paused(said_of: dict[str, Any]) -> None:
    """We mean that it waits for the user. Stalled it is not: nothing is wrong."""
    assert said_of["paused, and changes wait"]["kstatus"]["status"] == "InProgress"
