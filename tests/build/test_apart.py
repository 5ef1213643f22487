"""Prefillers and decoders: what their pods are told, who listens where, and what cannot go together."""

from __future__ import annotations

from typing import Any

import pytest
from fusioninfer_engine_sim import ENGINE as SIM

from fusioninfer.api import names
from fusioninfer.api.service import InvalidSpec, Manifest
from fusioninfer.build.desired import Desired, EngineObjects
from fusioninfer.build.engines import Sidecar
from tests import make

NIXL = '{"kv_connector":"NixlConnector","kv_role":"kv_both"}'
SGLANG = {"name": "engine", "image": "lmsysorg/sglang:v0.5.4", "command": ["python3", "-m", "sglang.launch_server"]}
CUSTOM = {"name": "engine", "image": "mine:1", "ports": [{"containerPort": 8000}]}


def a_pair(
    prefill: Manifest | None = None, decode: Manifest | None = None, *more: Manifest, **spec: Any
) -> dict[str, EngineObjects]:
    """What is made of a prefiller and a decoder with these containers, by the roles' names."""
    return {objects.role.name: objects for objects in a_service(prefill, decode, *more, **spec).roles}


def a_service(
    prefill: Manifest | None = None, decode: Manifest | None = None, *more: Manifest, **spec: Any
) -> Desired:  # fmt: skip
    given = (prefill or vllm(), decode or vllm())
    roles = [
        {**role, "template": make.a_template(container)}
        for role, container in zip(make.prefill_and_decode(), given, strict=True)
    ]
    return make.desired(*roles, *more, **spec)


def refusal(prefill: Manifest | None = None, decode: Manifest | None = None, *more: Manifest, **spec: Any) -> str:
    with pytest.raises(InvalidSpec) as caught:
        a_service(prefill, decode, *more, **spec)
    return str(caught.value)


def vllm(*args: str, **fields: Any) -> Manifest:
    return make.a_container(args=["--model", "qwen", *args], **fields)


def sglang(*args: str) -> Manifest:
    return {**SGLANG, "args": ["--model-path", "qwen", *args]}


def engine(objects: EngineObjects, of: int = 0) -> Manifest:
    """The engine's container, of a leader or (1) a worker."""
    (container,) = (c for c in objects.templates[of]["spec"]["containers"] if c["name"] == "engine")
    return dict(container)


def sidecar(objects: EngineObjects) -> Manifest:
    (container,) = (c for c in objects.templates[0]["spec"]["initContainers"] if c["name"] == "pd-sidecar")
    return dict(container)


def labels(objects: EngineObjects) -> Manifest:
    return dict(objects.templates[0]["metadata"]["labels"])


def env(container: Manifest) -> dict[str, Any]:
    return {variable["name"]: variable.get("value", variable.get("valueFrom")) for variable in container["env"]}


# --- vLLM ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["prefill", "decode"])
def test_both_sides_of_vllm_hand_the_cache_over_by_nixl(side: str) -> None:
    container = engine(a_pair()[side])

    assert container["args"][container["args"].index("--kv-transfer-config") + 1] == NIXL
    assert env(container)["VLLM_NIXL_SIDE_CHANNEL_HOST"] == {"fieldRef": {"fieldPath": "status.podIP"}}
    assert env(container)["VLLM_NIXL_SIDE_CHANNEL_PORT"] == "5600"


def test_every_process_of_a_copy_is_told() -> None:
    desired = make.desired(*make.prefill_and_decode(nodes=(4, 2)))

    for objects in desired.roles:
        for of in (0, 1):
            container = engine(objects, of)
            assert NIXL in container["args"]
            assert "VLLM_NIXL_SIDE_CHANNEL_HOST" in env(container)


def test_workers_of_a_copy_answer_nobody_and_have_no_sidecar() -> None:
    decode = make.desired(*make.prefill_and_decode(nodes=(4, 2))).roles[1]

    assert sidecar(decode)
    worker = decode.templates[1]
    assert "initContainers" not in worker["spec"]
    assert "--port" not in engine(decode, 1)["args"]
    assert not {names.SERVING_LABEL, names.KV_REVISION, "llm-d.ai/role"} & worker["metadata"]["labels"].keys()


