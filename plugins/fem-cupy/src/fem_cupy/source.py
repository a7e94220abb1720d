"""The sources of the kernels, and the number of threads of each."""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from fem_core.device.runtime import ROW_KERNELS, SUM_KERNELS

#: Where the sources are: a file for each stage.
FOLDER = Path(__file__).parent / "kernels"

#: The stages, as the files are called.
STAGES = ("sparsity", "assembly", "conditions", "solve", "derived", "multigrid")

#: Threads of a block.
BLOCK = 256

#: Threads for one row of a matrix.
LANES = 4

#: Blocks of the kernels of conjugate gradients for each multiprocessor: as many as fit. They loop over all rows.
CG_BLOCKS = 8

#: Threads of an item, where it is more than one.
THREADS: Mapping[str, int] = dict.fromkeys(ROW_KERNELS, LANES) | dict.fromkeys(SUM_KERNELS, 32)

#: The options for every compiler of the sources.
OPTIONS = ("-std=c++17", f"-DBLOCK={BLOCK}", f"-DLANES={LANES}")

_INCLUDE = re.compile(r'^#include "(.+)"\n', re.MULTILINE)
_KERNEL = re.compile(r'^extern "C" __global__ void\s(?:__launch_bounds__\(\w+\))?\s*(\w+)\(([^)]*)\)', re.MULTILINE)


def blocks(kernel: str, n: int) -> int:
    """Blocks that n items of a kernel take."""
    return -(-n * THREADS.get(kernel, 1) // BLOCK)


@cache
def source(stage: str) -> str:
    """The text of a stage with its headers inserted: it compiles without a path to them."""

    def text(name: str) -> str:
        return f'#line 1 "{name}"\n' + _INCLUDE.sub(included, (FOLDER / name).read_text(encoding="utf-8"))

    def included(match: re.Match[str]) -> str:
        line = match.string.count("\n", 0, match.start()) + 2
        return f'{text(match[1])}#line {line} "{stage}.cu"\n'

    return text(f"{stage}.cu")


@cache
def kernels(stage: str) -> Mapping[str, tuple[str, ...]]:
    """The kernels of a stage and the types of their parameters, such as "const double*"; the first is n."""
    found = _KERNEL.findall(source(stage))
    return {name: tuple(_type(parameter) for parameter in given.split(",")) for name, given in found}


def _type(parameter: str) -> str:
    """`const double *__restrict__ x` is of type "const double*"."""
    words, pointer, _ = parameter.replace("__restrict__", "").strip().rpartition("*")
    return f"{words.strip()}*" if pointer else parameter.split()[0]
