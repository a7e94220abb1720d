"""Every stage compiled by Numba, parallel over the cores: the entry in `fem backends`."""

import hashlib
import os
import sys
from functools import cache
from importlib.metadata import version
from pathlib import Path

from fem_core.plugins.backend import BackendInfo, Option, halves
from fem_core.support.caches import cache_folder, holds

__version__ = "1.0.0"


def folder() -> Path:
    """The folder of compiled functions: NUMBA_CACHE_DIR, or the user's cache."""
    return Path(os.environ.get("NUMBA_CACHE_DIR") or cache_folder(), "fem-numba")


@cache
def stamp() -> bytes:
    """Digest of everything that compiled code depends on, except the processor."""
    digest = hashlib.blake2b(f"{version('numba')} {sys.version} {sys.platform}".encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.digest()


def complete() -> Path:
    """A file that exists if all functions are compiled and on disk."""
    return folder() / f"complete-{stamp().hex()[:32]}"


def pending() -> str | None:
    """Work still to be done before the first run, for which `auto` doesn't wait; None if there is none."""
    return None if holds(complete()) else "compile for some 40 s, once"


INFO = BackendInfo(
    name="numba",
    summary="every stage compiled by Numba, parallel on all cores",
    factory="fem_numba.backend:Numba",
    stages=("compute_sparsity", "assemble_system", "apply_bc", "solve_system", "compute_derived"),
    solver_methods=("cg", "mg"),
    options=(
        Option("threads", int, None, "number of threads; default: all cores this process may use", (), 1, halves),
    ),
    rank=20,
    pending=pending,
    caches=lambda: [folder()],
)
