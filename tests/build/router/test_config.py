"""A user's EndpointPickerConfig: what is taken, and what is refused with its line."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusioninfer.api.service import InvalidSpec, Manifest
from fusioninfer.build.router.config import checked
from fusioninfer.build.router.lines import plain, read
from fusioninfer.build.router.releases import DEFAULT, Release, releases
from fusioninfer.build.router.strategies.scored import KV_CACHE_UTILIZATION, LORA_AFFINITY, PREFIX_CACHE, QUEUE_SIZE
from testbed import programs

OLD = releases()[DEFAULT]
NEW = releases()["llm-d-router-0.10"]
PATH = "spec.roles[2].endpointPickerConfig"
LABELS = {"fusioninfer.io/role": frozenset({"small", "large"}), "apps.kubernetes.io/pod-index": frozenset[str]()}


def a_config(body: str, release: Release = OLD) -> str:
    """`body` after the first two lines, so that it begins in line 3."""
    return f"apiVersion: {release.config.api_versions[0]}\nkind: EndpointPickerConfig\n{body}"


def parsed(text: str, release: Release = OLD, labels: dict[str, frozenset[str]] = LABELS) -> Manifest:
    return checked(text, release, PATH, labels)


def problem(text: str, release: Release = OLD, labels: dict[str, frozenset[str]] = LABELS) -> str:
    with pytest.raises(InvalidSpec) as refusal:
        checked(text, release, PATH, labels)
    assert refusal.value.field == PATH
    return refusal.value.problem


WHOLE = """\
featureGates: [prepareDataPlugins]
plugins:
- type: prefix-cache-scorer
  parameters:
    autoTune: false
    blockSizeTokens: 5
- name: small
  type: by-label
  parameters: {label: fusioninfer.io/role, validValues: [small]}
- type: by-label-selector
  parameters:
    matchLabels: {fusioninfer.io/role: large}
    matchExpressions:
    - {key: apps.kubernetes.io/pod-index, operator: NotIn, values: ["0"]}
- {type: decode-filter}
- {type: prefix-based-pd-decider, parameters: {nonCachedTokens: 16}}
- {type: disagg-profile-handler, parameters: {deciders: {prefill: prefix-based-pd-decider}}}
schedulingProfiles:
- name: decode
  plugins:
  - pluginRef: small
  - {pluginRef: prefix-cache-scorer, weight: 2.5}
- name: prefill
  plugins:
  - pluginRef: by-label-selector
