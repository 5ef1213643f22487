"""The strategies that are a weighted sum of scorers, and how such a sum is written for a release.

The pod with the highest sum is picked; pods with the same sum are drawn by lot, so that requests which arrive
between two readings of the metrics are spread. No scorer is added only to break ties: it would send all of them to
one pod.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fusioninfer.api.service import Manifest, Scorer
from fusioninfer.build.router.releases import Release
from fusioninfer.build.router.strategies import LORA_SCORER

PICKER = "max-score-picker"


@dataclass(frozen=True, slots=True)
class Scored:
    """A strategy of scorers that every known release has."""

    name: str
    scorers: tuple[Scorer, ...]
    needs_lora: bool = False
    sends_prompts: bool = False

    def compile(
        self,
        release: Release,
        scorers: Sequence[Scorer] = (),
        engine: str | None = None,
        min_uncached_prompt_tokens: int | None = None,
    ) -> Manifest:
        return scored_config(scorers or self.scorers, release, engine)


# The weights of the picker's own default config: a whole prefix in the cache outweighs an empty queue, half of one
# does not.
PREFIX_CACHE = Scored(
    "prefix-cache",
    (Scorer("prefix-cache-scorer", 3), Scorer("queue-scorer", 2), Scorer("kv-cache-utilization-scorer", 2)),
)

# queue-scorer tells only the longest queue (0) from the shortest (1), however near they are, while usage is an
# absolute fraction; so a request that waits for one step of an engine counts no more than a tenth of its cache, and
# queues decide where caches are about equally full.
KV_CACHE_UTILIZATION = Scored(
    "kv-cache-utilization", (Scorer("kv-cache-utilization-scorer", 10), Scorer("queue-scorer", 1))
)

QUEUE_SIZE = Scored("queue-size", (Scorer("queue-scorer", 1),))

# A pod with the adapter scores 1, one with room for it 0.8, one without 0. With 4 to 1 a pod that must evict another
# adapter is the last resort, the pod with the adapter comes first, and one with the longest queue yields to a pod with
# room: so an adapter in demand gets a second pod.
LORA_AFFINITY = Scored("lora-affinity", (Scorer(LORA_SCORER, 4), Scorer("queue-scorer", 1)), needs_lora=True)


def scored_config(scorers: Sequence[Scorer], release: Release, engine: str | None = None) -> Manifest:
    """One profile: every pod of the pool, scored by `scorers`."""
    plugins = [*({"type": scorer.type} for scorer in scorers), {"type": PICKER}]
    return written_config(release, engine, plugins, [profile("default", scorers)])


def profile(name: str, scorers: Sequence[Scorer], *filters: str) -> Manifest:
    """A profile by which the pod with the highest sum of `scorers` is picked among those that pass all `filters`."""
    return {
        "name": name,
        "plugins": [
            *({"pluginRef": kind} for kind in filters),
            *({"pluginRef": scorer.type, "weight": scorer.weight} for scorer in scorers),
            {"pluginRef": PICKER},
        ],
    }


def written_config(
    release: Release,
    engine: str | None,
    plugins: Sequence[Manifest],
    profiles: Sequence[Manifest],
    gates: Sequence[str] = (),
) -> Manifest:
    """A whole config of `plugins` and `profiles`, with what reads the metrics of `engine`; `gates` must be on."""
    metrics = _metrics_of(engine, release)
    switched = [*gates, *([release.metrics.gate] if metrics and release.metrics.gate else ())]
    return {
        "apiVersion": release.config.api_versions[0],
        "kind": release.config.kind,
        **({"featureGates": switched} if switched else {}),
        "plugins": [*plugins, *metrics],
        "schedulingProfiles": list(profiles),
        **({release.metrics.section: _sources(release)} if metrics else {}),
    }


def _metrics_of(engine: str | None, release: Release) -> list[Manifest]:
    """The plug-ins that read another engine's metrics than the release's default; none: they need not be written."""
    theirs = release.metrics.engines.get(engine or "")
    if theirs is None or theirs == release.metrics.default:
        return []
    return [
        {"type": release.metrics.source},
        {"type": release.metrics.extractor, "parameters": {"defaultEngine": theirs}},
    ]


def _sources(release: Release) -> Manifest:
    extractors = [{"pluginRef": release.metrics.extractor}]
    return {"sources": [{"pluginRef": release.metrics.source, "extractors": extractors}]}
