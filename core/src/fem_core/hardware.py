"""What machine a run happened on: cores that may be used, and versions."""

import math
import os
import platform
import sys
from collections.abc import Iterable
from functools import cache
from importlib import metadata
from pathlib import Path


def available_cores() -> int:
    """Cores this process may use: the least of the affinity mask and the cgroup's CPU quota."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return max(1, math.ceil(min(cores, _cgroup_quota())))


def _cgroup_quota() -> float:
    """CPUs granted by cgroup v2 or v1, infinite where there is no limit."""
    for quota, period in (
        ("/sys/fs/cgroup/cpu.max", None),
        ("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "/sys/fs/cgroup/cpu/cpu.cfs_period_us"),
    ):
        try:
            words = Path(quota).read_text().split() + (Path(period).read_text().split() if period else [])
            if words[0] not in ("max", "-1"):
                return int(words[0]) / int(words[1])
        except (OSError, ValueError, IndexError):
            continue
    return math.inf


@cache
def cpu_name() -> str:
    """The processor's name, as far as the system tells."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        return platform.processor() or platform.machine()
    return platform.processor() or platform.machine()


def hardware() -> dict[str, str | int]:
    """Processor, cores this process may use, and platform."""
    return {"cpu": cpu_name(), "cores": available_cores(), "platform": platform.platform()}


def versions(distributions: Iterable[str] = ()) -> dict[str, str]:
    """Versions of Python and of the distributions that matter to a result."""
    found = {"python": sys.version.split()[0]}
    for name in ("fem-core", "numpy", "scipy", *distributions):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found
