"""The named checks of an executor alone: `for check in EXECUTOR_CHECKS.values(): check(make)`.

`make` is a function without arguments that returns a new executor. A backend made with
`BatchedBackend` is checked as a part of the kit (check `executor`).
"""

from collections.abc import Callable
from contextlib import ExitStack, closing

import numpy as np

from fem_core.assembly.kernels import Inputs, Outputs
from fem_core.backends.batched import BatchedBackend
from fem_core.execution.executors import Executor, OutputSpec
from fem_core.testing.checks import NotApplicable, check
from fem_core.testing.target import Target

_SPEC: OutputSpec = {"square": ((), np.float64), "place": ((2,), np.int64)}
_SIZES = (1, 31, 32, 33, 1000, 20_011)


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
    import threading

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
    for run in (check_map_ranges, check_progress, check_exceptions, check_map_items, check_close)
}


def _assert_raises(kind: type[Exception], text: str, action: Callable[[], object]) -> None:
    try:
        action()
    except kind as error:
        assert text in str(error), f"the exception's text was lost: {error}"
    else:
        raise AssertionError(f"{kind.__name__} did not reach the caller")


@check("executor")
def check_executor(target: Target) -> None:
    """If the backend uses an executor, the executor alone obeys its contract."""
    batched = [n for n, (_, backend) in enumerate(target.session.backends) if isinstance(backend, BatchedBackend)]
    if not batched:
        raise NotApplicable("the backend isn't built on an executor")
    for number in batched:
        with ExitStack() as opened:

            def make(number: int = number, opened: ExitStack = opened) -> Executor:
                fresh = opened.enter_context(target.open()).backends[number][1]
                assert isinstance(fresh, BatchedBackend)
                return fresh.executor

            for run in EXECUTOR_CHECKS.values():
                run(make)
