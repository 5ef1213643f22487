"""What a process has used, from /proc."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU so far, memory now."""

    cpu_seconds: float
    rss_mebibytes: float


def usage_of(pid: int) -> Usage:
    """What process `pid` has used; raises FileNotFoundError if it is gone. Source: proc(5), stat and status."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return Usage(ticks / os.sysconf("SC_CLK_TCK"), int(status["VmRSS"].split()[0]) / 1024)


def started_at(pid: int) -> float:
    """When process `pid` was started, on the clock of time.time(), to a tick. Source: proc(5), stat and uptime."""
    ticks = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    up = float(Path("/proc/uptime").read_text().split()[0])
    return time.time() - up + ticks / os.sysconf("SC_CLK_TCK")
