"""The picker's release and its config, from what the router's role says."""

from __future__ import annotations

from fusioninfer.api.service import InvalidSpec, Manifest, Router
from fusioninfer.build.router import releases
from fusioninfer.build.router.config import checked
from fusioninfer.build.router.pod_labels import PodLabels
from fusioninfer.build.router.releases import Release
from fusioninfer.build.router.strategies import Strategies, check_lora, checked_scorers, named

DEFAULT_STRATEGY = "prefix-cache"


def release_of(router: Router) -> Release:
    """The release that the router asks for, or the default; raises InvalidSpec if we know nothing of it."""
    known = releases.releases()
    name = router.release or releases.DEFAULT
    if name not in known:
        raise InvalidSpec(f"{router.path}.pickerRelease", f"{name!r} is not known; there are {', '.join(known)}")
    return known[name]


def picker_config(
    router: Router, release: Release, strategies: Strategies, *, engine: str, labels: PodLabels, has_lora: bool
) -> Manifest:
    """The EndpointPickerConfig for `release`.

    `engine` is what runs in the pods, `labels` are those that the pods carry, `has_lora` says whether any of them
    serves adapters. Raises InvalidSpec for what the picker would refuse, or what could not work.
    """
    if router.config is not None:
        return checked(router.config, release, f"{router.path}.endpointPickerConfig", labels)
    scorers = checked_scorers(router.scorers, release, f"{router.path}.scorers")
    strategy = named(router.strategy or DEFAULT_STRATEGY, strategies, f"{router.path}.strategy")
    check_lora(strategy, scorers, has_lora, router.path)
    return strategy.compile(release, scorers, engine)