saturationDetector: {queueDepthThreshold: 5, kvCacheUtilThreshold: 0.8, metricsStalenessThreshold: 200ms}
"""


def test_a_good_config_is_taken_as_it_is_written() -> None:
    config = parsed(a_config(WHOLE))

    assert config["featureGates"] == ["prepareDataPlugins"]
    assert config["plugins"][0]["parameters"] == {"autoTune": False, "blockSizeTokens": 5}
    assert config["schedulingProfiles"][0]["plugins"][1] == {"pluginRef": "prefix-cache-scorer", "weight": 2.5}
    assert parsed(json.dumps(config)) == config


@pytest.mark.parametrize(
    "body",
    [
        pytest.param("plugins: [{type: queue-scorer}]", id="no profile: the picker adds one"),
        pytest.param(
            "plugins: [{type: queue-scorer}]\nschedulingProfiles: [{name: x, plugins: [{pluginRef: queue-scorer}]}]",
            id="no picker in the profile: the picker adds one",
        ),
        pytest.param(
            "plugins: [{type: queue-scorer}]\n"
            "schedulingProfiles: [{name: x, plugins: [{pluginRef: max-score-picker}]}]",
            id="a picker that is added can be named",
        ),
        pytest.param(
            "plugins: [{type: queue-scorer, parameters: }]\nfeatureGates:\nflowControl: {defaultPriorityBand: "
            "{fairnessPolicyRef: global-strict-fairness-policy}}",
            id="nothing after a key is as if it was not there",
        ),
        pytest.param(
            "plugins: [{type: disagg-profile-handler, parameters: {decodeProfile: a}}]\n"
            "schedulingProfiles: [{name: a}]",
            id="older spelling of parameters",
        ),
        pytest.param(
            "plugins: [{type: by-label, parameters: {label: fusioninfer.io/role, allowsNoLabel: true}}]",
            id="one of two needed parameters",
        ),
    ],
)
def test_what_the_release_takes_is_taken(body: str) -> None:
    assert parsed(a_config(body))["kind"] == "EndpointPickerConfig"


REFUSED = [
    # the config
    (
        "kind",
        "apiVersion: inference.networking.x-k8s.io/v1alpha1\nkind: InferencePool",
        "line 2: kind is 'InferencePool'; llm-d-inference-scheduler-0.7 reads EndpointPickerConfig",
    ),
    (
        "version",
        "kind: EndpointPickerConfig\napiVersion: llm-d.ai/v1alpha1",
        "line 2: apiVersion is 'llm-d.ai/v1alpha1'; llm-d-inference-scheduler-0.7 reads inference.networking.x-k8s.io",
    ),
    ("field", a_config("plugin: []"), r"line 3: .*there is no field 'plugin' \(did you mean plugins\?\)"),
    ("gate", a_config("plugins: []\nfeatureGates: [datalayer]"), "line 4: feature gate 'datalayer' is unknown.*dataL"),
    ("gate with a value", a_config("featureGates: [dataLayer=true]"), "line 3: .*write 'dataLayer'"),
    (
        "gate without its section",
        a_config("plugins: [{type: queue-scorer}]\nfeatureGates:\n- dataLayer"),
        "line 5: feature gate 'dataLayer' needs the section data",
    ),
    # plug-ins
    (
        "type",
        a_config("plugins:\n- type: queue-scorer\n- name: q\n  type: que-scorer"),
        r"line 6: plugin 'q': llm-d-inference-scheduler-0.7 has no type 'que-scorer' \(did you mean queue-scorer\?\)",
    ),
    ("no type", a_config("plugins:\n- name: q"), "line 4: plugin 'q': its type is not written; a string is needed"),
    (
        "name",
        a_config("plugins:\n- type: queue-scorer\n- type: queue-scorer"),
        "line 5: plugin 'queue-scorer': the name is taken by that of line 4",
    ),
    (
        "parameter of another type",
        a_config("plugins:\n- type: load-aware-scorer\n  parameters:\n    threshold: '8'"),
        "line 6: plugin 'load-aware-scorer': threshold: is '8'; a whole number is needed",
    ),
    (
        "fraction for a whole number",
        a_config("plugins: [{type: load-aware-scorer, parameters: {threshold: 8.0}}]"),
        "threshold: is the number 8.0; a whole number is needed",
    ),
    (
        "word of a choice",
        a_config("plugins: [{type: models-data-source, parameters: {scheme: ftp}}, {type: queue-scorer}]"),
        "scheme: is 'ftp'; one of http, https is needed",
    ),
    (
        "item of a list",
        a_config("plugins: [{type: by-label, parameters: {label: fusioninfer.io/role, validValues:\n [small, 3]}}]"),
        r"line 4: plugin 'by-label': validValues\[1\]: is the number 3; a string is needed",
    ),
    (
        "needed parameter",
        a_config("plugins:\n- {type: tokenizer}"),
        "line 4: plugin 'tokenizer': needs modelName",
    ),
    (
        "needed parameter deep within",
        a_config("plugins: [{type: precise-prefix-cache-scorer, parameters: {indexerConfig: {}}}]"),
        "needs indexerConfig.tokenizersPoolConfig.modelName",
    ),
    (
        "needed parameter of an item",
        a_config("plugins: [{type: request-attribute-reporter, parameters: {attributes: [{expression: '1'}]}}]"),
        "needs attributes.key.name",
    ),
    (
        "range",
        a_config("plugins: [{type: prefix-based-pd-decider, parameters: {nonCachedTokens: -1}}, {type: queue-scorer}]\n"
                 "featureGates: [prepareDataPlugins]"),
        "nonCachedTokens: is the number -1; a whole number, 0 or more is needed",
    ),
    (
        "reference to what stands further down",
        a_config(
            "plugins:\n- type: disagg-profile-handler\n  parameters: {deciders: {prefill: d}}\n"
            "- {name: d, type: always-disagg-pd-decider}\nschedulingProfiles: [{name: decode}]"
        ),
        "line 5: .*deciders.prefill: the plugin 'd' must stand before",
    ),
    (
        "reference to another slot",
        a_config(
            "plugins:\n- {name: d, type: queue-scorer}\n- type: disagg-profile-handler\n"
            "  parameters: {deciders: {prefill: d}}\nschedulingProfiles: [{name: decode}]"
        ),
        "line 6: .*deciders.prefill: 'd' is a scorer; a decider is needed",
    ),
    (
        "reference that is meant by default",
        a_config("plugins: [{type: pd-profile-handler}]\nschedulingProfiles: [{name: decode}, {name: prefill}]"),
        "deciderPluginName: is not written, and so means 'prefix-based-pd-decider'; there is no plugin",
    ),
    # profiles
    (
        "reference of a profile",
        a_config(
            "plugins:\n- type: queue-scorer\nschedulingProfiles:\n- name: x\n  plugins:\n  - pluginRef: queue-score"
        ),
        r"line 8: profile 'x': pluginRef: there is no plugin 'queue-score' \(did you mean queue-scorer\?\)",
    ),
    (
        "profile twice",
        a_config("plugins: [{type: queue-scorer}]\nschedulingProfiles: [{name: x},\n {name: x}]"),
        "line 5: profile 'x': stands here a second time, after line 4",
    ),
    ("profile without a name", a_config("schedulingProfiles: [{plugins: []}]"), "line 3: a profile without a name"),
    (
        "several profiles and no handler",
        a_config("plugins: [{type: queue-scorer}]\nschedulingProfiles: [{name: x},\n {name: y}]"),
        "line 5: 2 profiles need a profile handler among the plugins, such as disagg-profile-handler",
    ),
    (
        "several profiles and a handler of one",
        a_config("plugins: [{type: single-profile-handler}]\nschedulingProfiles: [{name: x}, {name: y}]"),
        "plugin 'single-profile-handler': handles one profile, and there are x, y",
    ),
    (
        "two handlers",
        a_config("plugins:\n- type: single-profile-handler\n- type: data-parallel-profile-handler"),
        "line 5: plugin 'data-parallel-profile-handler': is a second profile handler, after plugin 'single-",
    ),
    (
        "two pickers in a profile",
        a_config(
            "plugins: [{type: random-picker}, {type: max-score-picker}]\nschedulingProfiles:\n- name: x\n  plugins:\n"
            "  - pluginRef: random-picker\n  - pluginRef: max-score-picker"
        ),
        "line 8: profile 'x': 'max-score-picker' is a second picker",
    ),
    (
        "two pickers and no profile",
        a_config("plugins: [{type: random-picker}, {type: max-score-picker}]"),
        "more than one picker: random-picker, max-score-picker",
    ),
    # sections
    (
        "duration",
        a_config("plugins: [{type: queue-scorer}]\nsaturationDetector: {metricsStalenessThreshold: 200}"),
        'line 4: saturationDetector.metricsStalenessThreshold: is the number 200; a duration such as "30s" is needed',
    ),
    (
        "field of a section",
        a_config("plugins: [{type: queue-scorer}]\nflowControl:\n  maxByte: 3"),
        r"line 5: flowControl: there is no field 'maxByte' \(did you mean maxBytes\?\); the picker would not start",
    ),
    (
        "extractor that is none",
        a_config(
            "plugins: [{type: models-data-source}, {type: queue-scorer}]\n"
            "data:\n  sources:\n  - pluginRef: models-data-source\n    extractors: [{pluginRef: queue-scorer}]"
        ),
        r"line 7: data.sources\[0\].extractors\[0\].pluginRef: 'queue-scorer' is a scorer; a extractor is needed",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), [pytest.param(t, e, id=i) for i, t, e in REFUSED])
def test_what_the_picker_would_end_on_is_refused(text: str, expected: str) -> None:
    assert re.search(expected, problem(text))


QUIET = [
    ("kind", "apiVersion: inference.networking.x-k8s.io/v1alpha1", "line 1: kind is not written; .* EndpointPickerC"),
    (
        "parameter",
        a_config("plugins:\n- type: load-aware-scorer\n  parameters:\n    treshold: 8"),
        r"line 6: plugin 'load-aware-scorer': there is no parameter 'treshold' \(did you mean threshold\?\); "
        "the picker would ignore it",
    ),
    (
        "parameter of a plug-in without any",
        a_config("plugins: [{type: queue-scorer, parameters: {a: 1}}]"),
        "plugin 'queue-scorer': there is no parameter 'a'; it takes no parameters; the picker would ignore it",
    ),
    (
        "weight of no scorer",
        a_config("plugins: [{type: random-picker}]\nschedulingProfiles:\n- name: x\n  plugins:\n"
                 "  - pluginRef: random-picker\n    weight: 1"),
        "line 8: profile 'x': 'random-picker' is a picker; only scorers have a weight",
    ),
    (
        "plug-in that has no place in a profile",
        a_config("plugins: [{type: models-data-source}]\nschedulingProfiles: [{name: x, plugins: "
                 "[{pluginRef: models-data-source}]}]"),
        "'models-data-source' is a data-source; a filter or picker or scorer is needed",
    ),
    (
        "no picker, and two to choose from",
        a_config("plugins: [{type: random-picker}, {type: max-score-picker}]\nschedulingProfiles:\n- name: x"),
        "line 5: profile 'x': has no picker, and takes any of random-picker, max-score-picker; name one",
    ),
    ("nothing to pick by", a_config("plugins: [{type: single-profile-handler}]"), "no plugins to make one of"),
    (
        "profile that a handler asks for",
        a_config("plugins: [{type: disagg-profile-handler}]\nschedulingProfiles: [{name: x}]"),
        "profiles.decode: is not written, and so means 'decode'; the profiles are x",
    ),
    (
        "profile that is named wrongly",
        a_config("plugins: [{type: disagg-profile-handler, parameters: {profiles: {prefill: prefil}}}]\n"
                 "schedulingProfiles: [{name: decode}, {name: prefill}]"),
        r"profiles.prefill: there is no profile 'prefil' \(did you mean prefill\?\); there are",
    ),
    (
        "plug-in without its gate",
        a_config("plugins:\n- {type: prefix-based-pd-decider}"),
        "line 4: .*is of no use without the feature gate prepareDataPlugins",
    ),
    # labels
    (
        "label",
        a_config("plugins:\n- type: by-label\n  parameters:\n    validValues: [a]\n    label: fusioninfer.io/rol"),
        r"line 7: plugin 'by-label': no pod of this service has the label fusioninfer.io/rol "
        r"\(did you mean fusioninfer.io/role\?\); they have apps.kubernetes.io/pod-index, fusioninfer.io/role",
    ),
    (
        "value of a label",
        a_config(
            "plugins:\n- type: by-label\n  parameters: {label: fusioninfer.io/role, validValues: [small,\n   huge]}"
        ),
        "line 6: plugin 'by-label': no pod of this service has the label fusioninfer.io/role=huge; "
        "its values are large, small",
    ),
    (
        "label of a selector",
        a_config("plugins:\n- type: by-label-selector\n  parameters:\n    matchLabels:\n      app: qwen"),
        "line 7: plugin 'by-label-selector': no pod of this service has the label app",
    ),
    (
        "value of a selector's expression",
        a_config("plugins: [{type: by-label-selector, parameters: {matchExpressions: "
                 "[{key: fusioninfer.io/role, operator: In, values: [small, huge]}]}}]"),
        "no pod of this service has the label fusioninfer.io/role=huge",
    ),
    (
        "label that the plug-in itself looks for",
        a_config("plugins:\n- {type: prefill-filter}"),
        "line 4: plugin 'prefill-filter': no pod of this service has the label llm-d.ai/role with one of prefill, ",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), [pytest.param(t, e, id=i) for i, t, e in QUIET])
def test_what_would_quietly_do_nothing_is_refused(text: str, expected: str) -> None:
    assert re.search(expected, problem(text))


@pytest.mark.parametrize(
    "selector",
    [
        pytest.param("{matchLabels: {apps.kubernetes.io/pod-index: '7'}}", id="a label with any value"),
        pytest.param("{matchExpressions: [{key: fusioninfer.io/role, operator: Exists}]}", id="a label that is there"),
        pytest.param("{}", id="nothing"),
    ],
)
def test_labels_that_pods_carry_can_be_looked_for(selector: str) -> None:
    parsed(a_config(f"plugins: [{{type: by-label-selector, parameters: {selector}}}]"))
    parsed(a_config(f"plugins: [{{type: label-selector-filter, parameters: {selector}}}]", NEW), NEW)


def test_role_filters_are_taken_where_pods_have_the_roles() -> None:
    roles = {"llm-d.ai/role": frozenset({"prefill", "decode"})}

    parsed(a_config("plugins: [{type: prefill-filter}, {type: decode-filter}]"), labels=roles)
    assert "llm-d.ai/role" in problem(a_config("plugins: [{type: encode-filter}]"), labels=roles)


@pytest.mark.parametrize(
    ("operator", "expected"),
    [
        ("{key: fusioninfer.io/role, operator: in, values: [small]}", "operator 'in' is none of In, NotIn"),
        ("{key: fusioninfer.io/role, operator: In}", "operator In needs values"),
        ("{key: fusioninfer.io/role, operator: Exists, values: [small]}", "operator Exists takes no values"),
        ("{operator: Exists}", "a matchExpression without a key"),
    ],
)
def test_a_selector_that_is_none_is_refused(operator: str, expected: str) -> None:
    body = f"plugins: [{{type: by-label-selector, parameters: {{matchExpressions: [{operator}]}}}}]"

    assert expected in problem(a_config(body))


# --- another release ------------------------------------------------------------------------------------------------


def test_each_release_has_its_own_rules() -> None:
    disaggregated = (
        "plugins:\n- {type: disagg-profile-handler, parameters: {deciders: {prefill: d}}}\n"
        "- {name: d, type: prefix-based-pd-decider}\nfeatureGates: [flowControl=false]\n"
        "requestHandler: {parsers: [{pluginRef: openai-parser}]}\nschedulingProfiles: [{name: decode}]"
    )

    assert parsed(a_config(disaggregated, NEW), NEW)
    assert parsed("apiVersion: inference.networking.x-k8s.io/v1alpha1\nkind: EndpointPickerConfig\n"
                  "plugins: [{type: queue-scorer}]", NEW)  # fmt: skip
    assert "the picker would not start" in problem(
        a_config("plugins: [{type: load-aware-scorer, parameters: {a: 1}}]", NEW), NEW
    )
    assert "has no type 'tokenizer2'" in problem(a_config("plugins: [{type: tokenizer2}]", NEW), NEW)


# --- text that is no config -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("", "is empty", id="empty"),
        pytest.param("# nothing\n", "is empty", id="a comment"),
        pytest.param("- a", "line 1: the config: is a list; a mapping is needed", id="a list"),
        pytest.param("a: b\n---\nc: d", "line 2: a second document begins", id="two documents"),
        pytest.param("a: 1\nb: 2\na: 3", "line 3: 'a' stands here a second time, after line 1", id="a key twice"),
        pytest.param("a: &x [1]\nb: 2", "line 1: anchors and aliases", id="an anchor"),
        pytest.param("a: *x", "line 1: anchors and aliases", id="an alias"),
        pytest.param("a:\n  <<: {b: c}", r"line 2: merge keys \(<<\) are not taken", id="a merge key"),
        pytest.param("a: !!python/object:os.system {}", "line 1: the tag .*python/object:os.system", id="a tag"),
        pytest.param("a: !!binary aGk=", "line 1: the tag .*binary is not taken", id="binary"),
        pytest.param("a: !x\n  b: c", "line 1: the tag !x is not taken", id="a tag of one's own"),
        pytest.param("a:\n\tb: c", r"line 2: not YAML: found character '\\t'", id="a tab"),
        pytest.param("a: [", "line 1: not YAML", id="half a list"),
        pytest.param("a: b: c", "line 1: not YAML: mapping values are not allowed here", id="two colons"),
        pytest.param("a: b\nc: \x07", "line 2: the character .* is not allowed", id="a control character"),
        pytest.param('a: "\\UFFFFFFFF"', "line 1: not YAML: an escape that is no character", id="an escape"),
        pytest.param('a: "\\uD800"', "line 1: half of a surrogate pair", id="half of a pair"),
        pytest.param("? [a]\n: b", "line 1: a list or a mapping is a key", id="a list as key"),
        pytest.param("1: b", "line 1: '1' is a key, and no string; quote it", id="a number as key"),
        pytest.param("a: 1e999", "line 1: 1e999 is too large", id="a number without end"),
        pytest.param(f"a: {'9' * 5000}", "line 1: 9+ is too large", id="a long number"),
        pytest.param("a: " + "[" * 3000, "line 1: is nested more than 32 deep", id="deep"),
        pytest.param("a" * 70000, "has more than 64 KiB", id="long"),
    ],
)  # fmt: skip
def test_text_that_is_no_plain_yaml_is_refused(text: str, expected: str) -> None:
    assert re.search(expected, problem(text))


def test_a_config_that_grows_beyond_an_argument_is_refused() -> None:
    values = ",".join("\\" * 31000)
    body = (
        f"plugins: [{{type: by-label, parameters: {{label: apps.kubernetes.io/pod-index, validValues: [{values}]}}}}]"
    )

    assert problem(a_config(body)) == "has more than 120 KiB, written as JSON"


@pytest.mark.parametrize("word", ["no", "on", "010", "1:30", "2026-11-24", "0x10", "1_000", ".inf"])
def test_a_word_is_a_string_unless_json_has_it(word: str) -> None:
    labels = {"key": frozenset({word})}
    config = parsed(
        a_config(f"plugins: [{{type: by-label, parameters: {{label: key, validValues: [{word}]}}}}]"), labels=labels
    )

    assert config["plugins"][0]["parameters"]["validValues"] == [word]


@given(st.text("apiVersonklugstrfc:-[]{},&*!\"'\n #|>0.1", max_size=60), st.integers(0, len(WHOLE)))
def test_any_text_is_a_config_or_refused(scrap: str, at: int) -> None:
    for text in (scrap, a_config(WHOLE[:at] + scrap + WHOLE[at:]), a_config(WHOLE[:at] + scrap)):
        with contextlib.suppress(InvalidSpec):
            json.dumps(parsed(text))


# --- the picker itself ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def nowhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A kubeconfig of an API server that is not there: the picker reads its config before it asks for anything."""
    file = tmp_path_factory.mktemp("nowhere") / "kubeconfig"
    file.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "x", "cluster": {"server": "http://127.0.0.1:9"}}],
                "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
                "users": [{"name": "x", "user": {}}],
                "current-context": "x",
            }
        )
    )
    return file


