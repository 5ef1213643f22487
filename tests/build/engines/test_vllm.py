"""vLLM: what is added to its words, on one node and on several."""

from __future__ import annotations

from typing import Any

import pytest

from fusioninfer.api.service import InvalidSpec, Manifest, Role
from fusioninfer.build.engines import Launch
from fusioninfer.build.engines.vllm import ENGINE
from tests import make

IMAGE = "vllm/vllm-openai:v0.32.0"
HEALTH = {"httpGet": {"path": "/health", "port": 8000}}
ENV = (
    {"name": "VLLM_ENGINE_READY_TIMEOUT_S", "value": "3600"},
    {"name": "VLLM_HOST_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
)
WHERE = "spec.roles[0].template.spec.containers[engine]"


def a(*args: str, gpus: int = 0, **fields: Any) -> Manifest:
    """vLLM by its image's entry point with `args`, in a pod of `gpus` GPUs."""
    resources = {"resources": {"limits": {"nvidia.com/gpu": gpus}}} if gpus else {}
    return {"name": "engine", "image": IMAGE, **({"args": list(args)} if args else {}), **resources, **fields}


def leader(container: Manifest, **role: Any) -> Launch:
    return ENGINE.leader(container, make.role_of(container, **role))


def worker(container: Manifest, **role: Any) -> Launch:
    return ENGINE.worker(container, make.role_of(container, **role))


def refusal_of(container: Manifest, **role: Any) -> str:
    with pytest.raises(InvalidSpec) as refusal:
        leader(container, **role)
    return str(refusal.value)


# --- one node -----------------------------------------------------------------------------------------------------


def test_one_node() -> None:
    assert leader(a("--model", "qwen")) == Launch(
        port=8000,
        args=("--model", "qwen", "--shutdown-timeout", "40"),
        alive=HEALTH,
        ready=HEALTH,
        env=ENV,
    )


@pytest.mark.parametrize(
    ("container", "args"),
    [
        pytest.param(a("qwen"), ("qwen", "--shutdown-timeout", "40"), id="the image's entry point"),
        pytest.param(
            a("--model", "qwen", command=["python3", "-m", "vllm.entrypoints.openai.api_server"]),
            ("--model", "qwen", "--shutdown-timeout", "40"), id="by module",
        ),
        pytest.param(a(command=["vllm", "serve", "qwen"]), ("--shutdown-timeout", "40"), id="all in command"),
        pytest.param(a("qwen", "--shutdown-timeout", "5"), ("qwen", "--shutdown-timeout", "5"), id="as the user says"),
        pytest.param(a("qwen", "--shutdown_timeout=5"), ("qwen", "--shutdown_timeout=5"), id="in another spelling"),
        pytest.param(a(), (), id="the image's own args stay"),
        pytest.param(a("qwen", command=["/start"]), ("qwen",), id="another program"),
        pytest.param(a(command=["bash", "-c", "vllm serve qwen"]), (), id="in a shell"),
        pytest.param(
            a("vllm", "serve", "qwen", command=["bash", "-c", 'exec "$@"', "x"]), ("vllm", "serve", "qwen"),
            id="behind a shell",
        ),
    ],
)  # fmt: skip
def test_what_is_appended_on_one_node(container: Manifest, args: tuple[str, ...]) -> None:
    assert leader(container).args == args
    assert leader(container).command is None


@pytest.mark.parametrize(
    ("image", "knows"),
    [
        ("vllm/vllm-openai:v0.17.1", False),
        ("vllm/vllm-openai:0.9.0.1-cu129", False),
        ("vllm/vllm-openai:v0.17.1@sha256:00", False),
        ("vllm/vllm-openai:v0.18.0", True),
        ("vllm/vllm-openai:v1.0.0", True),
        ("vllm/vllm-openai:nightly-0123456789", True),
        ("vllm/vllm-openai", True),
        ("ghcr.io/llm-d/llm-d-cuda:v0.7.0", True),
    ],
)
def test_servers_before_0_18_do_not_know_the_shutdown_timeout(image: str, knows: bool) -> None:
    assert ("--shutdown-timeout" in leader(a("qwen", image=image)).args) is knows


@pytest.mark.parametrize(
    ("spec", "lifecycle", "seconds"),
    [
        pytest.param({}, None, "40", id="60 of grace, 5 of drain, 15 to clean up"),
        pytest.param({"terminationGracePeriodSeconds": 300}, None, "280", id="more grace"),
        pytest.param({"terminationGracePeriodSeconds": 30}, None, "10", id="less grace"),
        pytest.param({"terminationGracePeriodSeconds": 10}, None, "1", id="hardly any"),
        pytest.param({"terminationGracePeriodSeconds": 0}, None, "1", id="none"),
        pytest.param({}, {"preStop": {"sleep": {"seconds": 20}}}, "25", id="the user's drain"),
        pytest.param({}, {"preStop": {"exec": {"command": ["x"]}}}, "40", id="a drain of unknown length"),
    ],
)
def test_requests_are_finished_within_the_time_to_end(spec: Manifest, lifecycle: Manifest | None, seconds: str) -> None:
    container = a("qwen", lifecycle=lifecycle) if lifecycle else a("qwen")
    role = make.a_service(make.a_role(template=make.a_template(container, **spec))).roles[0]

    assert ENGINE.leader(container, role).args == ("qwen", "--shutdown-timeout", seconds)


@pytest.mark.parametrize(
    ("container", "port"),
    [
        pytest.param(a("qwen", ports=[{"containerPort": 9}]), 8000, id="a declared port is not believed"),
        pytest.param(a("qwen", "--port", "9000"), 9000, id="by flag"),
        pytest.param(a(command=["x", "--port", "1", "vllm", "serve", "qwen"]), 8000, id="another one's flag"),
        pytest.param(
            a(command=["sh", "-c", "vllm serve --port 9"], ports=[{"containerPort": 9}]), 9,
            id="in a shell a declared port is all there is",
        ),
    ],
)  # fmt: skip
def test_where_it_answers(container: Manifest, port: int) -> None:
    health = {"httpGet": {"path": "/health", "port": port}}

    assert (leader(container).port, leader(container).alive, leader(container).ready) == (port, health, health)


def test_a_slow_start_may_take_as_long_as_the_role_says() -> None:
    role = make.a_service(make.a_role(progressDeadlineSeconds=7200)).roles[0]

    assert ENGINE.leader(a("qwen"), role).env[0] == {"name": "VLLM_ENGINE_READY_TIMEOUT_S", "value": "7200"}


# --- several nodes ------------------------------------------------------------------------------------------------


def test_leader_of_two_nodes() -> None:
    assert leader(a("--model", "Qwen/Qwen3-8B", "--tensor-parallel-size", "16", gpus=8), nodes=2) == Launch(
        port=8000,
        args=(
            "--model", "Qwen/Qwen3-8B", "--tensor-parallel-size", "16",
            "--distributed-executor-backend", "mp",
            "--nnodes", "2", "--node-rank", "0", "--master-addr", "$(VLLM_HOST_IP)", "--master-port", "29501",
            "--shutdown-timeout", "40",
        ),
        alive=HEALTH,
        ready=HEALTH,
        env=ENV,
        needs_shared_memory=True,
    )  # fmt: skip


def test_worker_of_two_nodes() -> None:
    assert worker(a("--model", "Qwen/Qwen3-8B", "--tensor-parallel-size", "16", gpus=8), nodes=2) == Launch(
        port=None,
        command=("vllm", "serve"),
        args=(
            "--model", "Qwen/Qwen3-8B", "--tensor-parallel-size", "16",
            "--distributed-executor-backend", "mp",
            "--nnodes", "2", "--node-rank", "$(LWS_WORKER_INDEX)",
            "--master-addr", "$(LWS_LEADER_ADDRESS)", "--master-port", "29501",
            "--headless",
        ),
        env=ENV,
        needs_shared_memory=True,
    )  # fmt: skip


OURS = (
    "--distributed-executor-backend", "mp",
    "--nnodes", "2", "--node-rank", "0", "--master-addr", "$(VLLM_HOST_IP)", "--master-port", "29501",
    "--shutdown-timeout", "40",
)  # fmt: skip
WORKERS = (
    "--distributed-executor-backend", "mp",
    "--nnodes", "2", "--node-rank", "$(LWS_WORKER_INDEX)",
    "--master-addr", "$(LWS_LEADER_ADDRESS)", "--master-port", "29501",
)  # fmt: skip
HEADLESS = (*WORKERS, "--headless")
TP = ("-tp", "16")


@pytest.mark.parametrize(
    ("container", "command", "args"),
    [
        pytest.param(a("qwen", *TP), ("vllm", "serve"), ("qwen", *TP), id="the image's entry point"),
        pytest.param(a("serve", "qwen", *TP), ("vllm",), ("serve", "qwen", *TP), id="an entry point of vllm alone"),
        pytest.param(
            a("qwen", *TP, command=["/opt/venv/bin/vllm", "serve"]), ("/opt/venv/bin/vllm", "serve"), ("qwen", *TP),
            id="vllm of one's own",
        ),
        pytest.param(
            a("serve", "qwen", *TP, command=["vllm"]), ("vllm",), ("serve", "qwen", *TP), id="over command and args"
        ),
        pytest.param(
            a(command=["numactl", "-m", "0", "vllm", "serve", "qwen", *TP]),
            ("numactl", "-m", "0", "vllm", "serve", "qwen", *TP), (), id="behind numactl, all in command",
        ),
        pytest.param(
            a("vllm", "serve", "qwen", *TP, image="mine"), None, ("vllm", "serve", "qwen", *TP), id="all in args"
        ),
        pytest.param(
            a("--model", "qwen", *TP, command=["python3.12", "-u", "-m", "vllm.entrypoints.openai.api_server"]),
            ("python3.12", "-u", "-m", "vllm.entrypoints.cli.main", "serve"), ("--model", "qwen", *TP),
            id="by module, which would ignore --headless",
        ),
        pytest.param(
            a("-m", "vllm.entrypoints.launchers.api_server.entry", *TP, command=["python3"]),
            ("python3",), ("-m", "vllm.entrypoints.cli.main", "serve", *TP), id="by module, over command and args",
        ),
        pytest.param(
            a("qwen", *TP, command=["python3", "-m", "vllm.entrypoints.cli.main", "serve"]),
            ("python3", "-m", "vllm.entrypoints.cli.main", "serve"), ("qwen", *TP), id="by the module that knows it",
        ),
    ],
)  # fmt: skip
def test_a_worker_is_run_by_what_knows_headless(
    container: Manifest, command: tuple[str, ...] | None, args: tuple[str, ...]
) -> None:
    assert worker(container, nodes=2).command == command
    assert worker(container, nodes=2).args == (*args, *HEADLESS)
    assert leader(container, nodes=2).command is None
    assert leader(container, nodes=2).args == (*container.get("args", ()), *OURS)


@pytest.mark.parametrize(
    ("args", "kept"),
    [
        pytest.param(("qwen", "-asc", "4", *TP), ("qwen", *TP), id="-asc 4"),
        pytest.param(("qwen", *TP, "--api_server_count=4"), ("qwen", *TP), id="--api_server_count=4"),
        pytest.param(("qwen", "--grpc", *TP, "--grpc-port", "1"), ("qwen", *TP), id="gRPC"),
        pytest.param(
            ("qwen", "--no-data-parallel-hybrid-lb", *TP), ("qwen", *TP), id="hybrid balancing that is taken back"
        ),
        pytest.param(
            ("qwen", "--port", "9", "--api-key", "x", *TP), ("qwen", "--port", "9", "--api-key", "x", *TP),
            id="what is harmless",
        ),
        pytest.param(
            ("qwen", "--kv-transfer-config", '{"a": "--grpc -asc 4"}', *TP),
            ("qwen", "--kv-transfer-config", '{"a": "--grpc -asc 4"}', *TP), id="JSON, byte for byte",
        ),
    ],
)  # fmt: skip
def test_a_worker_lacks_what_is_for_the_http_server_only(args: tuple[str, ...], kept: tuple[str, ...]) -> None:
    assert worker(a(*args), nodes=2).args == (*kept, *HEADLESS)
    assert worker(a(command=["vllm", "serve", *args]), nodes=2).command == ("vllm", "serve", *kept)
    assert leader(a(*args), nodes=2).args == (*args, *OURS)


def test_data_parallel_ranks_are_left_to_vllm() -> None:
    container = a("qwen", "--data-parallel-size", "16", "--enable-expert-parallel", gpus=8)

    assert leader(container, nodes=2).args == (*container["args"], *OURS)
    assert worker(container, nodes=2).args == (*container["args"], *HEADLESS)


def test_with_hybrid_balancing_every_node_answers() -> None:
    container = a("qwen", "-dp", "16", "-dph", "-asc", "4", "--port", "9000", gpus=8)
    health = {"httpGet": {"path": "/health", "port": 9000}}

    assert leader(container, nodes=2).args == (*container["args"], *OURS)
    assert worker(container, nodes=2) == Launch(
        port=9000,
        args=("qwen", "-dp", "16", "-dph", "-asc", "4", "--port", "9000", *WORKERS, *OURS[-2:]),
        alive=health,
        ready=health,
        env=ENV,
        needs_shared_memory=True,
    )


@pytest.mark.parametrize(
    ("args", "leaders", "workers"),
    [
        pytest.param(
            ("--distributed-executor-backend", "mp"),
            ("--nnodes", "2", "--node-rank", "0", "--master-addr", "$(VLLM_HOST_IP)", "--master-port", "29501"),
            ("--nnodes", "2", "--node-rank", "$(LWS_WORKER_INDEX)", "--master-addr", "$(LWS_LEADER_ADDRESS)",
             "--master-port", "29501", "--headless"),
            id="the backend",
        ),
        pytest.param(
            ("--master-port", "1234"),
            ("--distributed-executor-backend", "mp",
             "--nnodes", "2", "--node-rank", "0", "--master-addr", "$(VLLM_HOST_IP)"),
            ("--distributed-executor-backend", "mp",
             "--nnodes", "2", "--node-rank", "$(LWS_WORKER_INDEX)", "--master-addr", "$(LWS_LEADER_ADDRESS)",
             "--headless"),
            id="the port",
        ),
        pytest.param(
            ("-n", "2", "-r", "$(LWS_WORKER_INDEX)", "--master-addr=$(LWS_LEADER_ADDRESS)"),
            ("--distributed-executor-backend", "mp"),
            ("--distributed-executor-backend", "mp", "--headless"),
            id="how the nodes find each other",
        ),
        pytest.param(
            ("-n", "$(LWS_GROUP_SIZE)", "-r", "$(LWS_WORKER_INDEX)", "--master-addr", "$(LWS_LEADER_ADDRESS)"),
            ("--distributed-executor-backend", "mp"),
            ("--distributed-executor-backend", "mp", "--headless"),
            id="their number by a variable",
        ),
    ],
)  # fmt: skip
def test_what_the_user_says_is_not_said_again(
    args: tuple[str, ...], leaders: tuple[str, ...], workers: tuple[str, ...]
) -> None:
    container = a("qwen", *TP, *args)

    assert leader(container, nodes=2).args == ("qwen", *TP, *args, *leaders, *OURS[-2:])
    assert worker(container, nodes=2).args == ("qwen", *TP, *args, *workers)


def test_the_backend_may_be_named() -> None:
    assert leader(a("qwen", *TP), nodes=2, backend="mp") == leader(a("qwen", *TP), nodes=2)


# --- GPUs ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("container", "nodes", "warnings"),
    [
        pytest.param(a("qwen", gpus=1), 1, (), id="one"),
        pytest.param(a("qwen", "-tp", "2", "-pp", "2", "-dp", "2", gpus=8), 1, (), id="all of one node"),
        pytest.param(a("qwen", "-tp", "2", "-pcp", "2", "-pp", "4", gpus=8), 2, (), id="all of two nodes"),
        pytest.param(a("qwen", "-tp", "8", "-dcp", "8", gpus=8), 1, (), id="decode context parallel is no factor"),
        pytest.param(a("qwen", "-tp", "64"), 1, (), id="none asked for, as on CPUs"),
        pytest.param(a("qwen", "--tensor-parallel-size=$(TP)", gpus=8), 2, (), id="by a variable"),
        pytest.param(a("qwen", "--config", "x.yaml", gpus=8), 2, (), id="in a file"),
        pytest.param(a("qwen", *TP, "--distributed-executor-backend", "ray", gpus=8), 1, (), id="Ray knows where"),
        pytest.param(a("qwen", "-dp", "16", "-dpb", "ray", gpus=8), 1, (), id="Ray knows where the ranks are"),
        pytest.param(a("qwen", "-dp", "32", "-dpl", "8", "-dpa", "x", gpus=8), 1, (), id="ranks of several roles"),
        pytest.param(a("qwen", "-dp", "32", "-dpn", "3", gpus=1), 1, (), id="one rank of several roles"),
        pytest.param(a("qwen", "-dp", "32", "-dpe", gpus=1), 1, (), id="one of the ranks that others balance"),
        pytest.param(a("qwen", "-dp", "16", "-dpl", "8", gpus=8), 2, (), id="ranks of two nodes"),
        pytest.param(a("qwen", "-tp", "4", "-dp", "2", gpus=2), 4, (), id="ranks of two nodes each"),
        pytest.param(a("qwen", *TP, command=["sh", "-c", "x"], gpus=8), 1, (), id="in a shell"),
        pytest.param(a(gpus=8), 1, (), id="the image's own args"),
        pytest.param(
            a("qwen", "-tp", "8", gpus=8), 2,
            ("4 of 8 GPUs of each pod stay idle: --tensor-parallel-size 8 makes 8 processes, 4 on each of 2 nodes",),
            id="idle on two nodes",
        ),
        pytest.param(
            a("qwen", "-tp", "6", gpus=8), 1,
            ("2 of 8 GPUs of each pod stay idle: --tensor-parallel-size 6 makes 6 processes",), id="idle on one node",
        ),
        pytest.param(
            a("qwen", gpus=2), 1,
            ("1 of 2 GPUs of each pod stay idle: no --tensor-parallel-size makes 1 process",), id="no size at all",
        ),
        pytest.param(
            a("qwen", "-tp", "2", resources={"requests": {"amd.com/gpu": "4", "cpu": 1}}), 1,
            ("2 of 4 GPUs of each pod stay idle: --tensor-parallel-size 2 makes 2 processes",), id="other GPUs",
        ),
    ],
)  # fmt: skip
def test_gpus_that_suffice(container: Manifest, nodes: int, warnings: tuple[str, ...]) -> None:
    assert leader(container, nodes=nodes).warnings == warnings


