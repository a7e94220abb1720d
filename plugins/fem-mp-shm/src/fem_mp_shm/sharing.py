"""Arrays in shared segments. Their owner puts them there once; workers find them by name.

A `Place` gives segment, offset, shape and dtype of an array. Only this is sent through a pipe.
"""

import sys
import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
from fem_core.errors import BackendError
from fem_core.types import Array

from fem_mp_shm.segments import Segment, Storage

_ALIGN = 64
_SPARE = 4  # segments for results that are kept for the next run


class Place(NamedTuple):
    """Where an array is."""

    segment: str
    bytes: int
    storage: Storage
    offset: int
    shape: tuple[int, ...]
    dtype: str


class Shared:
    """An input: its array, and the group that has its place."""

    def __init__(self, name: str, array: Array, group: "Group") -> None:
        self.name, self.array, self.group = name, array, group


class Group:
    """Inputs that were shared together and are placed together."""

    def __init__(self, inputs: Mapping[str, Array]) -> None:
        self.members = {name: Shared(name, array, self) for name, array in inputs.items()}
        self.segment: Segment | None = None
        self.places: dict[str, Place] = {}


class Sharing:
    """All segments of an executor.

    Parameters
    ----------
    storage : "auto", "shm" or "file"
    warn : function of text
        Called if `auto` uses a file instead of shared memory.
    """

    def __init__(self, storage: Literal["auto", "shm", "file"], warn: Callable[[str], None]) -> None:
        self._storage = storage
        self._warn = warn
        self._groups: set[Group] = set()
        self._out: dict[int, tuple[weakref.ref[Array], Segment]] = {}
        self._spare: list[Segment] = []
        self._segments: set[Segment] = set()
        self._leaving = weakref.finalize(self, _unlink_all, self._segments)

    # inputs

    def share(self, inputs: Mapping[str, Array]) -> dict[str, Shared]:
        """Inputs that are placed when a worker first needs them."""
        group = Group(inputs)
        self._groups.add(group)
        return dict(group.members)

    def release(self, shared: Mapping[str, Shared]) -> None:
        """Delete the segments of these inputs."""
        for group in {one.group for one in shared.values()}:
            self._groups.discard(group)
            self._drop(group.segment)
            group.segment = None

    def missing(self, inputs: Mapping[str, Any], results: int) -> int:
        """Bytes that a run still has to reserve: for inputs without a place, and for `results` bytes of results."""
        unplaced: int = sum(one.array.nbytes for one in inputs.values() if one.group.segment is None)
        return unplaced + (0 if self._fitting(results) else results)

    def places(self, inputs: Mapping[str, Any]) -> dict[str, Place]:
        """The places of the inputs. Inputs without a place get one now."""
        found = {}
        for name, one in inputs.items():
            if one.group.segment is None:
                self._place(one.group)
            found[name] = one.group.places[one.name]
        return found

    def _place(self, group: Group) -> None:
        arrays = {name: np.ascontiguousarray(one.array) for name, one in group.members.items()}
        offsets, total = _layout(array.nbytes for array in arrays.values())
        group.segment = segment = self._create(total)
        for (name, array), offset in zip(arrays.items(), offsets, strict=True):
            segment.array(offset, array.shape, array.dtype)[...] = array
            group.places[name] = _place(segment, offset, array)

    # results

    def results(self, outputs: Mapping[str, tuple[tuple[int, ...], Any]]) -> dict[str, Array]:
        """Arrays in one segment. It is reused after the last of them is gone."""
        if not outputs:
            return {}
        shapes = {name: (shape, np.dtype(dtype)) for name, (shape, dtype) in outputs.items()}
        offsets, total = _layout(int(np.prod(shape)) * dtype.itemsize for shape, dtype in shapes.values())
        segment = self._take(total)
        # All results are views of `whole`. It counts in float64, because SciPy copies a small part of a large base.
        whole = segment.array(0, (segment.size // 8,), np.float64)
        weakref.finalize(whole, self._spare.append, segment).atexit = False
        self._out = {key: (ref, kept) for key, (ref, kept) in self._out.items() if ref() is not None}
        self._out[id(whole)] = weakref.ref(whole), segment
        results = {}
        for (name, (shape, dtype)), offset in zip(shapes.items(), offsets, strict=True):
            bytes_ = int(np.prod(shape)) * dtype.itemsize
            results[name] = whole.view(np.uint8)[offset : offset + bytes_].view(dtype).reshape(shape)
        return results

    def places_of(self, results: Mapping[str, Array]) -> dict[str, Place]:
        """The places of arrays from `results`."""
        found = {}
        for name, array in results.items():
            whole: Any = array.base
            _, segment = self._out[id(whole)]
            offset = array.__array_interface__["data"][0] - whole.__array_interface__["data"][0]
            found[name] = _place(segment, offset, array)
        return found

    def _fitting(self, size: int) -> Segment | None:
        """The smallest spare segment of that size, unless most of it would be unused."""
        fitting = [segment for segment in self._spare if size <= segment.size <= 2 * max(size, 1 << 20)]
        return min(fitting, key=lambda segment: segment.size, default=None)

    def _take(self, size: int) -> Segment:
        if segment := self._fitting(size):
            self._spare.remove(segment)
            return segment
        while len(self._spare) >= _SPARE:
            self._drop(self._spare.pop(0))
        return self._create(size)

    def close(self) -> None:
        """Delete all names. Arrays that are still in use stay readable."""
        _unlink_all(self._segments)
        self._groups.clear()
        self._out.clear()
        self._spare = []  # segments that are still in use come back to the old list

    def _create(self, size: int) -> Segment:
        if self._storage == "auto":
            try:
                segment = Segment.create(size, "shm")
            except BackendError as error:
                segment = Segment.create(size, "file")
                self._warn(f"{error}: a file is mapped instead")
        else:
            segment = Segment.create(size, self._storage)
        self._segments.add(segment)
        return segment

    def _drop(self, segment: Segment | None) -> None:
        if segment is not None:
            segment.unlink()
            self._segments.discard(segment)


def attached(places: Mapping[str, Place]) -> dict[str, Array]:
    """In a worker: the arrays at these places. They stay mapped until a task has other places."""
    wanted = {place.segment for place in places.values()}
    mapped = {name: segment for name, segment in _kept.items() if name in wanted}
    for place in places.values():
        if place.segment not in mapped:
            mapped[place.segment] = Segment.attach(place.segment, place.bytes, place.storage)
    _kept.clear()
    _kept.update(mapped)
    return {name: mapped[place.segment].array(*place[3:]) for name, place in places.items()}


def passing(places: Mapping[str, Place], start: int, stop: int) -> dict[str, Array]:
    """In a worker: the arrays at these places, mapped for the work on items start…stop-1."""
    mapped = {place.segment: place for place in places.values()}
    segments = {name: Segment.attach(name, place.bytes, place.storage) for name, place in mapped.items()}
    arrays = {}
    for name, place in places.items():
        arrays[name] = array = segments[place.segment].array(*place[3:])
        row = array.strides[0]
        segments[place.segment].populate(place.offset + start * row, place.offset + stop * row)
    return arrays


def let_go() -> None:
    """In a worker: unmap the pages of all kept segments until they are used again."""
    for segment in _kept.values():
        segment.let_go()


#: In a worker: the segments that stay mapped.
_kept: dict[str, Segment] = {}


def _place(segment: Segment, offset: int, array: Array) -> Place:
    return Place(segment.name, segment.size, segment.storage, offset, array.shape, sys.intern(array.dtype.str))


def _layout(sizes: Iterable[int]) -> tuple[list[int], int]:
    """Offsets of arrays one after the other, each at the start of a cache line, and their size in all."""
    offsets, total = [], 0
    for size in sizes:
        offsets.append(total)
        total += -(-size // _ALIGN) * _ALIGN
    return offsets, total


def _unlink_all(segments: set[Segment]) -> None:
    while segments:
        segments.pop().unlink()