def test_with_hybrid_balancing_every_pod_of_a_decoder_has_a_sidecar() -> None:
    args = ["--model", "qwen", "--data-parallel-size", "2", "--data-parallel-hybrid-lb"]
    roles = [
        {**role, "template": make.a_template(make.a_container(args=args)), "multinode": {"nodeCount": 2}}
        for role in make.prefill_and_decode()
    ]
    _, decode = make.desired(*roles).roles

    for template in decode.templates:
        assert [c["name"] for c in template["spec"]["initContainers"]] == ["pd-sidecar"]
        assert template["metadata"]["labels"]["llm-d.ai/role"] == "decode"


def test_a_worker_of_a_whole_service_is_told_nothing_of_it() -> None:
    (worker,) = make.desired().roles

    assert "--kv-transfer-config" not in engine(worker)["args"]
    assert "initContainers" not in worker.templates[0]["spec"]
    assert not {names.KV_REVISION, "llm-d.ai/role"} & labels(worker).keys()
    assert worker.serves_alone


@pytest.mark.parametrize(
    ("args", "protocol"),
    [
        (("--kv-transfer-config", NIXL), "nixlv2"),
        ((f"--kv_transfer_config={NIXL}",), "nixlv2"),
        (("--kv-transfer-config.kv_connector", "NixlPullConnector"), "nixlv2"),
        (("--kv-transfer-config.kv_connector=NixlPushConnector", "--kv-transfer-config.kv_role=kv_both"), "nixlv2"),
        (("--kv-transfer-config", '{"kv_connector":"SharedStorageConnector","kv_role":"kv_both"}'), "shared-storage"),
        (("--kv-transfer-config", '{"kv_connector":"ExampleConnector","kv_role":"kv_both"}'), "shared-storage"),
        (
            (
                "--kv-transfer-config",
                '{"kv_connector":"MultiConnector","kv_role":"kv_both","kv_connector_extra_config":{"connectors":'
                '[{"kv_connector":"SimpleCPUOffloadConnector"},{"kv_connector":"NixlConnector"}]}}',
            ),
            "nixlv2",
        ),
    ],
    ids=["JSON", "underscores", "dotted", "dotted with =", "shared storage", "its new name", "one of several"],
)
def test_a_connector_of_the_users_is_kept_and_the_sidecar_fits(args: tuple[str, ...], protocol: str) -> None:
    pair = a_pair(vllm(*args), vllm(*args))

    for objects in pair.values():
        words = engine(objects)["args"]
        assert words[: len(args) + 2] == ["--model", "qwen", *args]
        assert sum("kv" in word and word.startswith("--kv") for word in words) == sum(
            a.startswith("--kv") for a in args
        )
    assert f"--kv-connector={protocol}" in sidecar(pair["decode"])["args"]


def test_what_kubelet_would_expand_in_the_users_config_is_left_to_it() -> None:
    config = '{"kv_connector":"NixlConnector","kv_role":"kv_both","engine_id":"$(POD_NAME)"}'

    assert config in engine(a_pair(vllm("--kv-transfer-config", config), vllm())["prefill"])["args"]


def test_the_users_own_side_channel_wins() -> None:
    own = [{"name": "VLLM_NIXL_SIDE_CHANNEL_PORT", "value": "7000"}]

    assert env(engine(a_pair(vllm(env=own))["prefill"]))["VLLM_NIXL_SIDE_CHANNEL_PORT"] == "7000"


def test_mooncake_gives_each_side_its_part_where_the_release_knows_it() -> None:
    router = make.a_router(pickerRelease="llm-d-router-0.10")
    pair = a_pair(None, None, router, disaggregation={"connector": "mooncake"})

    assert '{"kv_connector":"MooncakeConnector","kv_role":"kv_producer"}' in engine(pair["prefill"])["args"]
    assert '{"kv_connector":"MooncakeConnector","kv_role":"kv_consumer"}' in engine(pair["decode"])["args"]
    assert "VLLM_NIXL_SIDE_CHANNEL_HOST" not in env(engine(pair["decode"]))
    assert "--kv-connector=mooncake" in sidecar(pair["decode"])["args"]


# --- the sidecar --------------------------------------------------------------------------------------------------