@pytest.mark.parametrize(
    ("container", "nodes", "says"),
    [
        pytest.param(
            a("qwen", *TP, gpus=8), 1,
            "--tensor-parallel-size 16 makes 16 processes, and a pod has 8 GPUs: ask for 16 GPUs in resources.limits, "
            "set multinode.nodeCount to 2, or make the sizes smaller",
            id="on one node",
        ),
        pytest.param(
            a("qwen", "-tp", "8", "-pp", "2", "-dp", "2", gpus=8), 2,
            "--tensor-parallel-size 8 x --pipeline-parallel-size 2 x --data-parallel-size 2 makes 32 processes, 16 on "
            "each of 2 nodes, and a pod has 8 GPUs: ask for 16 GPUs in resources.limits, set multinode.nodeCount to "
            "4, or make the sizes smaller",
            id="on two nodes",
        ),
        pytest.param(
            a("qwen", "-tp", "8"), 3,
            "--tensor-parallel-size 8 makes 8 processes, which 3 nodes cannot share evenly: change the sizes, or "
            "multinode.nodeCount",
            id="not evenly shared",
        ),
        pytest.param(
            a("qwen"), 2,
            "no --tensor-parallel-size makes 1 process, which 2 nodes cannot share evenly: change the sizes, or "
            "multinode.nodeCount",
            id="nothing to share",
        ),
    ],
)  # fmt: skip
def test_gpus_that_do_not_suffice_are_refused(container: Manifest, nodes: int, says: str) -> None:
    assert refusal_of(container, nodes=nodes) == f"{WHERE}.args: {says}"


