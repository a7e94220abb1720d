"""How much memory a run will take, before it does."""

from dataclasses import dataclass

from fem_core.errors import BackendUnavailable
from fem_core.execution import available_memory
from fem_core.support.wording import byte_size

#: Bytes of its own that a worker takes before its first task: what it doesn't share with others.
WORKER = {"spawn": 60_000_000, "forkserver": 20_000_000, "fork": 20_000_000}

#: Bytes that a worker keeps for its next task, of what it has taken for one.
KEPT = 64 << 20


@dataclass(frozen=True)
class Need:
    """Bytes that a run takes.

    Parameters
    ----------
    once : int
        Whatever the number of workers.
    crossing : int
        At each end of a pipe, while workers compute.
    worker : int
        For each of them by itself.
    afterwards : int
        In the calling process, when they are done.
    """

    once: int
    crossing: int
    worker: int
    afterwards: int

    def total(self, workers: int) -> int:
        """The most at any time, with so many workers."""
        computing = (1 + workers) * self.crossing
        summing = workers * min(self.crossing, KEPT) + self.afterwards
        return self.once + workers * self.worker + max(computing, summing)


def affordable(need: Need, workers: int) -> tuple[int, str]:
    """How many of the workers there is memory for, and a warning if it isn't all of them.

    Raises BackendUnavailable if it isn't even one.
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
