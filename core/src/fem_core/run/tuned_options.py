"""Options that `fem tune` found for this machine: a file for each backend and hardware signature, in the user's cache.

They change speed, never a result. Options that can't be used are ignored with a warning, and the defaults apply.
"""

import hashlib
import json
import logging
import math
import os
import platform
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fem_core.plugins.registry import Listing
from fem_core.support import caches
from fem_core.support.gpus import find_gpus
from fem_core.support.hardware import available_cores, cpu_features, cpu_name, total_memory, versions

_log = logging.getLogger(__name__)

_MOST = 1e6  # bytes of a file


@dataclass(frozen=True)
class Tuned:
    """The tuned options of a backend.

    Parameters
    ----------
    options : mapping
        Values that replace the defaults; empty if the defaults are best.
    day : str
        The day of the tuning, as YYYY-MM-DD.
    """

    options: Mapping[str, Any]
    day: str

    def __str__(self) -> str:
        values = ", ".join(f"{name}={value}" for name, value in self.options.items())
        return f"{values or 'defaults'}, as tuned on {self.day} for this machine"


def folder() -> Path:
    """The folder of the files; its number changes with their format."""
    return caches.cache_folder("tuned-1")


def signature(listing: Listing) -> dict[str, Any]:
    """What the best options depend on: the processor, its cores, memory, devices and what runs on them."""
    assert listing.info
    memory = total_memory()
    return {
        "backend": listing.name,
        "distribution": listing.distribution,
        "core": versions()["fem-core"],
        "python": f"{platform.python_implementation()} {sys.version_info.major}.{sys.version_info.minor}",
        "gil": getattr(sys, "_is_gil_enabled", lambda: True)(),
        "cpu": f"{platform.machine()} {cpu_name()}",
        "features": hashlib.blake2b(" ".join(cpu_features()).encode(), digest_size=8).hexdigest(),
        "cores": available_cores(),
        "memory": f"{2 ** round(math.log2(memory / 2**30)):g} GB" if memory else None,
        "devices": [] if listing.info.device == "cpu" else find_gpus()["devices"],
        "threads": {name: value for name, value in sorted(os.environ.items()) if name.endswith("_NUM_THREADS")},
    }


def load(listing: Listing) -> Tuned | None:
    """The saved options of a backend for this machine; None if there are none, or with FEM_TUNE=off."""
    if os.environ.get("FEM_TUNE", "").lower() in ("off", "no", "false", "0"):
        return None
    try:
        if not _kept(listing.name):
            return None
        path, wanted = _place(listing)
        with caches.reading(path, _MOST) as file:
            found = json.loads(file.read())
        if found["signature"] != wanted:
            raise ValueError("it was written for another machine or version")
        assert listing.info
        candidates = {option.name: option.values(available_cores()) for option in listing.info.options}
        for name, value in found["options"].items():  # compared as text: True and 1.0 equal 1
            if json.dumps(value) not in map(json.dumps, candidates.get(name, ())):
                raise ValueError(f"{name}={value!r} is not a candidate")
        return Tuned(listing.info.parse_options(found["options"]), date.fromisoformat(found["day"]).isoformat())
    except FileNotFoundError:  # tuned on another machine, or before something changed
        return None
    except caches.Refused as error:
        caches.warn(str(error))
        return None
    except Exception as error:  # a plugin's candidates may raise one, too
        what = f"{type(error).__name__}: {error}"
        _log.warning("the tuned options of %s can't be used (%s); run `fem tune` again", listing.name, what)
        return None


def prepare() -> None:
    """Make the folder and check that files can be made in it. Raises OSError with the path if not."""
    caches.prepare(folder())


def store(listing: Listing, options: Mapping[str, Any], nodes: Sequence[int]) -> Path:
    """Save the options found on meshes with these numbers of nodes. Raises OSError with the path if that fails."""
    path, content = _place(listing)
    found = {"signature": content, "day": date.today().isoformat(), "options": dict(options), "nodes": list(nodes)}
    with caches.writing(path) as file:
        file.write(json.dumps(found, indent=2).encode() + b"\n")
    return path


def forget(backends: Iterable[str] | None = None) -> list[Path]:
    """Delete the files of these backends, or of all, for every machine. Returns the deleted files."""
    gone = _kept() if backends is None else [name for backend in backends for name in _kept(backend)]
    caches.remove(folder(), gone)
    return [folder() / name for name in gone]


def _kept(backend: str | None = None) -> list[str]:
    """The names of the files of a backend, or of all."""
    owner = None if backend is None else quote(backend, safe="")
    return [name for name in caches.names(folder(), "*.json") if owner in (None, name.rpartition("-")[0])]


def _place(listing: Listing) -> tuple[Path, dict[str, Any]]:
    """The file of a backend for this machine, and the signature behind its name."""
    content = signature(listing)
    digest = hashlib.blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=8).hexdigest()
    return folder() / f"{quote(listing.name, safe='')}-{digest}.json", content
