"""The strategy for prompts and answers apart: a decoder is picked first, then a prefiller if the prompt is worth one.

The pool has the pods of both sides; the filters of the release tell them apart by the label that the pods carry. The
decider looks at what the picked decoder has cached. A release makes plug-ins in the order in which they stand, so the
decider comes before the handler that names it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fusioninfer.api.service import Manifest, Scorer
from fusioninfer.build.router.releases import Release
from fusioninfer.build.router.strategies.scored import PICKER, profile, written_config

HANDLER = "disagg-profile-handler"
BY_PREFIX, ALWAYS = "prefix-based-pd-decider", "always-disagg-pd-decider"
PREFILLERS, DECODERS = "prefill-filter", "decode-filter"
HEADERS = "disagg-headers-handler"
"""Tells the decoder which prefiller was picked; to be used no more where the handler does it itself."""
PREFIXES = ("approx-prefix-cache-producer", "prefix-cache-scorer")
"""What knows which prefixes a pod has cached: the first one that a release has."""


@dataclass(frozen=True, slots=True)
class Apart:
    """Scorers for each side; those that a user gives are for both."""

    name: str
    prefillers: tuple[Scorer, ...]
    decoders: tuple[Scorer, ...]
    needs_lora: bool = False
    sends_prompts: bool = True

    def compile(
        self,
        release: Release,
        scorers: Sequence[Scorer] = (),
        engine: str | None = None,
        min_uncached_prompt_tokens: int | None = None,
    ) -> Manifest:
        prefillers, decoders = (scorers or self.prefillers), (scorers or self.decoders)
        decider = _decider(min_uncached_prompt_tokens)
        kind = decider["type"]
        reads = [next(kind for kind in PREFIXES if kind in release.plugins)] if kind == BY_PREFIX else []
        plain = [*_headers(release), *reads, *(scorer.type for scorer in (*prefillers, *decoders))]
        plugins = [
            *({"type": each} for each in dict.fromkeys([*plain, PREFILLERS, DECODERS, PICKER])),
            decider,
            {"type": HANDLER, "parameters": {"deciders": {"prefill": kind}}},
        ]
        profiles = [profile("prefill", prefillers, PREFILLERS), profile("decode", decoders, DECODERS)]
        gate = release.plugins[kind].gate
        return written_config(release, engine, plugins, profiles, () if gate is None else (gate,))


def _decider(min_uncached_prompt_tokens: int | None) -> Manifest:
    if min_uncached_prompt_tokens is None:
        return {"type": ALWAYS}
    return {"type": BY_PREFIX, "parameters": {"nonCachedTokens": min_uncached_prompt_tokens}}


def _headers(release: Release) -> list[str]:
    known = release.plugins.get(HEADERS)
    return [] if known is None or known.deprecated else [HEADERS]


# Where a prompt's beginning is cached counts twice as much as the queue, as in llm-d's own config for both sides. A
# decoder keeps the cache of every answer that it is giving until the end: so there its use counts as well.
PD_DISAGGREGATION = Apart(
    "pd-disaggregation",
    prefillers=(Scorer("prefix-cache-scorer", 2), Scorer("queue-scorer", 1)),
    decoders=(
        Scorer("prefix-cache-scorer", 2),
        Scorer("queue-scorer", 1),
        Scorer("kv-cache-utilization-scorer", 1),
    ),
)