@pytest.mark.parametrize(
    ("container", "shares"),
    [
        (a("qwen"), False),
        (a("qwen", gpus=1), False),
        (a("qwen", "-tp", "1"), False),
        (a("qwen", gpus=2), True),
        (a("qwen", "-tp", "2"), True),
        (a("qwen", "-pp", "2"), True),
        (a("qwen", "-dp", "2"), True),
        (a("qwen", "-tp", "$(TP)"), False),
        (a("qwen", "-tp", "$(TP)", gpus=2), True),
        (a(command=["sh", "-c", "x"], gpus=1), False),
    ],
)
def test_several_processes_share_memory(container: Manifest, shares: bool) -> None:
    assert leader(container).needs_shared_memory is shares


def test_nodes_of_unknown_sizes_share_memory_too() -> None:
    assert leader(a("qwen", "--config", "x.yaml", gpus=1), nodes=2).needs_shared_memory
    assert worker(a("qwen", "--config", "x.yaml", gpus=1), nodes=2).needs_shared_memory


# --- refused ------------------------------------------------------------------------------------------------------

CUSTOM = "engine: custom with multinode.workerTemplate, which may use $(LWS_LEADER_ADDRESS) and $(LWS_WORKER_INDEX)"
MP_ONLY = (
    "several nodes of vllm find each other by mp only, and its images have no Ray since 0.19; remove it, or write mp"
)
FAMILY = "--nnodes, --node-rank, --master-addr: FusionInfer adds them"


