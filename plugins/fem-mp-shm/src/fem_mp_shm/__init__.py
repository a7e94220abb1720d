"""Batches of elements on a pool of processes, pickled or in shared memory: what `fem backends` shows of them."""

from fem_core.backends import worker_options
from fem_core.plugins import BackendInfo, Option

__version__ = "1.0.0"

_COMMON = (
    *worker_options("process", "processes"),
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