def test_a_decoders_engine_makes_way_for_the_sidecar() -> None:
    pair = a_pair(vllm("--port", "9000"), vllm("--port", "9000"))
    container = engine(pair["decode"])

    assert container["args"][-2:] == ["--port", "8200"]
    assert container["ports"] == [{"containerPort": 8200}]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["port"] == 8200
    assert {"--port=9000", "--vllm-port=8200", "--secure-proxy=false"} <= set(sidecar(pair["decode"])["args"])
    assert sidecar(pair["decode"])["ports"] == [{"name": "http", "containerPort": 9000}]
    assert {objects.port for objects in pair.values()} == {9000}
    assert engine(pair["prefill"])["ports"] == [{"name": "http", "containerPort": 9000}]


@pytest.mark.parametrize(
    ("serving", "declared", "port"),
    [(8000, (), 8200), (8200, (), 8201), (8000, (8200, 8201), 8202)],
    ids=["free", "the serving port", "declared by others"],
)
def test_the_engine_takes_a_port_that_nobody_has(serving: int, declared: tuple[int, ...], port: int) -> None:
    ports = [{"containerPort": number} for number in declared]
    said = vllm("--port", str(serving), ports=ports)

    assert engine(a_pair(said, said)["decode"])["args"][-1] == str(port)


def test_what_the_user_wrote_of_the_port_moves_along() -> None:
    container = vllm(
        ports=[{"name": "api", "containerPort": 8000}, {"name": "other", "containerPort": 9090}],
        readinessProbe={"httpGet": {"path": "/health", "port": "api"}, "periodSeconds": 2},
        livenessProbe={"tcpSocket": {"port": 8000}},
        startupProbe={"httpGet": {"path": "/metrics", "port": "other"}},
        lifecycle={"preStop": {"httpGet": {"path": "/drain", "port": "8000"}}},
    )
    pair = a_pair(container, container)
    decode = engine(pair["decode"])

    assert decode["ports"] == [{"containerPort": 8200}, {"name": "other", "containerPort": 9090}]
    assert decode["readinessProbe"] == {"httpGet": {"path": "/health", "port": 8200}, "periodSeconds": 2}
    assert decode["livenessProbe"] == {"tcpSocket": {"port": 8200}}
    assert decode["startupProbe"] == container["startupProbe"]
    assert decode["lifecycle"]["preStop"]["httpGet"] == {"path": "/drain", "port": 8200}
    assert sidecar(pair["decode"])["ports"] == [{"name": "api", "containerPort": 8000}]
    assert engine(pair["prefill"])["readinessProbe"] == container["readinessProbe"]


def test_the_sidecar_starts_before_the_engine_and_asks_it_nothing_for_that() -> None:
    container = sidecar(a_pair()["decode"])

    assert container["restartPolicy"] == "Always"
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"] == {"path": "/health", "port": 8000}


