"""How much memory a run will need, computed before it starts."""

from dataclasses import dataclass

from fem_core.errors import BackendUnavailable
from fem_core.execution import available_memory
from fem_core.support.wording import byte_size

#: Bytes that a worker takes before its first task and doesn't share with others.
WORKER = {"spawn": 60_000_000, "forkserver": 20_000_000, "fork": 20_000_000}

#: Bytes of a task's memory that a worker keeps for its next task.
KEPT = 64 << 20


@dataclass(frozen=True)
class Need:
    """Bytes that a run needs.

    Parameters
    ----------
    once : int
        For any number of workers.
    crossing : int
        At each end of a pipe, while workers compute.
    worker : int
        For each worker.
    afterwards : int
        In the calling process, when they are done.
    """

    once: int
    crossing: int
    worker: int
    afterwards: int

    def total(self, workers: int) -> int:
        """The peak with so many workers."""
        computing = (1 + workers) * self.crossing
        summing = workers * min(self.crossing, KEPT) + self.afterwards
        return self.once + workers * self.worker + max(computing, summing)


def affordable(need: Need, workers: int) -> tuple[int, str]:
    """How many of the workers the memory allows, and a warning if not all.

    Raises BackendUnavailable if it allows none.
    """
    allowed = available_memory()
    if allowed is None or need.total(workers) <= allowed:
        return workers, ""
    fewer = next((fewer for fewer in range(workers, 0, -1) if need.total(fewer) <= allowed), 0)
    if not fewer:
        raise BackendUnavailable(
            f"a run with one worker needs {byte_size(need.total(1))}, and this process may allocate "
            f"{byte_size(allowed)} more; use backend numpy, or mp-shm with storage=file"
        )
    return fewer, (
        f"{fewer} instead of {workers} workers: {workers} would need {byte_size(need.total(workers))}, and "
        f"this process may allocate {byte_size(allowed)} more"
    )
