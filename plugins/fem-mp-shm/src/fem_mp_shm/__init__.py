"""Batches of elements on a pool of processes, pickled or in shared memory: what `fem backends` shows of them."""

from fem_core.backend import BackendInfo, Option
from fem_core.execution import int_or_auto

__version__ = "1.0.0"

_COMMON = (
    Option("workers", int, None, "processes; by default the cores this process may use"),
    Option("batch_size", int_or_auto, None, "elements in a batch, or auto; 1000 with kernel=loop"),
    Option("batches_per_task", int, 1, "batches handed to a process together"),
    Option("min_size", int, 1000, "fewer elements stay in the calling process"),
    Option("kernel", str, "vectorized", "how a batch is computed", ("vectorized", "loop")),
    Option(
        "start_method",
        str,
        "default",
        "how processes start: default is forkserver on Linux, else spawn",
        ("default", "spawn", "forkserver", "fork"),
    ),
)

MP = BackendInfo(
    name="mp",
    summary="batches of elements on a pool of processes; inputs and results are pickled",
    factory="fem_mp_shm.mp:MP",
    stages=("assemble_system", "compute_derived"),
    options=(
        *_COMMON,
        Option("payload", str, "batch", "what is sent with a batch: what it needs, or the mesh", ("batch", "mesh")),
    ),
    rank=4,
)

MP_SHM = BackendInfo(
    name="mp-shm",
    summary="batches of elements on a pool of processes; inputs and results are in shared memory",
    factory="fem_mp_shm.shm:MPShm",
    stages=("assemble_system", "compute_derived"),
    options=(
        *_COMMON,
        Option("storage", str, "auto", "where arrays are shared: auto is shm, else file", ("auto", "shm", "file")),
    ),
    rank=6,
)
