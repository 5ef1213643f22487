"""Which release of the picker runs, and with which config, by what the router's role says."""

from __future__ import annotations

import pytest

from fusioninfer.api.service import InvalidSpec, Manifest, Router, Scorer
from fusioninfer.build.router.picker import DEFAULT_STRATEGY, picker_config, release_of, strategy_of
from fusioninfer.build.router.releases import DEFAULT, Release, releases
from tests import make
from tests.make import STRATEGIES

OLD, NEW = releases()[DEFAULT], releases()["llm-d-router-0.10"]
RELEASES = [pytest.param(OLD, id="0.7"), pytest.param(NEW, id="0.10")]
PATH = "spec.roles[1]"


def a_router(
    strategy: str | None = None, scorers: tuple[Scorer, ...] = (), config: str | None = None, release: str | None = None
) -> Router:
    return Router("entry", strategy, scorers, config, release, path=PATH)


def config_of(router: Router, release: Release = OLD, *, engine: str = "vllm", has_lora: bool = False) -> Manifest:
    strategy = strategy_of(make.a_service(), router, STRATEGIES)
    return picker_config(router, release, strategy, engine=engine, labels={}, has_lora=has_lora)


def weights(config: Manifest) -> dict[str, int | None]:
    (profile,) = config["schedulingProfiles"]
    return {plugin["pluginRef"]: plugin.get("weight") for plugin in profile["plugins"]}


# --- the release ---


def test_without_a_word_the_default_release_runs() -> None:
    assert release_of(a_router()) is OLD


@pytest.mark.parametrize("release", RELEASES)
def test_the_release_that_is_asked_for_runs(release: Release) -> None:
    assert release_of(a_router(release=release.name)) is release


def test_a_release_that_nobody_knows_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(InvalidSpec) as caught:
        release_of(a_router(release="llm-d-router-9"))

    assert caught.value.field == f"{PATH}.pickerRelease"
    assert caught.value.problem == f"'llm-d-router-9' is not known; there are {', '.join(sorted(releases()))}"


# --- the config ---


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize(
    ("strategy", "scorers"),
    [
        ("prefix-cache", {"prefix-cache-scorer": 3, "queue-scorer": 2, "kv-cache-utilization-scorer": 2}),
        ("kv-cache-utilization", {"kv-cache-utilization-scorer": 10, "queue-scorer": 1}),
        ("queue-size", {"queue-scorer": 1}),
        ("lora-affinity", {"lora-affinity-scorer": 4, "queue-scorer": 1}),
    ],
)
def test_each_strategy_is_a_sum_of_its_scorers(strategy: str, scorers: dict[str, int], release: Release) -> None:
    config = config_of(a_router(strategy), release, has_lora=True)

    assert weights(config) == {**scorers, "max-score-picker": None}
    assert config["apiVersion"] == release.config.api_versions[0]
    assert [plugin["type"] for plugin in config["plugins"]] == [*scorers, "max-score-picker"]


def test_without_a_word_pods_are_picked_by_their_prefix_caches() -> None:
    assert DEFAULT_STRATEGY == "prefix-cache"
    assert config_of(a_router()) == config_of(a_router("prefix-cache"))


def test_scorers_of_the_user_stand_instead_of_the_strategys_own() -> None:
    router = a_router("prefix-cache", (Scorer("running-requests-size-scorer", 5), Scorer("queue-scorer", 1)))

    assert weights(config_of(router)) == {
        "running-requests-size-scorer": 5,
        "queue-scorer": 1,
        "max-score-picker": None,
    }


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize(("engine", "is_named"), [("vllm", False), ("custom", False), ("sglang", True)])
def test_the_picker_is_told_of_engines_whose_metrics_have_other_names(
    engine: str, is_named: bool, release: Release
) -> None:
    config = config_of(a_router(), release, engine=engine)

    extractors = [plugin for plugin in config["plugins"] if plugin["type"] == release.metrics.extractor]
    assert [plugin["parameters"] for plugin in extractors] == [{"defaultEngine": "sglang"}] * is_named
    assert (release.metrics.section in config) is is_named


