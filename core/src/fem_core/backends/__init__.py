"""The core's two backends; everything else is a distribution of its own."""

from fem_core.backend import BackendInfo, Option

BASELINE = BackendInfo(
    name="baseline",
    summary="the reference: one element after the other in Python, into a LIL matrix",
    factory="fem_core.backends.baseline:Baseline",
    stages=("assemble_system", "compute_derived"),
    rank=0,
)

NUMPY = BackendInfo(
    name="numpy",
    summary="NumPy in one thread, batches of elements at a time",
    factory="fem_core.backends.batched:NumPy",
    stages=("assemble_system", "compute_derived"),
    options=(
        Option("kernel", str, "vectorized", "how a batch is computed", ("vectorized", "loop")),
        Option("batch_size", int, 8192, "elements between two reports of progress", minimum=1),
    ),
    rank=10,
)
