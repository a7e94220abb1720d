"""Every stage on the GPU by kernels in CUDA C, loaded through CuPy: the entry in `fem backends`."""

import os
from importlib.util import find_spec
from pathlib import Path

from fem_core.device.info import OPTIONS, SOLVER_METHODS, STAGES
from fem_core.plugins import BackendInfo

__version__ = "1.0.0"

#: How to install CuPy, by the driver of the machine.
INSTALL = 'python -m pip install ./core "./plugins/fem-cupy[cuda13]", or [cuda12] for an older driver'


def available() -> str | None:
    """None, or what is missing. A GPU is looked for only when the backend is opened."""
    return None if find_spec("cupy") else f"CuPy isn't installed: {INSTALL}"


def folder() -> Path:
    """The folder of CuPy's compiled code: CUPY_CACHE_DIR, or its default in the user's home."""
    return Path(os.environ.get("CUPY_CACHE_DIR") or Path.home() / ".cupy" / "kernel_cache")


INFO = BackendInfo(
    name="cupy",
    summary="every stage on an NVIDIA GPU, with kernels in CUDA C",
    factory="fem_cupy.backend:CuPy",
    stages=STAGES,
    solver_methods=SOLVER_METHODS,
    options=OPTIONS,
    device="cuda",
    rank=40,
    available=available,
    caches=lambda: [folder()],
)
