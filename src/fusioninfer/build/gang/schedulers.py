"""Which gang schedulers there are."""

from __future__ import annotations

from collections.abc import Mapping

from fusioninfer.api import names
from fusioninfer.api.service import InferenceService
from fusioninfer.build.gang import GangScheduler
from fusioninfer.build.gang.volcano import VOLCANO

SCHEDULERS: Mapping[str, GangScheduler] = {VOLCANO.name: VOLCANO}
"""By the name that pods give them."""


def mark_of(service: InferenceService) -> tuple[str, str] | None:
    """The annotation, and its value, by which pods belong to the gang of `service`; None if none was asked for."""
    gang = service.gang
    return None if gang is None else (SCHEDULERS[gang.scheduler].group_annotation, names.gang(service.name))
