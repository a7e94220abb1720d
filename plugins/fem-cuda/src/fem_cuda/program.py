"""The kernels as a device runs them: all of them in one cubin, kept on disk; or interpreted, in numba-cuda's simulator.

numba-cuda compiles each kernel to PTX, and nvJitLink links all of it to one cubin. The name of the cubin on disk
depends on the sources and on the versions of the compilers. Any problem with the file is only a warning.
"""

import ctypes
import hashlib
import importlib
import re
import sys
import threading
import warnings
from collections.abc import Mapping
from functools import cache, lru_cache, partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from fem_core import BackendError
from fem_core.device.runtime import ROW_KERNELS, SUM_KERNELS
from fem_core.support import compiled
from fem_core.types import Array

from fem_cuda import INSTALL, folder
from fem_cuda.jit import KERNELS, signature
from fem_cuda.kernels.common import BLOCK, LANES, WARP
from fem_cuda.memory import DeviceArray

#: The stages, as the modules of kernels are called.
STAGES = ("sparsity", "assembly", "conditions", "solve", "derived", "multigrid")

#: Threads of an item, where it is more than one.
THREADS: Mapping[str, int] = dict.fromkeys(ROW_KERNELS, LANES) | dict.fromkeys(SUM_KERNELS, WARP)

#: Blocks that must fit on a multiprocessor with their registers, so that enough threads wait for memory.
TOGETHER: Mapping[str, int] = {"conjugate_gradients": 8, "element_stiffness": 4}

#: The distributions that compile, if they are installed from wheels.
_COMPILERS = ("numba-cuda", "numba", "llvmlite", "nvidia-nvvm", "nvidia-cuda-nvcc-cu12", "nvidia-nvjitlink")

_ENTRY = re.compile(r"\.visible \.entry (\w+)\(")
_compiling = threading.Lock()

for _stage in STAGES:
    importlib.import_module(f"fem_cuda.kernels.{_stage}")


