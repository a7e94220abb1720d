"""The installation, the machine, the state of the backends, and advice: the functions behind `fem doctor`."""

import stat
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from fem_core.backends import pattern_cache
from fem_core.plugins.registry import REGISTRY, Listing, State
from fem_core.run import tuned_options
from fem_core.run.opening import todo, tuning_of
from fem_core.support import caches
from fem_core.support.gpus import find_gpus
from fem_core.tools.backend_check import probe as run_probe
from fem_core.tools.doctor import installation, machine
from fem_core.tools.doctor.advice import advise

__all__ = ["examine"]


def examine(
    *, probe: bool = True, timeout: float = 60.0, on_probe: Callable[[str], object] | None = None
) -> dict[str, Any]:
    """The facts of `fem doctor` as plain data; the keys are its sections.

    Parameters
    ----------
    probe : bool
        Solve a small problem with each ready backend, in a separate process. This also fills the caches of backends
        that compile.
    timeout : float
        Time limit of each backend in seconds.
    on_probe : function of a backend's name, optional
        It is called before each backend is tested.
    """
    listings = REGISTRY.listings()
    found: dict[str, Any] = {
        "python": machine.python(),
        "versions": installation.versions(),
        "missing_extras": installation.missing_extras(),
        "strangers": installation.strangers(),
        "cores": machine.cores(),
        "memory": machine.memory(),
        "shared_memory": machine.shared_memory(),
        "threading": machine.threading(),
        "gpus": find_gpus(),
        "backends": [_backend(one, probe, timeout, on_probe) for one in listings],
        "plugin_failures": dict(REGISTRY.plugin_failures),
        "caches": list(_caches(listings)),
    }
    found["advice"] = list(advise(found))
    return found


def _backend(
    one: Listing, probe: bool, timeout: float, on_probe: Callable[[str], object] | None = None
) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": one.name,
        "state": str(one.state),
        "reason": one.reason,
        "distribution": one.distribution,
        "rank": one.info.rank if one.info else None,
        "device": one.info.device if one.info else None,
        "works": None,
        "seconds": None,
        "pending": todo(one) if one.state is State.READY else None,
        "prepared": None,
        "tuned": str(kept) if (kept := tuning_of(one)) else None,
    }
    if probe and one.state is State.READY:
        if on_probe:
            on_probe(one.name)
        start = time.perf_counter()
        reason = run_probe(one.name, timeout)
        found |= {"works": reason is None, "reason": reason or "", "seconds": time.perf_counter() - start}
        before, found["pending"] = found["pending"], todo(one)
        found["prepared"] = before if found["pending"] is None else None
    return found


def _caches(listings: Iterable[Listing]) -> Iterator[dict[str, Any]]:
    """The core's patterns, tuned options, and what backends keep, each with its files, bytes and fault."""
    yield {"owner": "fem-core", "limit": pattern_cache.limit()} | _size("sparsity patterns", [pattern_cache.folder()])
    yield {"owner": "fem tune", "limit": None} | _size("tuned options", [tuned_options.folder()])
    for one in listings:
        if one.info and one.state is State.READY:
            try:
                paths = list(one.info.caches())
                if paths:
                    yield {"owner": one.name, "limit": None} | _size("compiled code", paths)
            except Exception as error:
                reason = f"caches() raised {type(error).__name__}: {error}"
                nothing = {"path": "", "files": 0, "bytes": 0, "fault": None}
                yield {"owner": one.name, "limit": None, "what": reason} | nothing


def _size(what: str, paths: list[Path]) -> dict[str, Any]:
    folders = [path for path in paths if path.is_dir()]
    sizes = []
    for file in (one for path in paths for one in (path.rglob("*") if path in folders else [path])):
        with suppress(OSError):  # other processes may delete it
            status = file.lstat()
            if stat.S_ISREG(status.st_mode):
                sizes.append(status.st_size)
    folder = paths[0] if paths[0] in folders or len(paths) == 1 else paths[0].parent
    fault = next((why for one in folders if (why := caches.fault(one))), None)
    return {"what": what, "path": str(folder), "files": len(sizes), "bytes": sum(sizes), "fault": fault}
