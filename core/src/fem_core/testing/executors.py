"""The named checks of an executor alone: `for check in EXECUTOR_CHECKS.values(): check(make)`.

`make` is a function without arguments that returns a new executor. A backend made with
`BatchedBackend` is checked as a part of the kit (check `executor`).
"""

import os
import threading
import time
from collections.abc import Callable
from contextlib import closing

import numpy as np

from fem_core.assembly.kernels import Inputs, Outputs
from fem_core.errors import FemError
from fem_core.execution.executors import Executor, OutputSpec, PlannedExecutor, SerialExecutor
from fem_core.testing.deadline import within

_SPEC: OutputSpec = {"square": ((), np.float64), "place": ((2,), np.int64)}
_SIZES = (1, 31, 32, 33, 64, 1000, 4096, 8192, 20_011, 32_768)

#: Items that are worth a worker.
_MANY = 20_011


def square(start: int, stop: int, inputs: Inputs, outputs: Outputs) -> None:
    """A kernel: the square of each input, and twice the item's number."""
    outputs["square"][:] = inputs["a"][start:stop] ** 2
    outputs["place"][:] = np.arange(start, stop)[:, None]


def failing(start: int, stop: int, inputs: Inputs, outputs: Outputs) -> None:
    """A kernel that fails in the batch that holds item 700."""
    if start <= 700 < stop:
        raise ZeroDivisionError("item 700 can't be done")
    square(start, stop, inputs, outputs)


def negative(item: int) -> int:
    """A function for `map_items`."""
    if item == 13:
        raise ZeroDivisionError("item 13 can't be done")
    return -item


def whereabouts(start: int, stop: int, inputs: Inputs, outputs: Outputs) -> None:
    """A kernel: the process and the thread that compute each item."""
    outputs["place"][:] = os.getpid(), threading.get_ident()


def whereabouts_of(item: int) -> tuple[int, int]:
    """A function for `map_items`: the process and the thread that compute it, after some time."""
    time.sleep(0.002)
    return os.getpid(), threading.get_ident()


def dying(start: int, stop: int, inputs: Inputs, outputs: Outputs) -> None:
    """A kernel that ends its process in the batch that holds item 700, unless it is the caller's."""
    if start <= 700 < stop and os.getpid() != inputs["caller"][0]:
        os._exit(9)
    square(start, stop, inputs, outputs)


def _ignore(current: int, total: int) -> None:
    """A progress function that does nothing."""


def check_map_ranges(make: Callable[[], Executor]) -> None:
    """Every item is computed once, and its result is in the right place, for any number of items."""
    with closing(make()) as executor:
        for n in _SIZES:
            a = np.random.default_rng(n).normal(size=n)
            shared = executor.share({"a": a})
            more = executor.share({"unused": np.arange(3.0)})
            found = executor.map_ranges(square, n, {**shared, **more}, _SPEC, _ignore)
            assert np.array_equal(found["square"], a**2), f"wrong results for {n} items"
            assert np.array_equal(found["place"], np.repeat(np.arange(n)[:, None], 2, axis=1)), "results out of place"
            assert found["square"].dtype == np.float64 and found["place"].dtype == np.int64, "wrong dtype"
            executor.release(more)
            executor.release(shared)


def check_progress(make: Callable[[], Executor]) -> None:
    """Progress rises to the number of items, in the calling thread; an exception from it stops the work."""
    seen: list[tuple[int, int, int]] = []
    with closing(make()) as executor:
        shared = executor.share({"a": np.ones(20_011)})
        executor.map_ranges(
            square, 20_011, shared, _SPEC, lambda now, total: seen.append((now, total, threading.get_ident()))
        )
        currents = [now for now, _, _ in seen]
        assert currents and currents[-1] == 20_011 and currents == sorted(currents), f"progress was {currents}"
        assert {(total, thread) for _, total, thread in seen} == {(20_011, threading.get_ident())}, (
            "wrong total or thread"
        )

        def stop(now: int, total: int) -> None:
            raise InterruptedError("enough")

        _assert_raises(InterruptedError, "enough", lambda: executor.map_ranges(square, 20_011, shared, _SPEC, stop))
        again = executor.map_ranges(square, 20_011, shared, _SPEC, _ignore)
        assert (again["square"] == 1).all(), "the executor is of no use after being stopped"


