"""Divides items into batches, and batches into tasks; selects the part of the inputs that a batch needs.

All executors plan in the same way. Two executors differ only in how data reach the workers.
"""

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from fem_core.assembly.element import GRAIN
from fem_core.assembly.kernels import PER_ELEMENT, PER_NODE, Inputs
from fem_core.support.hardware import available_cores

#: Items from `start` up to `stop`.
Batch: TypeAlias = tuple[int, int]

#: With `batch_size="auto"`: the smallest number of tasks per worker, and the longest time of a task in seconds.
TASKS_PER_WORKER = 4
TASK_SECONDS = 0.3


def ranges(n: int, size: int, grain: int = GRAIN) -> list[Batch]:
    """Divide [0, n) into ranges (start, stop) of `size` items, rounded up to a multiple of `grain`.

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
    """The work of a run; each of `tasks` is a list of batches, in the order of their items.

    Parameters
    ----------
    workers : int
        At most the number of tasks. With 1, the calling process does all work.
    remark : str
        Why there is only 1 worker although more were requested; otherwise empty.
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
        The number of batches that are sent to a worker together; at least 1.
    min_size : int
        With fewer items than this, the calling process does the work.

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
        """A `Batching` with these sizes; the default `batch_size` is 1000 for `loop` and `auto` for `vectorized`."""
        if sizes.get("batch_size") is None:
            sizes["batch_size"] = 1000 if kernel == "loop" else "auto"
        return cls(**sizes)

    def plan(self, n: int, seconds_per_item: float = 1e-6, grain: int = GRAIN) -> Plan:
        """Plan n items that take about `seconds_per_item` each; batches start at multiples of `grain`."""
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
    """The part of the inputs that elements start…stop-1 need: (start and stop in this part, the part).

    If `quad8` is among the inputs, arrays by node (`PER_NODE`) are reduced to the nodes of these elements, which are
    renumbered, and arrays by element (`PER_ELEMENT`) to these elements. Inputs of other kernels are not reduced. If
    `start` is a multiple of GRAIN, elements keep their places in slabs, and the results are bitwise the same.

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
