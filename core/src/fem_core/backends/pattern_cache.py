"""Patterns kept on disk between processes, under the fingerprint of the topology.

Off unless the environment variable FEM_CACHE_MB gives its size in megabytes. An entry is whole or absent.
The least recently used entry is deleted first. An entry that can't be read is computed again.
"""

import logging
import os
from contextlib import suppress
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from fem_core.assembly.sparsity import Sparsity, fault_in
from fem_core.mesh.mesh import Mesh
from fem_core.plugins.stages import COMPUTE_SPARSITY
from fem_core.support.atomic import replacing
from fem_core.support.caches import cache_folder

_log = logging.getLogger(__name__)


def folder() -> Path:
    """The folder of the entries; the number in its name changes with their format."""
    return cache_folder("sparsity-1")


def limit() -> float:
    """Bytes that the cache may take; 0 means off."""
    try:
        return 1e6 * max(0.0, float(os.environ.get("FEM_CACHE_MB", "0")))
    except ValueError:
        _log.warning("FEM_CACHE_MB must be a number, not %r; patterns are not cached", os.environ["FEM_CACHE_MB"])
        return 0.0


def load(mesh: Mesh) -> Sparsity | None:
    """The pattern kept for the topology of `mesh`; None if there is none that fits."""
    path = folder() / f"{mesh.fingerprint}.npz"
    if not limit() or not path.is_file():
        return None
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            found = Sparsity(*(arrays[name] for name in ("indptr", "indices", "slots")))
        fault = COMPUTE_SPARSITY.fault_in(found, mesh) or fault_in(found, mesh)
    except (OSError, ValueError, TypeError, KeyError, IndexError, EOFError, BadZipFile) as error:
        fault = str(error)
    if fault:
        _log.warning("%s is not a pattern of this mesh, so the pattern is computed again: %s", path, fault)
        return None
    with suppress(OSError):  # a read-only cache may still be read
        path.touch()
    return found


def store(mesh: Mesh, sparsity: Sparsity) -> None:
    """Keep a pattern if it fits. A full or read-only disk is only a warning."""
    size = sparsity.indptr.nbytes + sparsity.indices.nbytes + sparsity.slots.nbytes
    if size > limit():
        return
    try:
        folder().mkdir(parents=True, exist_ok=True)
        with replacing(folder() / f"{mesh.fingerprint}.npz") as temporary, temporary.open("wb") as file:
            np.savez(file, indptr=sparsity.indptr, indices=sparsity.indices, slots=sparsity.slots)
        _shrink()
    except OSError as error:
        _log.warning("the pattern isn't cached: %s", error)


def _shrink() -> None:
    """Delete the least recently used entries until the rest fits."""
    entries = sorted(folder().glob("*.npz"), key=lambda path: path.stat().st_mtime, reverse=True)
    total = 0
    for path in entries:
        total += path.stat().st_size
        if total > limit():
            path.unlink(missing_ok=True)
