"""Any other server: where it answers, and who writes its workers."""

from __future__ import annotations

from typing import Any

import pytest

from fusioninfer.api.service import InvalidSpec, Manifest
from fusioninfer.build.engines import Launch
from fusioninfer.build.engines.custom import ENGINE
from tests import make


def a(**fields: Any) -> Manifest:
    return {"name": "engine", "image": "x", **fields}


@pytest.mark.parametrize(
    ("container", "port"),
    [
        pytest.param(a(), 8000, id="nothing said"),
        pytest.param(a(args=["--port", "9000"]), 9000, id="by flag"),
        pytest.param(a(ports=[{"containerPort": 9001}], args=["--port", "9000"]), 9001, id="declared"),
    ],
)
def test_a_port_that_accepts_connections_is_ready(container: Manifest, port: int) -> None:
    launch = ENGINE.leader(container, make.role_of(container))

    assert launch == Launch(port=port, args=tuple(container.get("args", ())), ready={"tcpSocket": {"port": port}})


def test_nothing_is_added_to_a_leaders_words() -> None:
    container = a(command=["/start"], args=["$(LWS_GROUP_SIZE)", "a b", '"'])
    role = make.role_of(container, nodes=2, workerTemplate=make.a_template())

    assert ENGINE.leader(container, role).args == ("$(LWS_GROUP_SIZE)", "a b", '"')
    assert ENGINE.leader(container, role).command is None


def test_several_nodes_need_a_template_for_the_workers() -> None:
    with pytest.raises(InvalidSpec) as refusal:
        ENGINE.leader(a(), make.role_of(a(), nodes=2))
    assert str(refusal.value) == (
        "spec.roles[0].multinode.workerTemplate: needed for 2 nodes of engine custom; it may use "
        "$(LWS_LEADER_ADDRESS) and $(LWS_WORKER_INDEX). Or, if vllm or sglang runs here, write its command and args "
        "as lists without a shell, and name it in engine"
    )


def test_a_worker_is_not_derived() -> None:
    with pytest.raises(InvalidSpec, match="needed for 2 nodes"):
        ENGINE.worker(a(), make.role_of(a(), nodes=2))


def test_there_is_no_backend_to_choose() -> None:
    role = make.role_of(a(), nodes=2, backend="mp", workerTemplate=make.a_template())
    with pytest.raises(InvalidSpec) as refusal:
        ENGINE.leader(a(), role)
    assert str(refusal.value) == "spec.roles[0].multinode.backend: 'mp': custom has no backends; remove it"
