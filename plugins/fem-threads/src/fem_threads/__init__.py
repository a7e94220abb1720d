"""Batches of elements on a pool of threads: the entry in `fem backends`."""

from fem_core.backends import worker_options
from fem_core.plugins import BackendInfo

__version__ = "1.0.0"

INFO = BackendInfo(
    name="threads",
    summary="batches of elements in a pool of threads",
    factory="fem_threads.backend:Threads",
    stages=("assemble_system", "compute_derived"),
    options=worker_options("thread", "threads"),
    rank=8,
)