def test_the_sidecar_passes_pod_security_restricted() -> None:
    assert sidecar(a_pair()["decode"])["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }


@pytest.mark.parametrize("written", [[{"name": "fetch", "image": "x"}], [], None])
def test_the_sidecar_comes_after_what_the_user_prepares(written: list[Manifest] | None) -> None:
    roles = make.prefill_and_decode()
    roles[1]["template"]["spec"]["initContainers"] = written
    _, decode = make.desired(*roles).roles

    names_of = [container["name"] for container in decode.templates[0]["spec"]["initContainers"]]
    assert names_of == [*(container["name"] for container in written or ()), "pd-sidecar"]


def test_prefillers_answer_themselves() -> None:
    assert "initContainers" not in a_pair()["prefill"].templates[0]["spec"]


def test_a_router_that_is_added_restarts_neither_side() -> None:
    without, with_ = a_pair(), a_pair(None, None, make.a_router())

    for name, objects in without.items():
        assert with_[name].workload["spec"] == objects.workload["spec"]


def test_each_release_has_its_own_sidecar() -> None:
    new = sidecar(a_pair(None, None, make.a_router(pickerRelease="llm-d-router-0.10"))["decode"])

    assert new["image"] == "ghcr.io/llm-d/llm-d-router-disagg-sidecar:v0.10.0"
    assert "--model-server-port=8200" in new["args"]


# --- labels -------------------------------------------------------------------------------------------------------


def test_the_picker_tells_the_sides_apart_by_their_labels() -> None:
    assert {name: labels(objects)["llm-d.ai/role"] for name, objects in a_pair().items()} == {
        "prefill": "prefill",
        "decode": "decode",
    }


def revisions(prefill: Manifest, decode: Manifest) -> set[str]:
    return {labels(objects)[names.KV_REVISION] for objects in a_pair(prefill, decode).values()}


@pytest.mark.parametrize(
    ("prefill", "decode"),
    [
        pytest.param((), (), id="the same"),
        pytest.param(("--tensor-parallel-size", "4"), ("-tp", "2"), id="parallel sizes that can be mapped"),
        pytest.param(("--max-model-len", "8192"), ("--gpu-memory-utilization=0.8",), id="what concerns one side only"),
        pytest.param(("--kv-transfer-config", NIXL), (), id="a connector said on one side, the same as ours"),
    ],
)
def test_sides_that_fit_have_one_revision(prefill: tuple[str, ...], decode: tuple[str, ...]) -> None:
    assert len(revisions(vllm(*prefill), vllm(*decode))) == 1


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param(vllm(image="vllm/vllm-openai:v0.33.0"), id="version"),
        pytest.param(make.a_container(args=["--model", "other"]), id="model"),
        pytest.param(vllm("--dtype", "float16"), id="dtype"),
        pytest.param(vllm("--kv-cache-dtype", "fp8"), id="cache dtype"),
        pytest.param(vllm("--block-size", "32"), id="block size"),
        pytest.param(vllm("--served-model-name", "a"), id="name"),
        pytest.param(vllm("--kv-transfer-config.kv_connector=NixlPushConnector"), id="connector"),
    ],
)
def test_what_makes_caches_differ_makes_another_revision(changed: Manifest) -> None:
    assert revisions(changed, changed).isdisjoint(revisions(vllm(), vllm()))


# --- SGLang -------------------------------------------------------------------------------------------------------


def test_each_side_of_sglang_is_told_which_it_is() -> None:
    pair = a_pair(sglang(), sglang())

    for name, mode in (("prefill", "prefill"), ("decode", "decode")):
        words = engine(pair[name])["args"]
        for flag, value in (
            ("--disaggregation-mode", mode),
            ("--disaggregation-transfer-backend", "nixl"),
            ("--disaggregation-bootstrap-port", "8998"),
        ):
            assert words[words.index(flag) + 1] == value
    assert "--kv-connector=sglang" in sidecar(pair["decode"])["args"]
    assert "SGLANG_BOOTSTRAP_PORT" not in env(sidecar(pair["decode"]))
    assert "--port=30000" in sidecar(pair["decode"])["args"]


def test_what_the_user_told_sglang_is_kept() -> None:
    own = sglang("--disaggregation-transfer-backend", "mooncake", "--disaggregation-bootstrap-port", "9998")
    pair = a_pair(own, own)

    for objects in pair.values():
        assert engine(objects)["args"].count("--disaggregation-transfer-backend") == 1
    assert env(sidecar(pair["decode"]))["SGLANG_BOOTSTRAP_PORT"] == "9998"


def test_a_connector_said_once_is_that_of_both_sides_of_sglang() -> None:
    for objects in a_pair(sglang(), sglang(), disaggregation={"connector": "mooncake"}).values():
        assert "mooncake" in engine(objects)["args"]


def test_sglangs_decoders_answer_nothing_alone_and_vllms_do() -> None:
    assert not a_pair(sglang(), sglang())["decode"].serves_alone
    assert a_pair()["decode"].serves_alone
    assert not a_pair()["prefill"].serves_alone


# --- custom -------------------------------------------------------------------------------------------------------


def test_a_custom_engine_sees_to_it_itself_and_is_told_so() -> None:
    pair = a_pair(CUSTOM, CUSTOM)

    for name, objects in pair.items():
        assert any("cannot be seen" in warning for warning in objects.warnings)
        assert "initContainers" not in objects.templates[0]["spec"]
        assert labels(objects)["llm-d.ai/role"] == name
        assert names.KV_REVISION not in labels(objects)