def test_a_config_of_the_user_is_taken_as_it_is_written() -> None:
    text = """\
apiVersion: inference.networking.x-k8s.io/v1alpha1
kind: EndpointPickerConfig
plugins:
- {type: queue-scorer}
- {type: random-picker, parameters: {maxNumOfEndpoints: 2}}
schedulingProfiles:
- {name: default, plugins: [{pluginRef: queue-scorer, weight: 0.5}, {pluginRef: random-picker}]}
"""

    config = config_of(a_router(config=text), engine="sglang")

    assert weights(config) == {"queue-scorer": 0.5, "random-picker": None}
    assert config["plugins"][1]["parameters"] == {"maxNumOfEndpoints": 2}
    assert "data" not in config


@pytest.mark.parametrize(
    ("router", "field", "problem"),
    [
        pytest.param(
            a_router("prefix"), "strategy",
            "'prefix' is not installed; there are kv-cache-utilization, lora-affinity, pd-disaggregation, "
            "prefix-cache, queue-size",
            id="unknown strategy",
        ),
        pytest.param(
            a_router("lora-affinity"), "strategy",
            "no engine of this service serves LoRA adapters; enable them there (vLLM: --enable-lora), or choose "
            "another strategy than lora-affinity",
            id="lora-affinity without LoRA",
        ),
        pytest.param(
            a_router(scorers=(Scorer("queue-scorer", 1), Scorer("lora-affinity-scorer", 1))), "scorers[1].type",
            "no engine of this service serves LoRA adapters; enable them there (vLLM: --enable-lora), or choose other "
            "scorers",
            id="a scorer of LoRA without LoRA",
        ),
        pytest.param(
            a_router(scorers=(Scorer("queue", 1),)), "scorers[0].type",
            "'queue' is not known to llm-d-inference-scheduler-0.7; its scorers are ",
            id="unknown scorer",
        ),
        pytest.param(
            a_router(scorers=(Scorer("queue-scorer", 0),)), "scorers", "every weight is 0", id="no weight"
        ),
        pytest.param(
            a_router(config="kind: EndpointPickerConfig\napiVersion: inference.networking.x-k8s.io/v1alpha1\n"
                     "plugins:\n- type: queue-scorer\n- type: queue-scorr\n"),
            "endpointPickerConfig",
            "line 5: plugin 'queue-scorr': llm-d-inference-scheduler-0.7 has no type 'queue-scorr' "
            "(did you mean queue-scorer?)",
            id="a plug-in that there is none of",
        ),
        pytest.param(
            a_router(config="{kind: EndpointPickerConfig"), "endpointPickerConfig", "line ", id="no YAML"
        ),
        pytest.param(a_router(config=""), "endpointPickerConfig", "is empty", id="empty"),
        pytest.param(
            a_router(config="apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\n"), "endpointPickerConfig",
            "line 1: apiVersion is 'llm-d.ai/v1alpha1'; llm-d-inference-scheduler-0.7 reads "
            "inference.networking.x-k8s.io/v1alpha1",
            id="of another release",
        ),
    ],
)  # fmt: skip
def test_what_the_picker_would_refuse_is_refused_with_its_field(router: Router, field: str, problem: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        config_of(router)

    assert caught.value.field == f"{PATH}.{field}"
    assert caught.value.problem.startswith(problem)


def test_lora_is_refused_no_more_once_an_engine_serves_adapters() -> None:
    scorers = (Scorer("lora-affinity-scorer", 1),)

    assert weights(config_of(a_router(scorers=scorers), has_lora=True))["lora-affinity-scorer"] == 1
    assert "queue-scorer" in weights(config_of(a_router("lora-affinity", (Scorer("queue-scorer", 1),))))


def test_labels_in_a_config_are_held_against_those_of_the_pods() -> None:
    text = "apiVersion: inference.networking.x-k8s.io/v1alpha1\nkind: EndpointPickerConfig\nplugins:\n" + (
        "- {type: by-label, parameters: {label: team, validValues: [blue]}}\n"
    )

    def taken(**labels: str) -> Manifest:
        pods = {key: frozenset({value}) for key, value in labels.items()}
        return picker_config(a_router(config=text), OLD, None, engine="vllm", labels=pods, has_lora=False)

    assert taken(team="blue")["plugins"]
    with pytest.raises(InvalidSpec, match=r"line 4: .*no pod of this service has the label team=blue"):
        taken(team="red")
