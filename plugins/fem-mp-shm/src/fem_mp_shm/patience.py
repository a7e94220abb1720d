"""Tells the user what is waited for, if there is no answer for some time."""

import logging
import threading
import time
from collections.abc import Callable

from fem_core.support import threads

#: Seconds without an answer after which the user is told.
SECONDS = 10.0

_log = logging.getLogger(__name__)


class Patience:
    """A warning, once, about what isn't answered. A transfer may wait too, and only a thread can tell of that.

    Parameters
    ----------
    describe : function
        What is waited for.
    """

    def __init__(self, describe: Callable[[], str]) -> None:
        self._describe = describe
        self._since = time.monotonic()
        self._told = False
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()

    def renew(self) -> None:
        """There was an answer."""
        self._since = time.monotonic()

    def left(self) -> float | None:
        """Seconds to wait until `tell`; None if the user has been told."""
        return None if self._told else max(0.0, self._since + SECONDS - time.monotonic())

    def tell(self) -> None:
        """Warn if it is time to."""
        if self.left() == 0.0:
            self._told = True
            _log.warning("no answer for %.0f s: %s; Ctrl-C ends the run", SECONDS, self._describe())

    def watch(self) -> None:
        """Warn also while the calling thread is waiting in a transfer."""
        if self._thread is None:
            self._thread = threads.start(self._watch, "fem-patience")

    def close(self) -> None:
        """End the watch."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()

    def _watch(self) -> None:
        while (left := self.left()) is not None and not self._ended.wait(left):
            self.tell()
