"""The light part: the entry in `fem backends`. It imports only the core's description of a backend."""

from fem_core.execution import int_or_auto
from fem_core.plugins import BackendInfo, Option

INFO = BackendInfo(
    name="joblib",
    summary="an example: batches of elements on joblib's processes",
    factory="fem_joblib_backend.backend:JoblibBackend",
    stages=("assemble_system", "compute_derived"),
    options=(
        Option("workers", int, None, "number of processes; default: all cores this process may use"),
        Option("batch_size", int_or_auto, "auto", "elements per batch, or auto"),
        Option("min_size", int, 1000, "meshes with fewer elements run in the calling process"),
    ),
    rank=3,
)