def loads(config: str, kubeconfig: Path) -> bool:
    """Whether the picker of 0.7 takes `config`."""
    words = [str(programs.path("epp")), *OLD.arguments(config=config, namespace="ns", pool="pool")]
    environment = {**os.environ, "KUBECONFIG": str(kubeconfig)}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=30)
    said = done.stdout + done.stderr
    is_loaded = "loaded configuration from file/text successfully" in said
    assert is_loaded != ("Failed to parse configuration" in said), said
    return is_loaded


@pytest.mark.cluster
@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_the_picker_takes_every_strategy(engine: str, nowhere: Path) -> None:
    for strategy in (KV_CACHE_UTILIZATION, LORA_AFFINITY, PREFIX_CACHE, QUEUE_SIZE):
        assert loads(json.dumps(strategy.compile(OLD, engine=engine)), nowhere), strategy.name


@pytest.mark.cluster
def test_the_picker_takes_what_we_take(nowhere: Path) -> None:
    assert loads(a_config(WHOLE), nowhere)


@pytest.mark.cluster
@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text, _ in REFUSED])
def test_the_picker_ends_on_what_we_say_it_ends_on(text: str, nowhere: Path) -> None:
    assert not loads(json.dumps(plain(read(text))), nowhere)


@pytest.mark.cluster
@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text, _ in QUIET])
def test_the_picker_says_nothing_where_we_do(text: str, nowhere: Path) -> None:
    assert loads(json.dumps(plain(read(text))), nowhere)
