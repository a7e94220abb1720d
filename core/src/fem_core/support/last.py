"""The last value that was made, kept until another one is needed."""

from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Last(Generic[T]):
    """A value and the key that it was made for. If the key is a weak reference, the value serves that object alone.

    >>> last = Last()
    >>> last.get("key", list), last.get("key", dict), last.get("another", dict)
    ([], [], {})
    """

    def __init__(self) -> None:
        self._kept: tuple[object, T] | None = None

    def get(self, key: object, make: Callable[[], T]) -> T:
        """The value that is kept if the key is the same; else what `make` returns, which is then kept."""
        if self._kept is None or self._kept[0] != key:
            self._kept = None  # before the new value takes memory
            self._kept = key, make()
        return self._kept[1]

    def forget(self) -> None:
        """Drop the value."""
        self._kept = None