@pytest.mark.parametrize(
    ("container", "role", "says"),
    [
        pytest.param(
            a("qwen", *TP), {"backend": "ray"}, f"spec.roles[0].multinode.backend: 'ray': {MP_ONLY}", id="ray"
        ),
        pytest.param(
            a("qwen", *TP), {"backend": "mpi"}, f"spec.roles[0].multinode.backend: 'mpi': {MP_ONLY}", id="mpi"
        ),
        pytest.param(
            a("qwen", *TP, "--distributed-executor-backend=ray"), {},
            f"{WHERE}.args: --distributed-executor-backend ray: {MP_ONLY}", id="ray by flag",
        ),
        pytest.param(
            a("qwen", "-dp", "2", "-dpb", "ray"), {}, f"{WHERE}.args: --data-parallel-backend ray: {MP_ONLY}",
            id="ray for data parallel",
        ),
        pytest.param(
            a(command=["bash", "-c", "vllm serve qwen"]), {},
            f"{WHERE}.command: a shell's script cannot be completed for several nodes: write command and args as "
            f'lists, such as ["vllm", "serve", "<model>"], or {CUSTOM}',
            id="in a shell",
        ),
        pytest.param(
            a("qwen", command=["/start"]), {},
            f"{WHERE}.args: it cannot be told which of these words the engine reads: write "
            f'["vllm", "serve", "<model>"], or {CUSTOM}',
            id="another program",
        ),
        pytest.param(
            a(), {},
            f"{WHERE}.args: empty: flags for several nodes are appended to args, and in their presence the image's own "
            'default args do not count; write the model in args, such as ["vllm", "serve", "<model>"]',
            id="nothing written",
        ),
        pytest.param(
            a("qwen", *TP, "--headless"), {},
            f"{WHERE}.args: --headless: the template is that of the process which answers; remove it; FusionInfer "
            "adds --headless to the others' (multinode.nodeCount)",
            id="headless",
        ),
        pytest.param(
            a("qwen", *TP, "-n", "2"), {},
            f"{WHERE}.args: --nnodes without --node-rank, --master-addr: give all or none; FusionInfer adds them where "
            "none is",
            id="the nodes' number only",
        ),
        pytest.param(
            a("qwen", *TP, "-r", "$(R)", "--master-addr", "x"), {},
            f"{WHERE}.args: --node-rank, --master-addr without --nnodes: give all or none; FusionInfer adds them where "
            "none is",
            id="all but the nodes' number",
        ),
        pytest.param(
            a("qwen", *TP, "-n", "4", "-r", "$(R)", "--master-addr", "x"), {},
            f"{WHERE}.args: --nnodes 4 is not multinode.nodeCount, 2; write 2, or remove {FAMILY}",
            id="another number of nodes",
        ),
        pytest.param(
            a("qwen", *TP, "-n", "2", "-r", "0", "--master-addr", "x"), {},
            f"{WHERE}.args: --node-rank 0 would be the same on every node; write $(LWS_WORKER_INDEX), or remove "
            f"{FAMILY}",
            id="the same rank on every node",
        ),
        pytest.param(
            a("qwen", "-dp", "2", "--data-parallel-start-rank", "0"), {},
            f"{WHERE}.args: --data-parallel-start-rank 0: on several nodes vLLM infers it from --node-rank; remove it",
            id="start rank",
        ),
        pytest.param(
            a("qwen", "-dp", "2", "-dpn", "$(LWS_WORKER_INDEX)"), {},
            f"{WHERE}.args: --data-parallel-rank $(LWS_WORKER_INDEX): on several nodes vLLM infers it from "
            "--node-rank; remove it",
            id="rank",
        ),
        pytest.param(
            a("qwen", "-dp", "2", "-dpa", "x"), {},
            f"{WHERE}.args: --data-parallel-address x: on several nodes vLLM infers it from --node-rank; remove it",
            id="address",
        ),
        pytest.param(
            a("qwen", "-dp", "16", "-dpl", "4"), {},
            f"{WHERE}.args: --data-parallel-size-local 4: each of 2 nodes has 8; remove it", id="local ranks",
        ),
        pytest.param(
            a("qwen", *TP, "-dpl", "0"), {},
            f"{WHERE}.args: --data-parallel-size-local 0: each of 2 nodes has 1; remove it", id="no local ranks",
        ),
        pytest.param(
            a("qwen", "-dp", "2", "-dpe"), {},
            f"{WHERE}.args: --data-parallel-external-lb: the ports of several nodes would each be an endpoint of its "
            "own; remove it, so that the first node balances, or write --data-parallel-hybrid-lb: then each pod "
            "serves its own ranks",
            id="external balancing",
        ),
        pytest.param(
            a("qwen", "-dp", "4", "--data-parallel-multi-port-external-lb"), {},
            f"{WHERE}.args: --data-parallel-multi-port-external-lb: the ports of several nodes would each be an "
            "endpoint of its own; remove it, so that the first node balances, or write --data-parallel-hybrid-lb: "
            "then each pod serves its own ranks",
            id="external balancing by several ports",
        ),
        pytest.param(
            a("qwen", *TP, "-dph"), {},
            f"{WHERE}.args: --data-parallel-hybrid-lb: each of 2 nodes needs ranks of its own, and "
            "--data-parallel-size is 1; make it a multiple of 2",
            id="hybrid balancing of a rank over two nodes",
        ),
        pytest.param(
            a("qwen", "-tp", "2", "-dp", "3"), {},
            f"{WHERE}.args: --data-parallel-size 3: 2 nodes cannot share its ranks evenly; make one of the two a "
            "multiple of the other",
            id="a rank over an edge",
        ),
        pytest.param(
            a("qwen", "-dp", "2", image="vllm/vllm-openai:v0.17.1"), {},
            f"{WHERE}.args: --data-parallel-size 2: vLLM before 0.18 cannot spread it by --nnodes, and the image's tag "
            "is v0.17.1; use an image of 0.18 or newer",
            id="data parallel before 0.18",
        ),
    ],
)  # fmt: skip
def test_what_cannot_work_on_two_nodes_is_refused(container: Manifest, role: dict[str, Any], says: str) -> None:
    assert refusal_of(container, nodes=2, **role) == says
    with pytest.raises(InvalidSpec):
        worker(container, nodes=2, **role)


