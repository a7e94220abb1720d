"""The machine's limits (memory bandwidth and multiply-adds, by NumPy), and the distance of assembly to them.

Assembly again (pattern known) moves at least, per element, 16 coordinates, 8 node numbers, 64 slots and
64 entries written and read, and each CSR value once.
"""

import fem_core as fem
import numpy as np
from fem_core.tools.bench import side_by_side
from meshes import y_tube_195k


def run(repeats: int) -> dict[str, object]:
    mesh = y_tube_195k()
    sparsity = fem.compute_sparsity(mesh)
    a, b, c = (np.ones(20_000_000) for _ in range(3))
    m = np.ones((1500, 1500))
    with fem.open_backend("numpy") as session:
        timings = side_by_side(
            {
                "triad": lambda: np.add(a, b, out=c),
                "matrix product": lambda: m @ m,
                "numeric assembly": lambda: fem.assemble_system(mesh, sparsity=sparsity, backend=session),
            },
            repeats,
        )
    bandwidth = 3 * a.nbytes / timings["triad"].median
    flops = 2 * len(m) ** 3 / timings["matrix product"].median
    moved = mesh.n_elements * (16 * 8 + 8 * 4 + 64 * 4 + 2 * 64 * 8) + 2 * 8 * sparsity.nnz
    operations = mesh.n_elements * (2 * 2 * 8 * 18 + 2 * 27 * 64 + 9 * 15 + 64)
    measured = timings["numeric assembly"].median
    floor = max(moved / bandwidth, operations / flops)
    print(f"bandwidth {bandwidth / 1e9:.1f} GB/s, multiply-add {flops / 1e9:.1f} GFLOP/s")
    print(f"bytes {1e3 * moved / bandwidth:.1f} ms, operations {1e3 * operations / flops:.1f} ms")
    print(f"measured {1e3 * measured:.1f} ms")
    print(f"distance to the floor: {measured / floor:.1f} x")
    return {"timings": timings, "bandwidth": bandwidth, "flops": flops, "floor": floor, "distance": measured / floor}
