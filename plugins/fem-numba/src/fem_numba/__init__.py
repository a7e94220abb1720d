"""Every stage compiled by Numba, parallel over the cores: what `fem backends` shows of it."""

import os
from pathlib import Path

import platformdirs
from fem_core.backend import BackendInfo, Option

__version__ = "1.0.0"


def folder() -> Path:
    """Where compiled functions are kept: NUMBA_CACHE_DIR, or the user's cache."""
    return Path(os.environ.get("NUMBA_CACHE_DIR") or platformdirs.user_cache_dir("fem-core")) / "fem-numba"


INFO = BackendInfo(
    name="numba",
    summary="every stage compiled, parallel over the cores",
    factory="fem_numba.backend:Numba",
    stages=("compute_sparsity", "assemble_system", "apply_bc", "solve_system", "compute_derived"),
    solver_methods=("cg",),
    options=(Option("threads", int, None, "threads; by default the cores this process may use", minimum=1),),
    rank=20,
    caches=lambda: [folder()],
)
