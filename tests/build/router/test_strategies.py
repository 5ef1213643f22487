"""What strategies compile to, and which scorers users may name instead."""

from __future__ import annotations

import json
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from fusioninfer.api.service import InvalidSpec, Manifest, Scorer
from fusioninfer.build.router.config import checked
from fusioninfer.build.router.releases import DEFAULT, Release, releases
from fusioninfer.build.router.strategies import GROUP, Strategy, check_lora, checked_scorers, named
from fusioninfer.build.router.strategies.apart import PD_DISAGGREGATION
from fusioninfer.build.router.strategies.scored import (
    KV_CACHE_UTILIZATION,
    LORA_AFFINITY,
    PREFIX_CACHE,
    QUEUE_SIZE,
)

STRATEGIES: dict[str, Strategy] = {
    strategy.name: strategy
    for strategy in (KV_CACHE_UTILIZATION, LORA_AFFINITY, PD_DISAGGREGATION, PREFIX_CACHE, QUEUE_SIZE)
}
OLD = releases()[DEFAULT]
NEW = releases()["llm-d-router-0.10"]


def test_entry_points_are_the_strategies() -> None:
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())
    entries = project["project"]["entry-points"][GROUP]

    assert {name: EntryPoint(name, value, GROUP).load() for name, value in entries.items()} == STRATEGIES


@pytest.mark.parametrize("engine", [None, "vllm", "sglang", "trtllm", "custom"])
@pytest.mark.parametrize("release", [pytest.param(OLD, id="0.7"), pytest.param(NEW, id="0.10")])
@pytest.mark.parametrize("strategy", STRATEGIES.values(), ids=STRATEGIES)
def test_every_strategy_fits_every_release(strategy: Strategy, release: Release, engine: str | None) -> None:
    sides = {"llm-d.ai/role": frozenset({"prefill", "decode"})}
    for least in (None, 16):
        config = strategy.compile(release, engine=engine, min_uncached_prompt_tokens=least)

        assert checked(json.dumps(config), release, "strategy", sides) == config


def test_a_strategy_is_a_profile_of_its_scorers() -> None:
    config = PREFIX_CACHE.compile(OLD)

    assert config["apiVersion"] == "inference.networking.x-k8s.io/v1alpha1"
    assert "featureGates" not in config
    assert config["schedulingProfiles"] == [
        {
            "name": "default",
            "plugins": [
                {"pluginRef": "prefix-cache-scorer", "weight": 3},
                {"pluginRef": "queue-scorer", "weight": 2},
                {"pluginRef": "kv-cache-utilization-scorer", "weight": 2},
                {"pluginRef": "max-score-picker"},
            ],
        }
    ]
    assert PREFIX_CACHE.compile(NEW)["apiVersion"] == "llm-d.ai/v1alpha1"


def test_scorers_of_the_user_stand_instead_of_the_strategys() -> None:
    config = PREFIX_CACHE.compile(OLD, [Scorer("running-requests-size-scorer", 5)])

    assert [plugin["type"] for plugin in config["plugins"]] == ["running-requests-size-scorer", "max-score-picker"]
    assert config["schedulingProfiles"][0]["plugins"][0] == {"pluginRef": "running-requests-size-scorer", "weight": 5}


def test_another_engine_than_vllm_needs_its_metrics_to_be_named() -> None:
    old, new = QUEUE_SIZE.compile(OLD, engine="sglang"), QUEUE_SIZE.compile(NEW, engine="sglang")

    assert old["featureGates"] == ["dataLayer"]
    assert old["data"]["sources"] == [
        {"pluginRef": "metrics-data-source", "extractors": [{"pluginRef": "model-server-protocol-metrics"}]}
    ]
    assert {"type": "model-server-protocol-metrics", "parameters": {"defaultEngine": "sglang"}} in old["plugins"]
    assert "featureGates" not in new
    assert {"type": "core-metrics-extractor", "parameters": {"defaultEngine": "sglang"}} in new["plugins"]


def test_an_unknown_strategy_is_refused() -> None:
    with pytest.raises(InvalidSpec, match=r"spec.roles\[0\].strategy: 'prefix' is not installed; there are kv-cache"):
        named("prefix", STRATEGIES, "spec.roles[0].strategy")
    assert named("queue-size", STRATEGIES, "") is QUEUE_SIZE


@pytest.mark.parametrize(
    ("scorers", "field", "problem"),
    [
        pytest.param(
            [Scorer("queue-scorer", 1), Scorer("queue", 1)],
            "s[1].type",
            "'queue' is not known to llm-d-inference-scheduler-0.7; its scorers are .*queue-scorer",
            id="unknown",
        ),
        pytest.param([Scorer("max-score-picker", 1)], "s[0].type", "is a picker and no scorer", id="no scorer"),
        pytest.param(
            [Scorer("precise-prefix-cache-scorer", 1)],
            "s[0].type",
            "needs indexerConfig.tokenizersPoolConfig.modelName: write a whole endpointPickerConfig",
            id="needs parameters",
        ),
        pytest.param([Scorer("queue-scorer", 1)] * 2, "s[1].type", "stands here twice", id="twice"),
        pytest.param([Scorer("queue-scorer", 0)], "s", "every weight is 0", id="no weight"),
    ],
)
def test_a_scorer_that_cannot_work_is_refused(scorers: list[Scorer], field: str, problem: str) -> None:
    with pytest.raises(InvalidSpec, match=problem) as refusal:
        checked_scorers(scorers, OLD, "s")

    assert refusal.value.field == field


