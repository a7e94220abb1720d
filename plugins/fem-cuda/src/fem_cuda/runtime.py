"""One GPU through numba-cuda: a stream and memory of its own, the kernels and a launch of many steps of CG."""

import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
from fem_core import BackendError, BackendUnavailable
from fem_core.device.runtime import CHUNK
from fem_core.types import Array
from numpy.typing import DTypeLike

from fem_cuda import INSTALL
from fem_cuda.library import load, opening, running, simulated

if TYPE_CHECKING:
    from fem_cuda.program import Compiled, Simulated

#: Steps of conjugate gradients in a launch: as many as the reference's monitor lies apart.
BATCH = 50

#: Bytes of each of the two pinned buffers: one is filled or emptied while the other is on its way.
PIECE = 8 << 20

#: Bytes of memory that a simulated device has.
_SIMULATED = 1 << 34


class CUDARuntime:
    """A `fem_core.device.Runtime`.

    Parameters
    ----------
    device : int
        The GPU's number.
    """

    def __init__(self, device: int = 0) -> None:
        self._number = device
        self._cuda: Any = None
        self._program: Compiled | Simulated | None = None
        self._arrays: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()

    def open(self) -> None:
        cuda = load()
        self._simulated = simulated()
        with opening():
            there = len(cuda.gpus)
            if self._number >= there:
                raise BackendUnavailable(f"there is no GPU {self._number}: this machine has {there}, numbered from 0")
            if not self._simulated:
                _refuse_old_driver()
            with cuda.gpus[self._number]:
                self._context = cuda.current_context()
                self._device = cuda.get_current_device()
                self._stream = cuda.stream()
                self._pinned = [(cuda.pinned_array(PIECE, np.uint8), cuda.event()) for _ in range(2)]
        self._cuda = cuda

    def compile(self) -> None:
        from fem_cuda.program import Compiled, Simulated

        with self._here():
            self._program = Simulated() if self._simulated else Compiled(tuple(self._device.compute_capability))

    def close(self) -> None:
        if self._cuda is None:
            return
        with suppress(Exception):  # of a device that is lost
            with self._cuda.gpus[self._number]:
                self._stream.synchronize()
                for array in list(self._arrays.values()):
                    self._free(array)
                del self._pinned, self._stream
                self._program = None
                self._flush()
        self._arrays.clear()
        self._cuda = self._program = None

    def _free(self, array: Any) -> None:
        """Give an array's memory back, whoever still holds it."""
        if not self._simulated and array.size:
            array.gpu_data._mem.free()

    def _flush(self) -> None:
        """Have numba-cuda give back at once what it puts off."""
        if not self._simulated:
            self._context.memory_manager.deallocations.clear()
            self._context.deallocations.clear()

    @contextmanager
    def _here(self, wanted: int | None = None) -> Iterator[Any]:
        """On this device; gives the module `numba.cuda`."""
        if self._cuda is None:
            raise BackendError("the device was closed: open its backend again")
        with running(self.free_memory, wanted), self._cuda.gpus[self._number]:
            yield self._cuda

    def empty(self, length: int, dtype: DTypeLike) -> Any:
        with self._here(length * np.dtype(dtype).itemsize) as cuda:
            array = cuda.device_array(length, dtype)
            self._arrays[id(array)] = array
            return array

    def zeros(self, length: int, dtype: DTypeLike) -> Any:
        array = self.empty(length, dtype)
        with self._here() as cuda:
            if length:
                cuda.cudadrv.driver.device_memset(array, 0, array.nbytes, self._stream)
            return array

    def upload(self, values: Array) -> Any:
        flat = np.ascontiguousarray(values).reshape(-1)
        array = self.empty(flat.size, flat.dtype)
        with self._here():
            for part, buffer, event in self._pieces(flat):
                event.synchronize()  # the buffer's last piece is there
                buffer[:] = flat[part]
                array[part].copy_to_device(buffer, stream=self._stream)
                event.record(self._stream)
            return array

    def download(self, values: Any) -> Array:
        with self._here():
            here = np.empty(values.size, values.dtype)
            ahead: list[tuple[Array, Array, Any]] = []
            for part, buffer, event in self._pieces(here):
                values[part].copy_to_host(buffer, stream=self._stream)
                event.record(self._stream)
                ahead.append((here[part], buffer, event))
                if len(ahead) == 2:
                    _take(*ahead.pop(0))
            for piece in ahead:
                _take(*piece)
            return here

    def _pieces(self, values: Array) -> Iterator[tuple[slice, Array, Any]]:
        """Parts of an array, each with a pinned buffer of its length and dtype, and the event behind its last copy."""
        length = PIECE // values.itemsize
        for turn, start in enumerate(range(0, values.size, length)):
            buffer, event = self._pinned[turn % 2]
            part = slice(start, min(start + length, values.size))
            yield part, buffer.view(values.dtype)[: part.stop - start], event

    def copy(self, source: Any, target: Any) -> None:
        with self._here():
            if source.size:
                target.copy_to_device(source, stream=self._stream)

    def launch(self, kernel: str, n: int, *arguments: Any) -> None:
        from fem_cuda.program import blocks

        if n > 0:
            self._launch(kernel, blocks(kernel, n), n, *arguments)

    def _launch(self, kernel: str, grid: int, *arguments: Any, together: bool = False) -> None:
        with self._here():
            if self._program is None:
                raise BackendError("the kernels aren't compiled yet: call compile() first")
            self._program.launch(kernel, grid, self._stream, *arguments, together=together)

    def synchronize(self) -> None:
        with self._here():
            self._stream.synchronize()

    def conjugate_gradients(
        self, n: int, indptr: Any, indices: Any, A: Any, x: Any, r: Any, p: Any, q: Any, state: Any
    ) -> Callable[[], None]:
        from fem_cuda.program import blocks

        assert self._program is not None
        with self._here():
            processors = 1 if self._simulated else self._device.MULTIPROCESSOR_COUNT
            grid = min(blocks("multiply", n), self._program.grid("conjugate_gradients", processors))
        sums = self.empty(2 * grid, np.float64)

        def run() -> None:
            arguments = n, BATCH, indptr, indices, A, x, r, p, q, sums, state
            self._launch("conjugate_gradients", grid, *arguments, together=True)

        return run

    def coo_to_csr(self, rows: Any, columns: Any, values: Any, n: int) -> tuple[Any, Any, Any]:
        """The entries listed by row (a counting sort), each row sorted by column, equal ones added in their order."""
        count, cursor, place = self.zeros(n + 1, np.int32), self.zeros(n, np.int32), self.empty(rows.size, np.int32)
        self.launch("count_places", rows.size, rows, count)
        start, _ = self._starts(count)
        self.launch("list_places", rows.size, rows, start, cursor, place)
        length = self.zeros(n + 1, np.int32)
        self.launch("sort_entries", n, start, place, columns, length)
        indptr, total = self._starts(length)
        indices, merged = self.empty(total, np.int32), self.empty(total, np.float64)
        self.launch("merge_entries", n, start, place, columns, values, indptr, indices, merged)
        return indptr, indices, merged

    def _starts(self, counts: Any) -> tuple[Any, int]:
        """Exclusive prefix sums, and the total; those of the chunks are summed on the host."""
        chunks = -(-counts.size // CHUNK)
        sums, starts = self.empty(chunks, np.int32), self.empty(counts.size, np.int32)
        self.launch("sum_chunks", chunks, counts.size, counts, sums)
        ends = np.cumsum(self.download(sums))
        offsets = self.upload(np.concatenate([[0], ends[:-1]]).astype(np.int32))
        self.launch("scan_chunks", chunks, counts.size, counts, offsets, starts)
        return starts, int(ends[-1])

    def free_memory(self) -> tuple[int, int]:
        if self._cuda is None:
            raise BackendError("the device was closed: open its backend again")
        if self._simulated:
            used = sum(array.nbytes for array in self._arrays.values())
            return _SIMULATED - used, _SIMULATED
        with self._cuda.gpus[self._number]:
            self._flush()
            found = self._context.get_memory_info()
            return int(found.free), int(found.total)

    def seconds(self, work: Callable[[], object]) -> float:
        with self._here() as cuda:
            start, stop, began = cuda.event(), cuda.event(), time.perf_counter()
            start.record(self._stream)
            work()
            stop.record(self._stream)
            stop.synchronize()
            return time.perf_counter() - began if self._simulated else float(start.elapsed_time(stop)) / 1e3

    def describe(self) -> Mapping[str, Any]:
        with self._here() as cuda:
            versions = {name: version(name) for name in ("numba-cuda", "numba")}
            if self._simulated:
                return {"name": "simulator", "memory": _SIMULATED, "simulated": True, **versions}
            name = self._device.name
            return {
                "name": name.decode() if isinstance(name, bytes) else str(name),
                "memory": self.free_memory()[1],
                "compute_capability": ".".join(map(str, self._device.compute_capability)),
                "driver": ".".join(map(str, cuda.cudadrv.driver.driver.get_version())),
                "cuda": version("cuda-bindings"),
                **versions,
            }


def _take(part: Array, buffer: Array, event: Any) -> None:
    event.synchronize()
    part[:] = buffer


def _refuse_old_driver() -> None:
    """A driver runs what its own CUDA and older ones compile, up to the next major version."""
    from numba.cuda.cudadrv.driver import driver

    of_driver, compiler = driver.get_version(), version("cuda-bindings")
    if of_driver[0] < int(compiler.split(".")[0]):
        raise BackendUnavailable(
            f"the driver is too old for CUDA {compiler}: it knows CUDA {of_driver[0]}.{of_driver[1]}; "
            f"update the driver, or {INSTALL}"
        )
