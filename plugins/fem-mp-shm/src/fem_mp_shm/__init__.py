"""Batches of elements on a pool of processes, pickled or in shared memory: the entries in `fem backends`."""

from fem_core.backends import worker_options
from fem_core.plugins import BackendInfo, Option

__version__ = "1.0.0"

_COMMON = (
    *worker_options("process", "processes"),
    Option(
        "start_method",
        str,
        "default",
        "how processes are started; default is forkserver on Linux, otherwise spawn",
        ("default", "spawn", "forkserver", "fork"),
    ),
)

MP = BackendInfo(
    name="mp",
    summary="batches of elements in a pool of processes; data are pickled",
    factory="fem_mp_shm.mp:MP",
    stages=("assemble_system", "compute_derived"),
    options=(
        *_COMMON,
        Option(
            "payload",
            str,
            "batch",
            "data sent with a batch; batch is only its own data, mesh is the whole mesh",
            ("batch", "mesh"),
        ),
    ),
    rank=4,
)

MP_SHM = BackendInfo(
    name="mp-shm",
    summary="batches of elements in a pool of processes; data are in shared memory",
    factory="fem_mp_shm.shm:MPShm",
    stages=("assemble_system", "compute_derived"),
    options=(
        *_COMMON,
        Option(
            "storage",
            str,
            "auto",
            "where shared arrays are stored; auto is shm if there is enough space, otherwise file",
            ("auto", "shm", "file"),
        ),
    ),
    rank=6,
)
