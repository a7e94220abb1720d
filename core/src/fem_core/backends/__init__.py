"""The core's own backends, `baseline` and `numpy`; the default for every other stage; built-in formats and solvers."""

from fem_core.backends.batched import BatchedBackend
from fem_core.execution.batches import int_or_auto
from fem_core.plugins.backend import BackendInfo, Option, halves

__all__ = ["BASELINE", "KERNEL", "NUMPY", "BatchedBackend", "worker_options"]

#: The option of every `BatchedBackend`.
KERNEL = Option("kernel", str, "vectorized", "how a batch is computed", ("vectorized", "loop"))


def worker_options(worker: str, workers: str) -> tuple[Option, ...]:
    """The options of a `BatchedBackend` with workers, such as threads or processes: see `Batching`.

    `min_size` is tuned first. Otherwise small meshes alone would decide on the number of workers and the batch size.
    """
    return (
        Option(
            "min_size", int, 1000, f"meshes with fewer elements run in the calling {worker}", (), 0, (10_000, 50_000)
        ),
        Option("workers", int, None, f"number of {workers}; default: all cores this process may use", (), 1, halves),
        Option(
            "batch_size",
            int_or_auto,
            None,
            "elements per batch, or auto; default with kernel=loop: 1000",
            (),
            1,
            (4096, 16384),
        ),
        Option("batches_per_task", int, 1, f"batches sent to a {worker} at a time", minimum=1),
        KERNEL,
    )


BASELINE = BackendInfo(
    name="baseline",
    summary="the reference: one element at a time in Python, into a LIL matrix",
    factory="fem_core.backends.baseline:Baseline",
    stages=("assemble_system", "compute_derived"),
    rank=0,
)

NUMPY = BackendInfo(
    name="numpy",
    summary="NumPy in one thread, in batches of elements",
    factory="fem_core.backends.batched:NumPy",
    stages=("assemble_system", "compute_derived"),
    options=(
        KERNEL,
        Option("batch_size", int, 8192, "elements per batch; progress is reported after each batch", minimum=1),
    ),
    rank=10,
)