def check_exceptions(make: Callable[[], Executor]) -> None:
    """An exception in a kernel or function reaches the caller with its text; the executor still works after it."""
    with closing(make()) as executor:
        shared = executor.share({"a": np.ones(2000)})
        _assert_raises(
            ZeroDivisionError, "item 700", lambda: executor.map_ranges(failing, 2000, shared, _SPEC, _ignore)
        )
        _assert_raises(ZeroDivisionError, "item 13", lambda: executor.map_items(negative, range(20)))
        assert (executor.map_ranges(square, 2000, shared, _SPEC, _ignore)["square"] == 1).all()


def check_map_items(make: Callable[[], Executor]) -> None:
    """`map_items` keeps the order; it also works without items."""
    with closing(make()) as executor:
        items = list(range(100, 180))
        assert executor.map_items(negative, items) == [-item for item in items], "items out of order"
        assert executor.map_items(negative, []) == []


def check_hands_out(make: Callable[[], Executor]) -> None:
    """Workers do the work, if there are any: it doesn't stay in the calling thread."""
    with closing(make()) as executor:
        if not _has_workers(executor):
            return
        caller = os.getpid(), threading.get_ident()
        spec: OutputSpec = {"place": ((2,), np.int64)}
        found = executor.map_ranges(whereabouts, _MANY, executor.share({"a": np.ones(_MANY)}), spec, _ignore)
        places = set(map(tuple, found["place"].tolist()))
        assert places - {caller}, f"nothing of {_MANY:,} items reached a worker"
        places = set(executor.map_items(whereabouts_of, range(50)))
        assert places - {caller}, "none of 50 items of `map_items` reached a worker"


def check_lost_worker(make: Callable[[], Executor]) -> None:
    """A worker process that dies in a task is noticed in time, and the executor works after it."""
    with closing(make()) as executor:
        if not _has_workers(executor):
            return
        spec: OutputSpec = {"place": ((2,), np.int64)}
        shared = executor.share({"a": np.ones(2000), "caller": np.array([os.getpid()])})
        found = executor.map_ranges(whereabouts, 2000, shared, spec, _ignore)
        if set(found["place"][:, 0].tolist()) == {os.getpid()}:
            return  # threads, or too little work for a worker
        error: FemError | None = None
        try:
            within(60, "after a worker had died", lambda: executor.map_ranges(dying, 2000, shared, _SPEC, _ignore))
        except FemError as noticed:
            error = noticed
        assert error is not None, "a worker died in its task, and nobody noticed it"
        within(60, "in the run after a lost worker", lambda: _assert_squares(executor))


def _has_workers(executor: Executor) -> bool:
    if isinstance(executor, PlannedExecutor):
        return executor.batching.plan(2000).workers > 1
    return not isinstance(executor, SerialExecutor)


def _assert_squares(executor: Executor) -> None:
    found = executor.map_ranges(square, 2000, executor.share({"a": np.full(2000, 3.0)}), _SPEC, _ignore)
    assert (found["square"] == 9).all(), "the executor is of no use after it has lost a worker"


def check_close(make: Callable[[], Executor]) -> None:
    """`close` may be called again, and on an executor that never worked."""
    for works in (False, True):
        executor = make()
        if works:
            executor.map_ranges(square, 100, executor.share({"a": np.ones(100)}), _SPEC, _ignore)
        executor.close()
        executor.close()


EXECUTOR_CHECKS: dict[str, Callable[[Callable[[], Executor]], None]] = {
    run.__name__.removeprefix("check_"): run
    for run in (
        check_map_ranges,
        check_progress,
        check_exceptions,
        check_map_items,
        check_hands_out,
        check_lost_worker,
        check_close,
    )
}


def _assert_raises(kind: type[Exception], text: str, action: Callable[[], object]) -> None:
    try:
        action()
    except kind as error:
        assert text in str(error), f"the exception's text was lost: {error}"
    else:
        raise AssertionError(f"{kind.__name__} did not reach the caller")