def blocks(kernel: str, n: int) -> int:
    """Blocks that n items of a kernel take."""
    return -(-n * THREADS.get(kernel, 1) // BLOCK)


def ptx(name: str, cc: tuple[int, int]) -> str:
    """The PTX of a kernel for a compute capability; its entry point has the kernel's name."""
    from numba import cuda, types

    function = KERNELS[name]
    of_kernel, bounds = types.void(*signature(function)), (BLOCK, TOGETHER.get(name, 1))
    with warnings.catch_warnings(action="ignore"):  # of performance: a user can't do anything about them
        text, _ = cuda.compile(function, of_kernel, device=False, abi="numba", cc=cc, launch_bounds=bounds)
    (mangled,) = _ENTRY.findall(text)
    return re.sub(rf"\b{mangled}(?=\b|_param_)", name, text)


def link(sources: Mapping[str, str], cc: tuple[int, int]) -> bytes:
    """One cubin of the PTX of several kernels, by name."""
    from cuda.core import Linker, LinkerOptions, ObjectCode

    parts = [ObjectCode.from_ptx(text.encode(), name=name) for name, text in sources.items()]
    parts.append(ObjectCode.from_library(runtime_library(), name="cudadevrt"))
    linker = Linker(*parts, options=LinkerOptions(arch=f"sm_{cc[0]}{cc[1]}"))
    try:
        return bytes(linker.link("cubin").code)
    finally:
        linker.close()


def runtime_library() -> bytes:
    """CUDA's device library, which contains the barrier of a grid."""
    from numba.cuda.cudadrv.libs import get_cudalib

    return Path(get_cudalib("cudadevrt", static=True)).read_bytes()


def cubin(cc: tuple[int, int]) -> bytes:
    """All kernels for a compute capability, from the cache or compiled. Raises BackendError."""
    with _compiling:
        path = folder() / f"sm_{cc[0]}{cc[1]}-{_stamp()}.bin"
        if (found := compiled.load(path, bytes)) is not None:
            return found
        try:
            found = link({name: ptx(name, cc) for name in KERNELS}, cc)
        except Exception as error:
            text = " ".join(f"{type(error).__name__}: {error}".split())[:500]
            raise BackendError(f"the kernels can't be compiled for sm_{cc[0]}{cc[1]}: {text}; {INSTALL}") from error
        compiled.save(path, found, "sm_*.bin")
        return found


@cache
def _stamp() -> str:
    """A digest of everything that the cubin depends on, except the device."""
    digest = hashlib.blake2b(sys.version.encode(), digest_size=16)
    for name in _COMPILERS:
        try:
            digest.update(f"{name} {version(name)}".encode())
        except PackageNotFoundError:
            continue
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


class Compiled:
    """The kernels of one device.

    Parameters
    ----------
    cc : (int, int)
        Its compute capability.
    stream : int
        The handle of the stream for the launches.
    """

    def __init__(self, cc: tuple[int, int], stream: int) -> None:
        from cuda.core import LaunchConfig, ObjectCode, Stream, launch

        self._launch, self._stream = launch, Stream.from_handle(stream)
        self._config = lru_cache(1000)(partial(LaunchConfig, block=BLOCK))
        code = ObjectCode.from_cubin(cubin(cc))
        self._kernels = {name: code.get_kernel(name) for name in KERNELS}
        # only kernels with atomics have numba-cuda's arrays, which are passed in parts
        self._arrays = {name: [hasattr(one, "ndim") for one in signature(KERNELS[name])] for name in KERNELS}

    def grid(self, kernel: str, multiprocessors: int) -> int:
        """Blocks that can run at the same time."""
        occupancy = self._kernels[kernel].occupancy
        return multiprocessors * int(occupancy.max_active_blocks_per_multiprocessor(BLOCK, 0))

    def launch(self, kernel: str, grid: int, *arguments: Any, together: bool = False) -> None:
        """Launch a kernel; with `together` all blocks run at the same time, or it is an error."""
        words: list[Any] = []
        for argument, is_array in zip(arguments, self._arrays[kernel], strict=True):
            words += _words(argument, is_array)
        config = self._config(grid=grid, is_cooperative=together)
        self._launch(self._stream, config, self._kernels[kernel], *words)


def _words(argument: Any, is_array: bool) -> list[Any]:
    """An argument as it is passed: int32, float64, an address, or the parts of an array of numba-cuda."""
    if isinstance(argument, int):
        return [ctypes.c_int32(argument)]
    if isinstance(argument, float):
        return [ctypes.c_double(argument)]
    if not is_array:
        return [argument.address]
    size, itemsize = argument.size, argument.dtype.itemsize
    return [0, 0, size, itemsize, argument.address, size, itemsize]  # no owner, no parent, …, shape, strides


class Simulated:
    """The same, interpreted: one block of few threads, which loop over all items."""

    #: Threads of the block, a power of two.
    threads = 1

    #: The simulator runs one kernel at a time.
    _running = threading.Lock()

    def __init__(self) -> None:
        from numba import cuda

        self._kernels = {name: cuda.jit(function) for name, function in KERNELS.items()}

    def grid(self, kernel: str, multiprocessors: int) -> int:
        """1: the simulator runs one block after the other."""
        return 1

    def launch(self, kernel: str, grid: int, *arguments: Any, together: bool = False) -> None:
        """Run a kernel, without Python's warnings of division by zero."""
        with self._running, warnings.catch_warnings(action="ignore", category=RuntimeWarning):
            interval = sys.getswitchinterval()
            sys.setswitchinterval(1e-4)  # at each barrier a thread waits for the simulator's main thread
            try:
                self._kernels[kernel][1, self.threads](*map(_simulated, arguments))
            finally:
                sys.setswitchinterval(interval)


def _simulated(argument: Any) -> Any:
    """An argument for the simulator: a memoryview is ten times as fast as the simulator's arrays.

    It holds Python's numbers, so single precision needs an array.
    """
    if not isinstance(argument, DeviceArray):
        return argument
    memory = (ctypes.c_char * argument.nbytes).from_address(argument.address)
    values: Array = np.ndarray(argument.size, argument.dtype, memoryview(memory))
    if argument.dtype != np.float32:
        return values.data
    from numba.cuda.simulator.cudadrv.devicearray import FakeCUDAArray

    return FakeCUDAArray(values)
