"""Patterns kept on disk between processes, under the fingerprint of the topology.

Off unless the environment variable FEM_CACHE_MB gives its size in megabytes. An entry is whole or absent.
The least recently used entry is deleted first. An entry that can't be used is computed again.

An entry is the fingerprint and the three arrays as they are in memory. So the mesh says how large it may be, and
reading takes no more memory than the pattern itself.
"""

import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np

from fem_core.assembly.sparsity import Sparsity, fault_in
from fem_core.mesh.mesh import Mesh
from fem_core.plugins.stages import COMPUTE_SPARSITY
from fem_core.support import caches
from fem_core.types import Ints

_log = logging.getLogger(__name__)


def folder() -> Path:
    """The folder of the entries; the number in its name changes with their format."""
    return caches.cache_folder("sparsity-2")


def limit() -> float:
    """Bytes that the cache may take; 0 means off."""
    try:
        return 1e6 * max(0.0, float(os.environ.get("FEM_CACHE_MB", "0")))
    except ValueError:
        _log.warning("FEM_CACHE_MB must be a number, not %r; patterns are not cached", os.environ["FEM_CACHE_MB"])
        return 0.0


def load(mesh: Mesh) -> Sparsity | None:
    """The pattern kept for the topology of `mesh`; None if there is none that fits."""
    if not limit():
        return None
    path, most = _place(mesh), 64 * mesh.n_elements + mesh.n_nodes  # entries of a pattern
    try:
        with caches.reading(path, _bytes(mesh, most)) as file:
            found = _read(file, mesh)
        fault = COMPUTE_SPARSITY.fault_in(found, mesh) or fault_in(found, mesh)
    except FileNotFoundError:
        return None
    except caches.Refused as error:
        caches.warn(str(error))
        return None
    except (OSError, ValueError, IndexError) as error:
        fault = str(error)
    if fault:
        _log.warning("%s is not a pattern of this mesh, so the pattern is computed again: %s", path, fault)
        return None
    with suppress(OSError):  # a read-only cache may still be read
        os.utime(path)  # makes no file, if another process has deleted the entry
    return found


def _place(mesh: Mesh) -> Path:
    return folder() / f"{mesh.fingerprint}.bin"


def _bytes(mesh: Mesh, nnz: int) -> int:
    """The size of the file of a pattern with `nnz` entries."""
    return len(mesh.fingerprint) + 4 * (mesh.n_nodes + 1 + 64 * mesh.n_elements + nnz)


def _read(file: BinaryIO, mesh: Mesh) -> Sparsity:
    """The pattern in a file. Raises ValueError if it is that of another mesh or has another size."""
    if file.read(len(mesh.fingerprint)) != mesh.fingerprint.encode():
        raise ValueError("it begins with another fingerprint")
    nnz, rest = divmod(os.fstat(file.fileno()).st_size - _bytes(mesh, 0), 4)
    if nnz < 0 or rest:
        raise ValueError("it was cut off")

    def array(*shape: int) -> Ints:
        found = np.empty(shape, dtype=np.int32)
        if file.readinto(found.data) != found.nbytes:  # type: ignore[attr-defined]
            raise ValueError("it was cut off")
        return found

    indptr, slots = array(mesh.n_nodes + 1), array(mesh.n_elements, 8, 8)
    return Sparsity(indptr, array(nnz), slots)


def store(mesh: Mesh, sparsity: Sparsity) -> None:
    """Keep a pattern if it fits. A full or read-only disk is only a warning."""
    if _bytes(mesh, sparsity.nnz) > limit():
        return
    try:
        with caches.writing(_place(mesh)) as file:
            file.write(mesh.fingerprint.encode())
            for array in (sparsity.indptr, sparsity.slots, sparsity.indices):
                file.write(np.ascontiguousarray(array, dtype=np.int32).data)
        caches.shrink(folder(), "*.bin", size=limit())
    except caches.Refused as error:
        caches.warn(str(error))
    except OSError as error:
        _log.warning("the pattern isn't cached: %s", error)
