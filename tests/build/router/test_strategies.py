"""What strategies compile to, and which scorers users may name instead."""

from __future__ import annotations

import json
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from fusioninfer.api.service import InvalidSpec, Scorer
from fusioninfer.build.router.config import checked
from fusioninfer.build.router.releases import DEFAULT, Release, releases
from fusioninfer.build.router.strategies import GROUP, Strategy, check_lora, checked_scorers, named
from fusioninfer.build.router.strategies.scored import (
    KV_CACHE_UTILIZATION,
    LORA_AFFINITY,
    PREFIX_CACHE,
    QUEUE_SIZE,
)

STRATEGIES: dict[str, Strategy] = {
    strategy.name: strategy for strategy in (KV_CACHE_UTILIZATION, LORA_AFFINITY, PREFIX_CACHE, QUEUE_SIZE)
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
    config = strategy.compile(release, engine=engine)

    assert checked(json.dumps(config), release, "strategy", {}) == config


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
