"""A service as people read it."""

from __future__ import annotations

from typing import Any

import pytest

from fusioninfer.cli.tree import table, tree
from fusioninfer.cli.view import View, row_of
from fusioninfer.reconcile.gateway_api import HTTP_ROUTES, POOLS
from tests import make
from tests.cli import seen
from tests.cli.seen import NOON, text


def lines(view: View, *, wide: bool = False) -> list[str]:
    return text(tree(view, NOON, wide=wide))


def test_a_ready_service_is_short() -> None:
    assert lines(seen.view(pods=(make.a_ready_pod(),))) == [
        "qwen  Ready  http://qwen.default.svc",
        "└── inference  worker  Running  1/1 copies ready",
        "    └── StatefulSet qwen-inference",
        "        └── pod qwen-inference-0  ready",
    ]


def test_why_it_is_not_ready_stands_at_the_role_the_pod_and_the_conditions() -> None:
    shown = lines(seen.view(pods=(make.a_waiting_pod(reason="ErrImagePull", message="no such image"),)))

    message = "pod qwen-inference-0, container engine: ErrImagePull: no such image"
    assert shown[:4] == [
        "qwen  not ready: ErrImagePull  http://qwen.default.svc",
        f"├── inference  worker  Failed  0/1 copies ready  ErrImagePull: {message}",
        "│   └── StatefulSet qwen-inference",
        "│       └── pod qwen-inference-0  container engine: ErrImagePull: no such image",
    ]
    assert shown[4] == "└── conditions"
    assert (
        "    ├── WorkloadsReady=False, Available=False, Degraded=True, Ready=False, Stalled=True  ErrImagePull: "
        f"role inference: 0 of 1 copies are ready; {message}"
    ) in shown


def test_copies_of_several_nodes_are_shown_with_their_nodes() -> None:
    role = make.a_role_of_nodes(2)
    mark = make.mark_of(make.desired(role).roles[0].workload)

    shown = lines(seen.view(role, pods=make.a_group(template=mark, unready=(1,))))

    assert "│       └── copy 0  1/2 pods ready" in shown
    assert "│           ├── pod qwen-inference-0  ready" in shown
    assert any("pod qwen-inference-0-1  PodPending" in line for line in shown)


@pytest.mark.parametrize(("wide", "pods"), [(False, 7), (True, 20)])
def test_many_ready_pods_are_counted_unless_it_is_to_be_wide(wide: bool, pods: int) -> None:
    many = tuple(make.a_ready_pod(index) for index in range(20))

    shown = lines(seen.view(make.a_role(replicas=20), pods=many), wide=wide)

    assert sum("pod qwen-" in line for line in shown) == pods
    assert any("and 13 more that are ready; -o wide shows them" in line for line in shown) is not wide


def test_a_wide_tree_tells_of_nodes_restarts_and_all_conditions() -> None:
    shown = lines(seen.view(pods=(make.a_ready_pod(),)), wide=True)

    assert any("pod qwen-inference-0  ready  on local, 0 restarts" in line for line in shown)
    assert any("Degraded=False  AsExpected" in line for line in shown)


def test_a_gang_stands_beside_the_roles() -> None:
    shown = lines(seen.view(schedulingStrategy=make.GANG, changed=seen.GANG_WAITS))

    assert "├── gang PodGroup qwen  Inqueue  asks for 1 pod (1 of inference) in queue default" in shown


def test_a_closed_hop_is_told_in_its_controllers_words() -> None:
    refused = make.by_parent(*make.told("Accepted", "ResolvedRefs", Accepted="False/NotAllowedByListeners"))
    changed: dict[str, Any] = {HTTP_ROUTES.kind: {"status": {"parents": [refused]}}}

    shown = lines(seen.view(make.a_role(), make.behind_a_gateway(), changed=changed))

    assert any("way in  //" in line or "way in  /default/qwen" in line for line in shown)
    assert any("HTTPRoute qwen-entry" in line and "allowedRoutes must let this namespace in" in line for line in shown)
    assert any(f"{POOLS.kind} qwen-entry" in line for line in shown)


def test_the_last_failure_is_told_while_the_role_is_not_whole() -> None:
    crashed = make.a_pod(
        containerStatuses=[
            {
                "name": "engine",
                "restartCount": 3,
                "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                "lastState": {
                    "terminated": {
                        "exitCode": 1,
                        "reason": "Error",
                        "message": "no GPU",
                        "finishedAt": "2026-11-24T11:59:00Z",
                    }
                },
            }
        ]
    )

    shown = lines(seen.view(pods=(crashed,)))

    assert any(
        "last failure 60s ago: pod qwen-inference-0, container engine: exit code 1 (Error), 3 restarts; its last "
        "words: no GPU" in line
        for line in shown
    )


def test_without_a_status_it_says_what_may_be_wrong() -> None:
    assert "does the operator run" in lines(seen.view(status=False))[0]


def test_a_status_of_an_earlier_generation_is_not_passed_off_as_the_present_one() -> None:
    view = seen.view(pods=(make.a_ready_pod(),))
    later = View(view.namespace, view.name, 2, view.created, view.status, view.roles)

    assert lines(later)[0] == "qwen  the status is of generation 1, the spec is at 2  http://qwen.default.svc"


def test_what_may_not_be_read_is_one_line() -> None:
    assert lines(seen.view(unread={"Pod": "no right"}))[-1] == "not to be seen: Pod: no right"


def test_many_services_are_a_table() -> None:
    rows = [row_of(seen.looked(pods=(make.a_ready_pod(),)).service), row_of(seen.looked(status=False).service)]

    shown = [line.split() for line in text(table(rows, NOON, namespaces=True, wide=False))]

    assert shown == [
        ["NAMESPACE", "NAME", "READY", "REASON", "ROLES", "URL", "AGE"],
        ["default", "qwen", "True", "Ready", "inference", "1/1", "http://qwen.default.svc", "60m"],
        ["default", "qwen", "Unknown", "NotSeenYet", "60m"],
    ]


def test_a_wide_table_has_the_messages_as_they_are() -> None:
    row = row_of(seen.looked(make.a_role(replicas=-1)).service)

    (_, line) = text(table([row], NOON, namespaces=False, wide=True))

    assert line.endswith(row.message)
    assert "spec.roles[0].replicas" in line
