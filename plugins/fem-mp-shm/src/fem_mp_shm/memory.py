"""How much memory a run will take, before it does."""

from dataclasses import dataclass

from fem_core import available_memory
from fem_core.errors import BackendUnavailable

#: Bytes of its own that a worker takes before its first task: what it doesn't share with others.
WORKER = {"spawn": 60_000_000, "forkserver": 20_000_000, "fork": 20_000_000}


@dataclass(frozen=True)
class Need:
    """Bytes that a run takes: `once`, and for `each` worker."""

    once: int
    each: int

    def total(self, workers: int) -> int:
        """With so many workers."""
        return self.once + workers * self.each


def affordable(need: Need, workers: int) -> tuple[int, str]:
    """How many of the workers there is memory for, and a warning if it isn't all of them.

    Raises BackendUnavailable if it isn't even one.
    """
    allowed = available_memory()
    if allowed is None or need.total(workers) <= allowed:
        return workers, ""
    fewer = int((allowed - need.once) // need.each)
    if fewer < 1:
        raise BackendUnavailable(
            f"one worker needs {need.total(1) / 1e6:.0f} MB and this process may take {allowed / 1e6:.0f} MB more; "
            "use backend numpy, or mp-shm with storage=file"
        )
    return fewer, (
        f"{fewer} instead of {workers} workers: these would need {need.total(workers) / 1e6:.0f} MB, and this process "
        f"may take {allowed / 1e6:.0f} MB more"
    )
