"""Strategies: how the picker chooses a pod, each compiled to a config for one release of the picker.

A strategy is found by the entry-point group `fusioninfer.strategies`, as engines are; the built-in ones are its first
users.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import entry_points
from typing import Protocol

from fusioninfer.api.service import InvalidSpec, Manifest, Scorer
from fusioninfer.build.router.releases import Release

GROUP = "fusioninfer.strategies"


class Strategy(Protocol):
    """One way to choose."""

    @property
    def name(self) -> str:
        """The word that users write in `strategy`."""
        ...

    @property
    def needs_lora(self) -> bool:
        """Whether it is of use only where an engine serves LoRA adapters."""
        ...

    @property
    def sends_prompts(self) -> bool:
        """Whether it picks among prefillers too, and so is of use only where there are some."""
        ...

    def compile(
        self,
        release: Release,
        scorers: Sequence[Scorer] = (),
        engine: str | None = None,
        min_uncached_prompt_tokens: int | None = None,
    ) -> Manifest:
        """The EndpointPickerConfig for `release`.

        `scorers`, if there are any, instead of the strategy's own; they have passed `checked_scorers`. `engine` is
        whose metrics the pods have, by our name; of those that the release does not know, vLLM's are expected.
        Where prompts are sent to prefillers, those with fewer tokens than `min_uncached_prompt_tokens` that the
        decoder has not cached are not; None: all of them are.
        """
        ...


Strategies = Mapping[str, Strategy]
"""The strategies that are installed, by name."""


@cache
def installed() -> Strategies:
    """Every strategy of the entry-point group; raises what a broken plug-in raises on import."""
    return {entry.name: entry.load() for entry in entry_points(group=GROUP)}


def named(name: str, strategies: Strategies, path: str) -> Strategy:
    """The strategy `name`; raises InvalidSpec with `path` as its field if there is none."""
    if name not in strategies:
        raise InvalidSpec(path, f"{name!r} is not installed; there are {', '.join(sorted(strategies))}")
    return strategies[name]


def checked_scorers(scorers: Sequence[Scorer], release: Release, path: str) -> tuple[Scorer, ...]:
    """`scorers`, which a user wrote at `path`, such as spec.roles[1].scorers.

    Raises InvalidSpec for a type that `release` does not have or that is no scorer, for one that needs parameters,
    for one that stands there twice, and if no weight is above 0.
    """
    seen: set[str] = set()
    for index, scorer in enumerate(scorers):
        if problem := _problem(scorer.type, seen, release):
            raise InvalidSpec(f"{path}[{index}].type", problem)
        seen.add(scorer.type)
    if scorers and not any(scorer.weight > 0 for scorer in scorers):
        raise InvalidSpec(path, "every weight is 0, so that any pod is as good as another; give one of them more")
    return tuple(scorers)


def _problem(kind: str, seen: set[str], release: Release) -> str | None:
    known = release.plugins.get(kind)
    if known is None or "scorer" not in known.slots:
        what = "is not known to" if known is None else f"is a {known.slots[0]} and no scorer in"
        return f"{kind!r} {what} {release.name}; its scorers are {', '.join(_usable(release))}"
    if known.required or known.gate:
        needs = " and ".join(known.required) or f"the feature gate {known.gate}"
        return f"{kind!r} needs {needs}: write a whole endpointPickerConfig"
    if kind in seen:
        return f"{kind!r} stands here twice; add up the weights"
    return None


def _usable(release: Release) -> list[str]:
    return [kind for kind in release.of_slot("scorer") if not release.plugins[kind].required]


LORA_SCORER = "lora-affinity-scorer"


def check_lora(strategy: Strategy, scorers: Sequence[Scorer], is_enabled: bool, path: str) -> None:
    """Raises InvalidSpec if something of the role at `path` is about LoRA, which no engine has enabled."""
    if is_enabled:
        return
    enable = "no engine of this service serves LoRA adapters; enable them there (vLLM: --enable-lora), or choose "
    for index, scorer in enumerate(scorers):
        if scorer.type == LORA_SCORER:
            raise InvalidSpec(f"{path}.scorers[{index}].type", f"{enable}other scorers")
    if strategy.needs_lora and not scorers:
        raise InvalidSpec(f"{path}.strategy", f"{enable}another strategy than {strategy.name}")
