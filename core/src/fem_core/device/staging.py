"""Transfers in pieces through two pinned buffers: one is filled or emptied while the other is transferred.

NumPy's memory isn't pinned, so the driver would copy it once more, in the calling thread. To pin all arrays of a mesh
for one transfer, the system has to work on each page. Two small buffers are pinned once.
"""

from collections.abc import Callable, Iterator
from itertools import cycle
from typing import Any, Protocol

import numpy as np

from fem_core.types import Array

#: Bytes of a buffer.
SIZE = 8 << 20


class Event(Protocol):
    """A mark in a stream of the device's work."""

    def record(self, stream: Any) -> None:
        """Set the mark after all work of the stream so far."""

    def synchronize(self) -> None:
        """Wait until the device reaches the mark. Returns at once if it was never set."""


#: (target, source, bytes): starts a copy between addresses and returns.
Send = Callable[[int, int, int], None]


class Staging:
    """Copies between NumPy arrays and addresses on the device.

    Parameters
    ----------
    buffers : two arrays of uint8, pinned, of one length
    events : two Events
    send : function
        Starts a copy (target, source, bytes) between addresses; copies happen in their order.
    stream
        The stream of the copies.
    """

    def __init__(self, buffers: list[Array], events: list[Event], send: Send, stream: Any) -> None:
        self._send, self._stream = send, stream
        self._size = len(buffers[0])
        self._turns = cycle(zip(buffers, events, strict=True))

    def _pieces(self, raw: Array) -> Iterator[tuple[int, Array, Array, Event]]:
        for start in range(0, len(raw), self._size):
            part = raw[start : start + self._size]
            buffer, event = next(self._turns)
            yield start, part, buffer[: len(part)], event

    def upload(self, values: Array, address: int) -> None:
        """Send a contiguous array; it may be changed when this returns."""
        for start, part, buffer, event in self._pieces(_raw(values)):
            event.synchronize()  # the buffer's last piece has been sent
            buffer[:] = part
            self._send(address + start, buffer.ctypes.data, len(part))
            event.record(self._stream)

    def download(self, address: int, values: Array) -> None:
        """Fill a contiguous array after all work before is done."""
        ahead: list[tuple[Array, Array, Any]] = []
        for start, part, buffer, event in self._pieces(_raw(values)):
            event.synchronize()
            self._send(buffer.ctypes.data, address + start, len(part))
            event.record(self._stream)
            ahead.append((part, buffer, event))
            if len(ahead) == 2:
                _take(*ahead.pop(0))
        for piece in ahead:
            _take(*piece)


def _raw(values: Array) -> Array:
    """The bytes of a contiguous array, shared with it."""
    return values.reshape(-1).view(np.uint8)


def _take(part: Array, buffer: Array, event: Event) -> None:
    event.synchronize()
    part[:] = buffer
