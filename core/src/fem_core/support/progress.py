"""How a stage reports its progress, and is told to stop."""

import threading
from collections.abc import Callable
from typing import Protocol

from fem_core.errors import Cancelled


class CancelToken:
    """Stops a run from another thread or from an observer: the run raises `Cancelled`.

    >>> token = CancelToken()
    >>> token.cancel()
    >>> token.cancelled
    True
    """

    def __init__(self) -> None:
        self._event = threading.Event()

    def cancel(self) -> None:
        """Ask the run to stop at its next step; may be called from any thread, more than once."""
        self._event.set()

    @property
    def cancelled(self) -> bool:
        return self._event.is_set()


def _silent(hook: str, final: bool, **payload: object) -> None:
    """Ignores events."""


class Remark(Protocol):
    """Adds a note or a warning to the run's report."""

    def __call__(self, text: str, *, warning: bool = False) -> None: ...


def unheard(text: str, *, warning: bool = False) -> None:
    """Ignores a remark."""


class Progress:
    """Handed to every compute hook; to be called from the calling thread only.

    Reporting is cheap: what observers hear is throttled. Every method raises `Cancelled` once the
    run's token is cancelled.
    """

    def __init__(
        self, emit: Callable[..., None] = _silent, cancel: CancelToken | None = None, remark: Remark = unheard
    ) -> None:
        self._emit = emit
        self._cancel = cancel or CancelToken()
        self._remark = remark

    def check(self) -> None:
        """Raise `Cancelled` if the run should stop; call it where there is nothing to report."""
        if self._cancel.cancelled:
            raise Cancelled("the run was cancelled")

    def remark(self, text: str, *, warning: bool = False) -> None:
        """Add a note or a warning to the run's report; the same text is there once."""
        self._remark(text, warning=warning)

    def assembly(self, current: int, total: int) -> None:
        """`current` of `total` elements are assembled."""
        self.check()
        self._emit("fem_assembly_progress", current == total, current=current, total=total)

    def solve(self, iteration: int, residual: float, etr: float | None) -> None:
        """After `iteration` steps the relative residual is `residual`; about `etr` seconds remain."""
        self.check()
        self._emit("fem_solve_progress", False, iteration=iteration, residual=residual, etr=etr)

    def derived(self, current: int, total: int) -> None:
        """`current` of `total` elements are post-processed."""
        self.check()
        self._emit("fem_derived_progress", current == total, current=current, total=total)
