"""The picker's release and its config, from what the router's role says."""

from __future__ import annotations

from fusioninfer.api.service import InferenceService, InvalidSpec, Manifest, Router
from fusioninfer.build.router import releases
from fusioninfer.build.router.config import checked
from fusioninfer.build.router.pod_labels import PodLabels
from fusioninfer.build.router.releases import Release
from fusioninfer.build.router.strategies import Strategies, Strategy, check_lora, checked_scorers, named

DEFAULT_STRATEGY = "prefix-cache"
PD_STRATEGY = "pd-disaggregation"
"""The default where prompts and answers are computed apart."""


def release_of(router: Router) -> Release:
    """The release that the router asks for, or the default; raises InvalidSpec if we know nothing of it."""
    known = releases.releases()
    name = router.release or releases.DEFAULT
    if name not in known:
        raise InvalidSpec(f"{router.path}.pickerRelease", f"{name!r} is not known; there are {', '.join(known)}")
    return known[name]


def strategy_of(service: InferenceService, router: Router, strategies: Strategies) -> Strategy | None:
    """How `router` chooses; None: its own config says it. Raises InvalidSpec for what is not there, or does not fit."""
    if router.config is not None:
        return None
    default = DEFAULT_STRATEGY if service.disaggregation is None else PD_STRATEGY
    strategy = named(router.strategy or default, strategies, f"{router.path}.strategy")
    if strategy.sends_prompts and service.disaggregation is None:
        raise InvalidSpec(
            f"{router.path}.strategy",
            f"{strategy.name!r} sends prompts to prefillers, and there are none; write another strategy, or a "
            "prefiller and a decoder instead of the worker",
        )
    return strategy


def sends_prompts(strategy: Strategy | None) -> bool:
    """Whether pods of both sides are picked among; a config of the user's own may do anything."""
    return strategy is None or strategy.sends_prompts


def picker_config(
    router: Router,
    release: Release,
    strategy: Strategy | None,
    *,
    engine: str,
    labels: PodLabels,
    has_lora: bool,
    min_uncached_prompt_tokens: int | None = None,
) -> Manifest:
    """The EndpointPickerConfig for `release` by `strategy`; without one, the user's own.

    `engine` is what runs in the pods, `labels` are those that the pods carry, `has_lora` says whether any of them
    serves adapters, `min_uncached_prompt_tokens` is what a strategy that sends prompts to prefillers goes by. Raises
    InvalidSpec for what the picker would refuse, or what could not work.
    """
    if strategy is None:
        return checked(router.config or "", release, f"{router.path}.endpointPickerConfig", labels)
    scorers = checked_scorers(router.scorers, release, f"{router.path}.scorers")
    check_lora(strategy, scorers, has_lora, router.path)
    return strategy.compile(release, scorers, engine, min_uncached_prompt_tokens)