def test_scorers_are_those_of_the_release() -> None:
    latency = [Scorer("token-load-scorer", 1)]

    assert checked_scorers(latency, NEW, "s") == tuple(latency)
    with pytest.raises(InvalidSpec, match=r"not known to llm-d-inference-scheduler-0\.7"):
        checked_scorers(latency, OLD, "s")


def test_lora_affinity_is_refused_where_no_engine_serves_adapters() -> None:
    with pytest.raises(InvalidSpec, match=r"^r\.strategy: no engine of this service serves LoRA adapters"):
        check_lora(LORA_AFFINITY, (), False, "r")
    with pytest.raises(InvalidSpec, match=r"^r\.scorers\[1\]\.type: "):
        check_lora(QUEUE_SIZE, [Scorer("queue-scorer", 1), Scorer("lora-affinity-scorer", 1)], False, "r")
    check_lora(LORA_AFFINITY, (), True, "r")
    check_lora(QUEUE_SIZE, (), False, "r")


# --- prompts and answers apart ---


def types(config: Manifest) -> list[str]:
    return [plugin["type"] for plugin in config["plugins"]]


def scorers_of(config: Manifest, profile: str) -> dict[str, int]:
    (found,) = (each for each in config["schedulingProfiles"] if each["name"] == profile)
    return {plugin["pluginRef"]: plugin["weight"] for plugin in found["plugins"] if "weight" in plugin}


@pytest.mark.parametrize("release", [pytest.param(OLD, id="0.7"), pytest.param(NEW, id="0.10")])
def test_prefillers_and_decoders_are_told_apart_by_the_labels_that_their_pods_carry(release: Release) -> None:
    config = PD_DISAGGREGATION.compile(release, min_uncached_prompt_tokens=16)

    filters = {each["name"]: each["plugins"][0]["pluginRef"] for each in config["schedulingProfiles"]}
    assert filters == {"prefill": "prefill-filter", "decode": "decode-filter"}
    for side, label in (("prefill", release.sides.prefiller), ("decode", release.sides.decoder)):
        wanted = release.plugins[filters[side]].labels
        assert wanted is not None
        assert (wanted.key, label in wanted.values) == (release.sides.label, True)


@pytest.mark.parametrize("release", [pytest.param(OLD, id="0.7"), pytest.param(NEW, id="0.10")])
def test_who_decides_is_made_before_who_asks_it(release: Release) -> None:
    names = types(PD_DISAGGREGATION.compile(release, min_uncached_prompt_tokens=16))

    assert names.index("prefix-based-pd-decider") < names.index("disagg-profile-handler")


def test_a_prompt_is_worth_a_prefiller_from_so_many_uncached_tokens_on() -> None:
    plugins = PD_DISAGGREGATION.compile(OLD, min_uncached_prompt_tokens=64)["plugins"]

    assert {"type": "prefix-based-pd-decider", "parameters": {"nonCachedTokens": 64}} in plugins
    assert {
        "type": "disagg-profile-handler",
        "parameters": {"deciders": {"prefill": "prefix-based-pd-decider"}},
    } in plugins


def test_where_decoders_compute_no_prompt_all_are_sent_to_prefillers() -> None:
    config = PD_DISAGGREGATION.compile(OLD, engine="sglang")

    assert "always-disagg-pd-decider" in types(config)
    assert "prefix-based-pd-decider" not in types(config)
    assert config["featureGates"] == ["dataLayer"]


def test_each_release_says_in_its_own_way_what_is_cached_and_whom_to_ask() -> None:
    old, new = (PD_DISAGGREGATION.compile(release, min_uncached_prompt_tokens=1) for release in (OLD, NEW))

    assert old["featureGates"] == ["prepareDataPlugins"]
    assert "disagg-headers-handler" in types(old)
    assert "approx-prefix-cache-producer" not in types(old)
    assert "featureGates" not in new
    assert "disagg-headers-handler" not in types(new)
    assert "approx-prefix-cache-producer" in types(new)


def test_what_the_decider_reads_is_there_whatever_scorers_the_user_wants() -> None:
    old, new = (
        PD_DISAGGREGATION.compile(release, [Scorer("queue-scorer", 3)], min_uncached_prompt_tokens=1)
        for release in (OLD, NEW)
    )

    assert "prefix-cache-scorer" in types(old)
    assert "approx-prefix-cache-producer" in types(new)
    for config in (old, new):
        assert scorers_of(config, "prefill") == scorers_of(config, "decode") == {"queue-scorer": 3}


def test_decoders_are_also_picked_by_how_full_their_caches_are() -> None:
    config = PD_DISAGGREGATION.compile(OLD, min_uncached_prompt_tokens=1)

    assert scorers_of(config, "prefill") == {"prefix-cache-scorer": 2, "queue-scorer": 1}
    assert scorers_of(config, "decode") == {
        "prefix-cache-scorer": 2, "queue-scorer": 1, "kv-cache-utilization-scorer": 1,
    }  # fmt: skip