def test_a_plug_in_for_an_engine_has_it_in_a_few_lines() -> None:
    container = {"name": "engine", "image": "x", "command": ["llm-d-inference-sim"], "args": ["--port", "9000"]}
    prefill, decode = (
        SIM.leader(container, role)
        for role in make.a_service(
            *({**role, "template": make.a_template(container)} for role in make.prefill_and_decode())
        ).roles
    )

    assert prefill.sidecar is None
    assert decode.sidecar == Sidecar(9000, "nixlv2")
    assert decode.args == ("--port", "9000", "--port", "8200")
    assert prefill.transfer == decode.transfer is not None


# --- warnings -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("container", "more", "warning"),
    [
        pytest.param(vllm(), (), "nothing sends it any prompts yet: the decoders answer alone", id="no router"),
        pytest.param(vllm(), (make.a_router(),), None, id="a router"),
        pytest.param(
            vllm(), (make.a_router(strategy="queue-size"),),
            "strategy queue-size sends it no prompts: the decoders answer alone", id="another strategy",
        ),
        pytest.param(
            sglang(), (),
            "nothing sends it any prompts yet, and the decoders cannot answer without: add a router",
            id="SGLang without a router",
        ),
        pytest.param(
            sglang(), (make.a_router(strategy="queue-size"),),
            "strategy queue-size sends it no prompts, and the decoders cannot answer without: "
            "choose pd-disaggregation", id="SGLang and another strategy",
        ),
    ],
)  # fmt: skip
def test_a_prefiller_that_gets_no_prompts_is_told_of(
    container: Manifest, more: tuple[Manifest, ...], warning: str | None
) -> None:
    told = a_pair(container, container, *more)

    assert [words for words in told["prefill"].warnings if "prompts" in words] == ([warning] if warning else [])
    assert told["decode"].warnings == ()


# --- what is refused ----------------------------------------------------------------------------------------------

PUSH = "--kv-transfer-config.kv_connector=NixlPushConnector"


def config(**fields: str) -> str:
    pairs = ",".join(f'"{key}":"{value}"' for key, value in {"kv_connector": "NixlConnector", **fields}.items())
    return f"--kv-transfer-config={{{pairs}}}"


@pytest.mark.parametrize(
    ("prefill", "decode", "words"),
    [
        pytest.param(vllm(PUSH), vllm(), "takes the KV cache by NixlConnector, and role 'prefill' gives it by "
                     "NixlPushConnector; write one connector in both", id="a connector on one side only"),
        pytest.param(make.a_container(args=["a"]), make.a_container(args=["b"]),
                     "the model is b in role 'decode' and a in role 'prefill'", id="another model"),
        pytest.param(vllm("--served-model-name", "a"), vllm("--served-model-name", "b"),
                     "--served-model-name is b in role 'decode' and a", id="another name"),
        pytest.param(vllm("--served-model-name", "a"), vllm(), "--served-model-name is qwen in role", id="a name once"),
        pytest.param(vllm("--block-size", "16"), vllm("--block-size", "32"), "--block-size is 32", id="blocks"),
        pytest.param(vllm("--dtype=float16"), vllm(), "--dtype is not written in role 'decode'", id="dtype"),
        pytest.param(vllm("-tp", "2"), vllm("-tp", "3"),
                     "one of the two to be a multiple of the other", id="parallel sizes that cannot be mapped"),
        pytest.param(vllm(), vllm("-pp", "2"), "--pipeline-parallel-size 2: decoders", id="a decoder with a pipeline"),
        pytest.param(vllm(config(kv_role="kv_consumer")), vllm(), "a prefiller gives the KV cache away; write "
                     "kv_producer or kv_both", id="a prefiller that takes"),
        pytest.param(vllm(), vllm(config(kv_role="kv_producer")), "a decoder takes the KV cache; write kv_consumer",
                     id="a decoder that gives"),
        pytest.param(vllm(config(engine_id="one")), vllm(), "engine_id 'one' would be that of every copy",
                     id="a fixed engine_id"),
        pytest.param(vllm("--kv-transfer-config", "nixl"), vllm(), "is no JSON object", id="no JSON"),
        pytest.param(vllm(config(kv_connector="LMCacheConnectorV1")), vllm(), "kv_connector 'LMCacheConnectorV1'",
                     id="a connector that the sidecar does not know"),
        pytest.param(vllm(config(kv_connector="MooncakeConnector")), vllm(config(kv_connector="MooncakeConnector")),
                     "choose llm-d-router-0.10 in a router's pickerRelease", id="one that a newer sidecar knows"),
        pytest.param(vllm("--config", "a.yaml"), vllm(), "spec.disaggregation.connector: needed", id="a file"),
        pytest.param(vllm("vllm", "serve", command=["bash", "-c", 'exec "$@"', "x"]), vllm(),
                     "a shell's script cannot be completed to hand over the KV cache", id="a script"),
        pytest.param(vllm(), vllm("--host", "10.0.0.1"), "--host 10.0.0.1: a decoder's sidecar", id="another host"),
        pytest.param(vllm(), sglang("--port", "8000"), "sglang of role 'decode' cannot take the KV cache of vllm",
                     id="other engines"),
        pytest.param(vllm("--port", "9000"), vllm(), "9000 of role 'prefill' and 8000 of role 'decode'", id="ports"),
        pytest.param(sglang("--disaggregation-mode", "decode"), sglang(), "on a prefiller; write prefill",
                     id="the wrong side of SGLang"),
        pytest.param(sglang("--disaggregation-bootstrap-port", "9"), sglang(),
                     "--disaggregation-bootstrap-port is 8998", id="they would not meet"),
        pytest.param({"name": "engine", "image": "x", "command": ["trtllm-serve", "m"]}, vllm(),
                     "under an orchestrator with a fixed list", id="trtllm"),
    ],
)  # fmt: skip
def test_what_cannot_go_together_is_refused_with_what_to_write(prefill: Manifest, decode: Manifest, words: str) -> None:
    assert words in refusal(prefill, decode)


