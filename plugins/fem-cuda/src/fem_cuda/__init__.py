"""Every stage on the GPU by kernels in Python, compiled by numba-cuda: the entry in `fem backends`."""

import os
from importlib.util import find_spec
from pathlib import Path

from fem_core.device.info import OPTIONS, SOLVER_METHODS, STAGES
from fem_core.plugins import BackendInfo
from fem_core.support.caches import cache_folder

__version__ = "1.0.0"

#: How to install numba-cuda, by the driver of the machine.
INSTALL = 'python -m pip install ./core "./plugins/fem-cuda[cuda13]", or [cuda12] for an older driver'


def available() -> str | None:
    """None, or what is missing. A GPU is looked for only when the backend is opened."""
    return None if find_spec("numba_cuda") else f"numba-cuda isn't installed: {INSTALL}"


def folder() -> Path:
    """The folder of compiled kernels: NUMBA_CACHE_DIR, or the user's cache."""
    return Path(os.environ.get("NUMBA_CACHE_DIR") or cache_folder(), "fem-cuda")


#: Whether Python interprets the kernels: then there is no GPU, and `auto` doesn't take this backend.
SIMULATED = os.environ.get("NUMBA_ENABLE_CUDASIM", "0") not in ("", "0")

INFO = BackendInfo(
    name="cuda",
    summary="every stage on an NVIDIA GPU, with kernels in Python",
    factory="fem_cuda.backend:CUDA",
    stages=STAGES,
    solver_methods=SOLVER_METHODS,
    options=OPTIONS,
    device="simulator" if SIMULATED else "cuda",
    rank=-1 if SIMULATED else 35,
    available=available,
    caches=lambda: [folder()],
)