@pytest.mark.parametrize(
    ("container", "says"),
    [
        pytest.param(
            a("qwen", "--headless"),
            f"{WHERE}.args: --headless: the template is that of the process which answers; remove it; FusionInfer "
            "adds --headless to the others' (multinode.nodeCount)",
            id="headless",
        ),
        pytest.param(
            a("qwen", "-asc", "0"),
            f"{WHERE}.args: --api-server-count 0: the template is that of the process which answers; remove it; "
            "FusionInfer adds --headless to the others' (multinode.nodeCount)",
            id="headless by another word",
        ),
        pytest.param(
            a("qwen", "-tp", "16", "--nnodes", "2", "-r", "0", "--master-addr", "x", gpus=8),
            f"{WHERE}.args: --nnodes 2, and the role has one node per copy: set multinode.nodeCount to 2 and remove "
            "--nnodes; FusionInfer adds it",
            id="several nodes in a role of one",
        ),
    ],
)
def test_what_cannot_work_on_one_node_is_refused(container: Manifest, says: str) -> None:
    assert refusal_of(container) == says


@pytest.mark.parametrize("args", [("--nnodes", "1"), ("--nnodes", "$(N)"), ("-r", "0"), ("-asc", "2")])
def test_what_says_no_more_than_one_node_is_left_alone(args: tuple[str, ...]) -> None:
    assert leader(a("qwen", *args)).args[:3] == ("qwen", *args)


def test_a_version_before_0_18_spreads_one_rank() -> None:
    assert leader(a("qwen", *TP, image="vllm/vllm-openai:v0.17.1"), nodes=2).args == ("qwen", *TP, *OURS[:-2])


@pytest.mark.parametrize(
    ("container", "is_told"),
    [
        (a("vllm", "serve", "qwen"), True),
        (a("qwen", command=["vllm", "serve"]), False),
        (a("qwen"), False),
        (a("vllm", "serve", "qwen", image="mine"), False),
    ],
)
def test_a_server_that_the_image_may_start_already_is_told(container: Manifest, is_told: bool) -> None:
    told = (
        "args begin with the server, and so does the entry point of images called vllm-openai: if this one's does, "
        "write the server in command, or leave it out"
    )
    assert leader(container).warnings == ((told,) if is_told else ())


def test_roles_are_named_by_where_they_stand() -> None:
    container = a("qwen", "--headless")
    role = Role("decode", "decoder", make.a_template(container), 1, path="spec.roles[3]")

    with pytest.raises(InvalidSpec, match=r"^spec.roles\[3\].template"):
        ENGINE.leader(container, role)
