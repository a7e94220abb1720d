"""The kernels of fem-cupy compiled for the host, as a runtime of the device layer: what a GPU would run."""

import atexit
import ctypes
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from fem_core.device.backend import DeviceBackend
from fem_core.device.info import OPTIONS, SOLVER_METHODS, STAGES
from fem_core.device.reference import DeviceArray, ReferenceRuntime
from fem_core.plugins import BackendInfo, Option
from fem_cupy import source

COMPILER = os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")
FLAGS = ("-std=c++17", "-O2", "-fPIC", "-shared", "-Wall", "-Wextra", "-Werror", "-U_FORTIFY_SOURCE")
SANITIZE = ("-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")

DTYPES = {"int": np.dtype("i4"), "double": np.dtype("f8"), "float": np.dtype("f4"), "unsigned": np.dtype("u4")}
#: The kernels and the types of their parameters.
SIGNATURES = {name: types for stage in source.STAGES for name, types in source.kernels(stage).items()}


def build(target: Path, *more: str, sources: Path = source.FOLDER) -> Path:
    """A library of all kernels. Warnings are errors."""
    assert COMPILER, "the kernels are compiled for the host by g++ or clang++, and there is none; set CXX"
    listed = " ".join(f"K({name})" for name in SIGNATURES)
    here = Path(__file__).parent / "host" / "kernels.cpp"
    defined = [f"-DBLOCK={source.BLOCK}", f"-DLANES={source.LANES}", f"-DKERNELS={listed}", f"-I{sources}"]
    subprocess.run([COMPILER, *FLAGS, *more, *defined, "-o", target, here], check=True)
    return target


class HostRuntime(ReferenceRuntime):
    """The library's kernels on NumPy arrays.

    Parameters
    ----------
    library : Path
        As `build` made it.
    order : int
        How the blocks of a grid follow each other: 0 as numbered, 1 backwards, else by chance from this seed.
    """

    #: Blocks of the kernels of conjugate gradients, few enough to go round several times, and steps in a batch.
    CG_BLOCKS, BATCH = 2, 50

    def __init__(self, library: Path, order: int = 0) -> None:
        super().__init__()
        self.order = order
        self._library = ctypes.PyDLL(str(library))  # one thread at a time: the kernels have the GIL

    def launch(self, kernel: str, n: int, *arguments: Any) -> None:
        self.launches.append(kernel)
        if n > 0:
            self.run(kernel, source.blocks(kernel, n), n, *arguments)

    def run(self, kernel: str, grid: int, *arguments: Any) -> None:
        """A kernel of so many blocks; arrays must be of the types that the source has."""
        types = SIGNATURES[kernel]
        assert len(types) == len(arguments), f"{kernel} takes {len(types)} arguments, not {len(arguments)}"
        values = [self._value(kernel, wanted, given) for wanted, given in zip(types, arguments, strict=True)]
        pointers = (ctypes.c_void_p * len(values))(*(ctypes.addressof(value) for value in values))
        status = self._library.launch(kernel.encode(), grid, self.order, pointers)
        assert status == 0, f"{kernel}: " + ("", "threads waited for each other in vain", "no such kernel")[status]

    def _value(self, kernel: str, wanted: str, given: Any) -> Any:
        if not wanted.endswith("*"):
            assert type(given) is {"int": int, "double": float}[wanted], f"{kernel} was given {given!r} for {wanted}"
            return (ctypes.c_int if wanted == "int" else ctypes.c_double)(given)
        array = given.on(self)
        dtype = DTYPES[wanted.removeprefix("const ").removeprefix("volatile ").removesuffix("*")]
        assert array.dtype == dtype, f"{kernel} was given {array.dtype} for {wanted}"
        return ctypes.c_void_p(array.ctypes.data)

    def conjugate_gradients(
        self, n: int, indptr: Any, indices: Any, A: Any, x: Any, r: Any, p: Any, q: Any, state: Any
    ) -> Callable[[], None]:
        sums, ticket = self.empty(self.CG_BLOCKS, np.float64), DeviceArray(self, np.zeros(1, np.uint32))

        def run() -> None:
            self.run("cg_check", 1, state)
            for _ in range(self.BATCH):
                self.run("cg_direction", self.CG_BLOCKS, n, r, p, state)
                self.run("cg_product", self.CG_BLOCKS, n, indptr, indices, A, p, q, state, sums, ticket)
                self.run("cg_step", self.CG_BLOCKS, n, p, q, x, r, state, sums, ticket)

        return run

    def describe(self) -> Mapping[str, Any]:
        return {"name": "the host, by a C++ compiler", "memory": self.memory, "simulated": True}


@cache
def library() -> Path:
    """The kernels as they are, compiled once in a process."""
    folder = tempfile.TemporaryDirectory(prefix="fem-cupy-")
    atexit.register(folder.cleanup)
    return build(Path(folder.name) / "kernels.so")


class Host(DeviceBackend):
    """The driver over the kernels on the host."""

    def __init__(self, device: int = 0, assembly: Literal["gather", "coo"] = "gather", order: int = 0) -> None:
        super().__init__(HostRuntime(library(), order), assembly)


INFO = BackendInfo(
    name="cupy-on-host",
    summary="the kernels of fem-cupy compiled by a C++ compiler",
    factory="host_runtime:Host",
    stages=STAGES,
    solver_methods=SOLVER_METHODS,
    options=(*OPTIONS, Option("order", int, 0, "of the blocks")),
    device="host",
)
