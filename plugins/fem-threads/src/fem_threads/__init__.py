"""Batches of elements on a pool of threads: what `fem backends` shows of it."""

from fem_core.backend import BackendInfo, Option
from fem_core.execution import int_or_auto

__version__ = "1.0.0"

INFO = BackendInfo(
    name="threads",
    summary="batches of elements on a pool of threads",
    factory="fem_threads.backend:Threads",
    stages=("assemble_system", "compute_derived"),
    options=(
        Option("workers", int, None, "threads; by default the cores this process may use"),
        Option("batch_size", int_or_auto, None, "elements in a batch, or auto; 1000 with kernel=loop"),
        Option("batches_per_task", int, 1, "batches handed to a thread together"),
        Option("min_size", int, 1000, "fewer elements stay in the calling thread"),
        Option("kernel", str, "vectorized", "how a batch is computed", ("vectorized", "loop")),
    ),
    rank=8,
)
