"""Post-processing: velocity, speed and pressure of each element."""

import numpy as np
from fem_core import DerivedFields, Mesh, Problem
from fem_core.plugins import Progress
from fem_core.types import Floats, Ints
from numba import prange

from fem_numba.element import LANES, flow
from fem_numba.jit import In, Out, compiled, f8, i4, i8
from fem_numba.memory import workspaces
from fem_numba.threads import parallel

#: Elements between two reports of progress.
_CHUNK = 1 << 20


def derive(mesh: Mesh, problem: Problem, u: Floats, threads: int, progress: Progress) -> DerivedFields:
    """The fields of a potential (n_nodes,)."""
    n, fluid = mesh.n_elements, problem.fluid
    velocity, speed, pressure = np.empty((n, 2)), np.empty(n), np.empty(n)
    u = np.ascontiguousarray(u)  # another backend may give a strided array
    scratch = workspaces(threads, 27 * LANES)
    with parallel(threads):
        for first in range(0, n, _CHUNK):
            last = min(first + _CHUNK, n)
            fields(
                mesh.x, mesh.y, u, mesh.quad8, fluid.p0, 0.5 * fluid.rho,
                velocity, speed, pressure, scratch, first, last,
            )  # fmt: skip
            progress.derived(last, n)
    return DerivedFields(velocity, speed, pressure)


@compiled(
    In[f8, 1], In[f8, 1], In[f8, 1], In[i4, 2], f8, f8, Out[f8, 2], Out[f8, 1], Out[f8, 1], Out[f8, 2], i8, i8,
    parallel=True,
)  # fmt: skip
def fields(
    x: Floats, y: Floats, u: Floats, quad8: Ints, p0: float, half_rho: float, velocity: Floats, speed: Floats,
    pressure: Floats, scratch: Floats, first: int, last: int,
) -> None:  # fmt: skip
    """Elements first … last - 1, `first` a multiple of LANES."""
    threads = scratch.shape[0]
    blocks = (last - first + LANES - 1) // LANES
    for thread in prange(threads):
        room = scratch[thread]
        X, Y, U = room[: 8 * LANES], room[8 * LANES : 16 * LANES], room[16 * LANES : 24 * LANES]
        V = room[24 * LANES :]
        for block in range(thread * blocks // threads, (thread + 1) * blocks // threads):
            start = first + block * LANES
            for lane in range(LANES):
                e = min(start + lane, last - 1)  # the last block is filled up
                for i in range(8):
                    node = quad8[e, i]
                    X[i * LANES + lane], Y[i * LANES + lane], U[i * LANES + lane] = x[node], y[node], u[node]
            flow(X, Y, U, V)
            for lane in range(min(LANES, last - start)):
                e, v = start + lane, V[2 * LANES + lane]
                velocity[e, 0], velocity[e, 1], speed[e] = V[lane], V[LANES + lane], v
                pressure[e] = p0 - half_rho * v * v
