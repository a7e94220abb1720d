"""One GPU through numba-cuda: a stream and memory of its own, the kernels and a launch of many steps of CG."""

import ctypes
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
from fem_core import BackendError, BackendUnavailable
from fem_core.device.errors import require_driver
from fem_core.device.scan import starts
from fem_core.device.staging import SIZE, Staging
from fem_core.types import Array
from numpy.typing import DTypeLike

from fem_cuda import INSTALL, SIMULATED
from fem_cuda.library import load, opening, running, simulated
from fem_cuda.memory import DeviceArray, Pool

if TYPE_CHECKING:
    from fem_cuda.program import Compiled, Simulated

#: Steps of conjugate gradients in a launch: the default of `SolverOptions.monitor`.
BATCH = 50

#: Bytes of memory of a simulated device.
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
        self._host: dict[int, Array] = {}  # memory of a simulated device, by address

    def open(self) -> None:
        if not SIMULATED:
            require_driver()
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
                self._driver = cuda.cudadrv.driver.driver
                self._stream = cuda.stream()
                buffers = [cuda.pinned_array(SIZE, np.uint8) for _ in range(2)]
                events = [cuda.event() for _ in range(2)]
                self._staging = Staging(buffers, events, self._send, self._stream)
        self._pool = Pool(self._allocate, self._release)
        self._cuda = cuda

    def compile(self) -> None:
        from fem_cuda.program import Compiled, Simulated

        with self._here():
            if self._simulated:
                self._program = Simulated()
            else:
                self._program = Compiled(tuple(self._device.compute_capability), int(self._stream.handle))

    def close(self) -> None:
        if self._cuda is None:
            return
        with suppress(Exception):  # a lost device can't free anything
            with self._cuda.gpus[self._number]:
                self._stream.synchronize()
                self._pool.close()
                del self._staging, self._stream
                self._program = None
                if not self._simulated:  # numba-cuda puts off giving memory back
                    self._context.memory_manager.deallocations.clear()
                    self._context.deallocations.clear()
        self._cuda = self._program = None

    @contextmanager
    def _here(self, wanted: int | None = None) -> Iterator[Any]:
        """On this device; gives the module `numba.cuda`."""
        if self._cuda is None:
            raise BackendError("the device is closed; open its backend again")
        with running(self.free_memory, wanted), self._cuda.gpus[self._number]:
            yield self._cuda

    def _allocate(self, size: int) -> int:
        if self._simulated:
            values = np.empty(size, np.uint8)
            self._host[values.ctypes.data] = values
            return int(values.ctypes.data)
        return int(self._driver.cuMemAlloc(size))

    def _release(self, address: int) -> None:
        if self._simulated:
            del self._host[address]
        else:
            self._driver.cuMemFree(address)

    def _send(self, target: int, source: int, size: int) -> None:
        if self._simulated:
            ctypes.memmove(target, source, size)
        else:
            self._driver.cuMemcpyAsync(target, source, size, int(self._stream.handle))

    def empty(self, length: int, dtype: DTypeLike) -> DeviceArray:
        with self._here(length * np.dtype(dtype).itemsize):
            return DeviceArray(self._pool, length, dtype)

    def zeros(self, length: int, dtype: DTypeLike) -> DeviceArray:
        array = self.empty(length, dtype)
        with self._here():
            if self._simulated:
                ctypes.memset(array.address, 0, array.nbytes)
            elif length:
                self._driver.cuMemsetD8Async(array.address, 0, array.nbytes, int(self._stream.handle))
            return array

    def upload(self, values: Array) -> DeviceArray:
        flat = np.ascontiguousarray(values).reshape(-1)
        array = self.empty(flat.size, flat.dtype)
        with self._here():
            self._staging.upload(flat, array.address)
            return array

    def download(self, values: DeviceArray) -> Array:
        with self._here():
            here = np.empty(values.size, values.dtype)
            self._staging.download(values.address, here)
            return here

    def copy(self, source: DeviceArray, target: DeviceArray) -> None:
        with self._here():
            if source.size:
                self._send(target.address, source.address, source.nbytes)

    def launch(self, kernel: str, n: int, *arguments: Any) -> None:
        from fem_cuda.program import blocks

        if n > 0:
            self._launch(kernel, blocks(kernel, n), n, *arguments)

    def _launch(self, kernel: str, grid: int, *arguments: Any, together: bool = False) -> None:
        with self._here():
            if self._program is None:
                raise BackendError("the kernels aren't compiled yet; call compile() first")
            self._program.launch(kernel, grid, *arguments, together=together)

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
        """List the entries by row (a counting sort), sort each row by column, add equal entries in their order."""
        count, cursor, place = self.zeros(n + 1, np.int32), self.zeros(n, np.int32), self.empty(rows.size, np.int32)
        self.launch("count_places", rows.size, rows, count)
        start, _ = starts(self, count, n + 1)
        self.launch("list_places", rows.size, rows, start, cursor, place)
        length = self.zeros(n + 1, np.int32)
        self.launch("sort_entries", n, start, place, columns, length)
        indptr, total = starts(self, length, n + 1)
        indices, merged = self.empty(total, np.int32), self.empty(total, np.float64)
        self.launch("merge_entries", n, start, place, columns, values, indptr, indices, merged)
        return indptr, indices, merged

    def free_memory(self) -> tuple[int, int]:
        if self._cuda is None:
            raise BackendError("the device is closed; open its backend again")
        if self._simulated:
            used = sum(values.nbytes for values in self._host.values()) - self._pool.free
            return _SIMULATED - used, _SIMULATED
        with running(lambda: None), self._cuda.gpus[self._number]:
            free, total = self._driver.cuMemGetInfo()
            return int(free) + self._pool.free, int(total)

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


def _refuse_old_driver() -> None:
    """A driver runs code of all minor versions of its own CUDA, and of older ones."""
    from numba.cuda.cudadrv.driver import driver

    of_driver, compiler = driver.get_version(), version("cuda-bindings")
    if of_driver[0] < int(compiler.split(".")[0]):
        raise BackendUnavailable(
            f"the driver is too old for CUDA {compiler}: it supports CUDA {of_driver[0]}.{of_driver[1]}; "
            f"update the driver, or {INSTALL}"
        )
