"""How items are cut into batches and batches into tasks, and which part of the inputs a batch needs.

All executors plan in the same way, so that two of them differ only in how data reach the workers.
"""

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from fem_core.assembly.element import GRAIN
from fem_core.assembly.kernels import PER_ELEMENT, PER_NODE, Inputs
from fem_core.support.hardware import available_cores

#: Items from `start` up to `stop`.
Batch: TypeAlias = tuple[int, int]

#: With `batch_size="auto"`: tasks per worker at least, and seconds that a task takes at most.
TASKS_PER_WORKER = 4
TASK_SECONDS = 0.3


def ranges(n: int, size: int, grain: int = GRAIN) -> list[Batch]:
    """[0, n) in ranges (start, stop) of `size` items rounded up to a multiple of `grain`.

    >>> ranges(100, 50)
    [(0, 64), (64, 100)]
    """
    size = max(grain, -(-size // grain) * grain)
    return [(start, min(start + size, n)) for start in range(0, n, size)]


def int_or_auto(value: Any) -> int | Literal["auto"]:
    """The type of the option `batch_size`.

    >>> int_or_auto("1000"), int_or_auto("auto")
    (1000, 'auto')
    """
    return "auto" if value == "auto" else int(value)


@dataclass(frozen=True)
class Plan:
    """The work of a run: `tasks` are lists of batches in the order of their items.

    Parameters
    ----------
    workers : int
        At most the number of tasks. With 1, the calling process does all work.
    remark : str
        Why there is 1 worker although more were requested, else empty.
    """

    workers: int
    tasks: list[list[Batch]]
    remark: str = ""


@dataclass(frozen=True)
class Batching:
    """The options of all executors with workers; `worker_options` checks their values.

    Parameters
    ----------
    workers : int, optional
        By default the cores that this process may use.
    batch_size : int or "auto"
        Items in a batch, rounded up to a multiple of GRAIN. `auto` makes at least four tasks for each
        worker, each of at most 0.3 s.
    batches_per_task : int
        At least 1: batches that reach a worker together.
    min_size : int
        Fewer items than this stay in the calling process.

    >>> plan = Batching(workers=2, batch_size=1000, min_size=100).plan(2100)
    >>> plan.workers, plan.tasks
    (2, [[(0, 1024)], [(1024, 2048)], [(2048, 2100)]])
    """

    workers: int | None = None
    batch_size: int | Literal["auto"] = "auto"
    batches_per_task: int = 1
    min_size: int = 1000

    @classmethod
    def of(cls, kernel: str, **sizes: Any) -> "Batching":
        """As above; without a `batch_size`, 1000 for the kernel `loop` and `auto` for `vectorized`."""
        if sizes.get("batch_size") is None:
            sizes["batch_size"] = 1000 if kernel == "loop" else "auto"
        return cls(**sizes)

    def plan(self, n: int, seconds_per_item: float = 1e-6, grain: int = GRAIN) -> Plan:
        """Tasks for n items, of which one takes about `seconds_per_item`, cut at multiples of `grain`."""
        workers = self.workers or available_cores()
        if workers > 1 and n < self.min_size:
            return Plan(
                1,
                [[batch] for batch in ranges(n, n)],
                f"{n} items stay in the calling process (min_size={self.min_size})",
            )
        batches, per_task = ranges(n, self._size(n, workers, seconds_per_item, grain), grain), self.batches_per_task
        tasks = [batches[first : first + per_task] for first in range(0, len(batches), per_task)]
        return Plan(max(1, min(workers, len(tasks))), tasks)

    def _size(self, n: int, workers: int, seconds_per_item: float, grain: int) -> int:
        if self.batch_size != "auto":
            return self.batch_size
        least = TASKS_PER_WORKER * workers * self.batches_per_task
        grains = -(-n // grain)
        share = max(1, -(-grains // least))  # even shares, unless rounding up makes too few of them
        share = share if -(-grains // share) >= least else max(1, grains // least)
        return max(1, min(share * grain, int(TASK_SECONDS / seconds_per_item / self.batches_per_task)))


def restrict(start: int, stop: int, inputs: Inputs) -> tuple[int, int, Inputs]:
    """What elements start…stop-1 need: (their start and stop in it, the inputs cut down).

    With `quad8` among the inputs, arrays by node (`PER_NODE`) are cut down to the nodes of these elements,
    which are renumbered, and arrays by element (`PER_ELEMENT`) to their part. Inputs of other kernels
    stay whole. Elements keep their places in slabs as long as `start` is a multiple of GRAIN, so that
    results stay bitwise the same.

    >>> inputs = {"x": np.arange(100.0), "quad8": np.arange(8, 40).reshape(4, 8), "k": np.arange(4.0)}
    >>> start, stop, part = restrict(2, 4, inputs)
    >>> start, stop, part["x"][part["quad8"]][0].tolist(), part["k"].tolist()
    (0, 2, [24.0, 25.0, 26.0, 27.0, 28.0, 29.0, 30.0, 31.0], [2.0, 3.0])
    """
    if "quad8" not in inputs:
        return start, stop, inputs
    quad8 = inputs["quad8"][start:stop]
    nodes, renumbered = np.unique(quad8, return_inverse=True)
    part = dict(inputs)
    for name, array in inputs.items():
        if name in PER_NODE:
            part[name] = array[nodes]
        elif name in PER_ELEMENT:
            part[name] = array[start:stop]
    part["quad8"] = renumbered.astype(quad8.dtype).reshape(quad8.shape)
    return 0, stop - start, part
