"""Which gang schedulers there are."""

from __future__ import annotations

from collections.abc import Mapping

from fusioninfer.build.gang import GangScheduler
from fusioninfer.build.gang.volcano import VOLCANO

SCHEDULERS: Mapping[str, GangScheduler] = {VOLCANO.name: VOLCANO}
"""By the name that pods give them."""
