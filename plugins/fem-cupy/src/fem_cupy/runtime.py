"""One GPU through CuPy: its own memory and stream, the kernels, and a graph of conjugate gradients."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import numpy as np
from fem_core import BackendError, BackendUnavailable
from fem_core.device.errors import require_driver
from fem_core.device.runtime import CONVERGED, STATE, STATUS
from fem_core.device.staging import SIZE, Staging
from fem_core.types import Array
from numpy.typing import DTypeLike

from fem_cupy import INSTALL
from fem_cupy.library import load, opening, running
from fem_cupy.source import BLOCK, CG_BLOCKS, LANES, OPTIONS, STAGES, blocks, kernels, source

#: Steps of conjugate gradients in a graph: the default of `SolverOptions.monitor`.
BATCH = 50


class CuPyRuntime:
    """A `fem_core.device.Runtime`.

    Parameters
    ----------
    device : int
        The GPU's number.
    """

    def __init__(self, device: int = 0) -> None:
        self._number = device
        self._cupy: Any = None
        self._kernels: dict[str, Any] = {}

    def open(self) -> None:
        require_driver()
        cupy = load()
        with opening():
            there = cupy.cuda.runtime.getDeviceCount()
            if self._number >= there:
                raise BackendUnavailable(f"there is no GPU {self._number}: this machine has {there}, numbered from 0")
            try:
                cupy.cuda.nvrtc.getVersion()
            except Exception as error:
                raise BackendUnavailable(f"NVRTC, which compiles the kernels, isn't installed: {INSTALL}") from error
            with cupy.cuda.Device(self._number) as device:
                self._device = device
                self._stream = cupy.cuda.Stream(non_blocking=True)
                self._pool = cupy.cuda.MemoryPool()
                self._staging = self._new_staging(cupy)
        self._cupy = cupy

    def _new_staging(self, cupy: Any) -> Staging:
        def send(target: int, start: int, size: int) -> None:
            cupy.cuda.runtime.memcpyAsync(target, start, size, cupy.cuda.runtime.memcpyDefault, self._stream.ptr)

        pinned = (cupy.cuda.PinnedMemoryPointer(cupy.cuda.PinnedMemory(SIZE), 0) for _ in range(2))
        buffers = [np.frombuffer(pointer, np.uint8, SIZE) for pointer in pinned]
        return Staging(buffers, [cupy.cuda.Event(disable_timing=True) for _ in range(2)], send, self._stream)

    def compile(self) -> None:
        with self._here():
            for stage in STAGES:
                module = self._cupy.RawModule(code=source(stage), options=OPTIONS)
                for name in kernels(stage):
                    self._kernels[name] = module.get_function(name)

    def close(self) -> None:
        if self._cupy is None:
            return
        self._kernels = {}
        with suppress(Exception), self._device:  # a lost device can't free anything
            self._stream.synchronize()
            self._pool.free_all_blocks()
        del self._staging, self._stream, self._pool
        self._cupy = None

    @contextmanager
    def _here(self) -> Iterator[Any]:
        """On this device, its stream and its memory; gives the module `cupy`."""
        if self._cupy is None:
            raise BackendError("the device is closed; open its backend again")
        with running(self.free_memory):
            with self._device, self._stream, self._cupy.cuda.using_allocator(self._pool.malloc):
                yield self._cupy

    def empty(self, length: int, dtype: DTypeLike) -> Any:
        with self._here() as cupy:
            return cupy.empty(length, dtype)

    def zeros(self, length: int, dtype: DTypeLike) -> Any:
        with self._here() as cupy:
            return cupy.zeros(length, dtype)

    def upload(self, values: Array) -> Any:
        with self._here() as cupy:
            flat = np.ascontiguousarray(values).reshape(-1)
            there = cupy.empty(flat.size, flat.dtype)
            self._staging.upload(flat, there.data.ptr)
            return there

    def download(self, values: Any) -> Array:
        with self._here():
            here = np.empty(values.size, values.dtype)
            self._staging.download(values.data.ptr, here)
            return here

    def copy(self, source: Any, target: Any) -> None:
        with self._here():
            target.data.copy_from_device_async(source.data, source.nbytes, self._stream)

    def launch(self, kernel: str, n: int, *arguments: Any) -> None:
        if n > 0:
            with self._here():
                self._launch(kernel, blocks(kernel, n), n, *arguments)

    def _launch(self, kernel: str, grid: int, *arguments: Any) -> None:
        self._kernels[kernel]((grid,), (BLOCK,), tuple(map(_as_in_c, arguments)))

    def synchronize(self) -> None:
        with self._here():
            self._stream.synchronize()

    def conjugate_gradients(
        self, n: int, indptr: Any, indices: Any, A: Any, x: Any, r: Any, p: Any, q: Any, state: Any
    ) -> Callable[[], None]:
        most = CG_BLOCKS * self._device.attributes["MultiProcessorCount"]
        by_item, by_row = min(-(-n // BLOCK), most), min(-(-n * LANES // BLOCK), most)
        sums, ticket = self.empty(by_row, np.float64), self.zeros(1, np.uint32)

        def steps(state: Any, count: int) -> None:
            self._launch("cg_check", 1, state)
            for _ in range(count):
                self._launch("cg_direction", by_item, n, r, p, state)
                self._launch("cg_product", by_row, n, indptr, indices, A, p, q, state, sums, ticket)
                self._launch("cg_step", by_item, n, p, q, x, r, state, sums, ticket)

        over = np.zeros(STATE)
        over[STATUS] = CONVERGED
        nothing = self.upload(over)
        with self._here():
            steps(nothing, 1)  # a kernel is loaded at its first launch, which must not be inside a capture
            self._stream.synchronize()
            self._stream.begin_capture()
            try:
                steps(state, BATCH)
            finally:
                graph = self._stream.end_capture()
        return partial(self._run, graph, (indptr, indices, A, x, r, p, q, state, sums, ticket))

    def _run(self, graph: Any, kept: tuple[Any, ...]) -> None:
        """Launch a graph. It has only the addresses of its arrays: `kept` keeps the arrays alive."""
        with self._here():
            graph.launch(self._stream)

    def coo_to_csr(self, rows: Any, columns: Any, values: Any, n: int) -> tuple[Any, Any, Any]:
        with self._here():
            try:
                from cupyx.scipy.sparse import coo_matrix

                matrix = coo_matrix((values, (rows, columns)), shape=(n, n)).tocsr()
            except (ImportError, OSError) as error:
                raise BackendError(
                    f"assembly=coo needs cuSPARSE ({' '.join(str(error).split())}): "
                    'python -m pip install "cupy-cuda13x[ctk]", or "cupy-cuda12x[ctk]"'
                ) from error
            return matrix.indptr, matrix.indices, matrix.data

    def free_memory(self) -> tuple[int, int]:
        if self._cupy is None:
            raise BackendError("the device is closed; open its backend again")
        with running(lambda: None), self._device:
            free, total = self._cupy.cuda.runtime.memGetInfo()
            return int(free + self._pool.free_bytes()), int(total)

    def seconds(self, work: Callable[[], object]) -> float:
        with self._here() as cupy:
            start, stop = cupy.cuda.Event(), cupy.cuda.Event()
            start.record(self._stream)
            work()
            stop.record(self._stream)
            stop.synchronize()
            return float(cupy.cuda.get_elapsed_time(start, stop)) / 1e3

    def describe(self) -> Mapping[str, Any]:
        with self._here() as cupy:
            cuda, found = cupy.cuda.runtime, cupy.cuda.runtime.getDeviceProperties(self._number)
            return {
                "name": found["name"].decode(),
                "memory": int(found["totalGlobalMem"]),
                "compute_capability": f"{found['major']}.{found['minor']}",
                "driver": _version(cuda.driverGetVersion()),
                "cuda": _version(cuda.runtimeGetVersion()),
                "nvrtc": ".".join(map(str, cupy.cuda.nvrtc.getVersion())),
                "cupy": str(cupy.__version__),
            }


def _as_in_c(argument: Any) -> Any:
    """A Python int as int32, a float as float64. CuPy would pass an int as int64."""
    if isinstance(argument, int):
        return np.int32(argument)
    return np.float64(argument) if isinstance(argument, float) else argument


def _version(number: int) -> str:
    """CUDA's 13020 is 13.2."""
    return f"{number // 1000}.{number % 1000 // 10}"
