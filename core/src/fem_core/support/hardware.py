"""The machine of a run: cores, memory and processor; and the versions."""

import math
import os
import platform
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import cache
from importlib import metadata
from pathlib import Path


def available_cores() -> int:
    """Cores this process may use: the least of the affinity mask and the cgroup's CPU quota."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return max(1, math.ceil(min(cores, cgroup_quota())))


def cgroup_quota() -> float:
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


def available_memory() -> int | None:
    """Bytes that this process and its children may still take; None where the system doesn't tell.

    The smallest one of the machine's free memory, the rest of the cgroups' limits, each of which holds for all
    processes of its cgroup together, and the rest of this process's own limits. File pages that can be dropped count
    as free.
    """
    known = [free for free in (_machine_memory(), *_cgroup_memory(), *process_memory()) if free is not None]
    return max(0, min(known)) if known else None


def _machine_memory() -> int | None:
    """Bytes that are free without swapping."""
    with suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    if sys.platform == "win32":
        return _windows_memory()
    else:
        total = total_memory()
        return total // 2 if total else None  # macOS doesn't tell what is free


def process_memory(statm: Path = Path("/proc/self/statm")) -> list[int]:
    """What this process has left of its limits of address space and of data (`ulimit -v` and `-d`).

    Address space counts also where it isn't used. Children have limits of their own, as large as these.
    """
    if sys.platform == "win32":
        return []
    else:
        import resource

        try:
            pages = [int(number) for number in statm.read_text().split()]
        except (OSError, ValueError):  # another system than Linux doesn't tell what is used
            return []
        limits = ((resource.getrlimit(resource.RLIMIT_AS)[0], 0), (resource.getrlimit(resource.RLIMIT_DATA)[0], 5))
        known = [(allowed, pages[used]) for allowed, used in limits if allowed != resource.RLIM_INFINITY]
        return [allowed - used * resource.getpagesize() for allowed, used in known]


def _windows_memory() -> int | None:
    """ullAvailPhys of GlobalMemoryStatusEx."""
    import ctypes

    status = (ctypes.c_uint64 * 8)()  # dwLength and dwMemoryLoad share the first, then total, available, …
    ctypes.cast(status, ctypes.POINTER(ctypes.c_uint32))[0] = ctypes.sizeof(status)
    windows = getattr(ctypes, "windll", None)
    return int(status[2]) if windows and windows.kernel32.GlobalMemoryStatusEx(status) else None


def _cgroup_memory(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> Iterator[int]:
    """What each cgroup that this process is in leaves of its limit, version 2 and 1."""
    try:
        lines = [line.split(":", 2) for line in own.read_text().splitlines()]
    except OSError:
        return
    for number, controllers, path in (line for line in lines if len(line) == 3):
        if number == "0":
            base, limit, usage, droppable = root, "memory.max", "memory.current", "inactive_file"
        elif "memory" in controllers.split(","):
            base, limit, usage = root / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"
            droppable = "total_inactive_file"
        else:
            continue
        inner = base / path.strip("/")
        for group in (inner, *inner.parents):  # a limit further up holds too
            if not group.is_relative_to(base):
                break
            try:
                allowed, used = int((group / limit).read_text()), int((group / usage).read_text())
                stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
            except (OSError, ValueError):  # no such group here, or "max"
                continue
            yield allowed - used + int(stat.get(droppable, 0))


def total_memory() -> int | None:
    """Bytes that the machine has; None where the system doesn't tell."""
    if sys.platform != "win32":
        with suppress(OSError, ValueError):
            return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return None


@cache
def _cpuinfo() -> dict[str, str]:
    """What Linux says of the first processor."""
    try:
        first = Path("/proc/cpuinfo").read_text().split("\n\n", 1)[0]
    except OSError:
        return {}
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in first.splitlines())}


def cpu_name() -> str:
    """The processor's name, as far as the system tells."""
    return _cpuinfo().get("model name") or platform.processor() or platform.machine()


def cpu_features() -> list[str]:
    """What the processor can do, such as `avx512f`, in alphabetical order; empty where the system doesn't tell."""
    return sorted((_cpuinfo().get("flags") or _cpuinfo().get("Features", "")).split())


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