@pytest.mark.parametrize(
    ("container", "said", "words"),
    [
        (vllm(), {"connector": "carrier-pigeon"}, "'carrier-pigeon' is not known for vllm; write nixl or mooncake"),
        (sglang(), {"connector": "carrier-pigeon"}, "'carrier-pigeon' is not known for sglang"),
        (CUSTOM, {"connector": "nixl"}, "engine custom is told nothing of it"),
        (vllm(), {"whenNoPrefiller": "Fail"}, "spec.disaggregation.whenNoPrefiller: Fail: no release of the picker"),
        (sglang(), {"whenNoPrefiller": "DecodeLocally"}, "decoders of sglang compute no prompt; write Fail"),
        (sglang(), {"minUncachedPromptTokens": 16}, "decoders of sglang compute no prompt, however short; remove it"),
    ],
)
def test_what_cannot_be_kept_is_refused(container: Manifest, said: Manifest, words: str) -> None:
    assert words in refusal(container, container, disaggregation=said)


def test_a_strategy_for_prefillers_is_refused_where_there_are_none() -> None:
    with pytest.raises(InvalidSpec, match="sends prompts to prefillers, and there are none"):
        make.desired(make.a_role(), make.a_router(strategy="pd-disaggregation"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"metadata": {"labels": {"llm-d.ai/role": "both"}}}, "labels.llm-d.ai/role: 'both' on a decoder"),
        (
            {"spec": make.a_template(vllm(), {"name": "pd-sidecar", "image": "x"})["spec"]},
            "'pd-sidecar' is the sidecar",
        ),
    ],
    ids=["another side's label", "the sidecar's name"],
)
def test_what_is_ours_is_not_taken(change: Manifest, words: str) -> None:
    prefill, decode = make.prefill_and_decode()

    with pytest.raises(InvalidSpec, match=words):
        make.desired(prefill, {**decode, "template": {**decode["template"], **change}})


def test_every_prefiller_must_fit_every_decoder() -> None:
    roles = [
        {"name": name, "componentType": kind, "template": make.a_template(vllm("-tp", size))}
        for name, kind, size in (("p", "prefiller", "2"), ("d", "decoder", "4"), ("e", "decoder", "3"))
    ]

    assert make.desired(*roles[:2]).roles
    with pytest.raises(InvalidSpec, match="3 in role 'e' and 2 in role 'p'"):
        make.desired(*roles)
