"""The cost of a batch size in one assembly: transfers, bytes, and seconds of pickling, computing and merging."""

import time

import fem_core as fem
from executors import MODELS
from meshes import y_tube_195k

SIZES = (100, 500, 1000, 2000, 5000, 10_000)


def run(repeats: int) -> dict[str, object]:
    mesh = y_tube_195k()
    sparsity = fem.compute_sparsity(mesh)
    results: dict[str, object] = {}
    for name in ("mp, payload=batch", "mp-shm"):
        model, options = MODELS[name]
        print(f"{name}: batch, transfers, bytes to and back per transfer; ms pickling, computing, merging, wall")
        for size in SIZES:
            with fem.open_backend(model, batch_size=size, **options) as session:
                pool = session.backends[0][1].executor.pool
                rows = []
                for _ in range(repeats + 1):
                    pool.traffic = type(pool.traffic)()
                    start = time.perf_counter()
                    fem.assemble_system(
                        mesh, None, fem.Sparsity(sparsity.indptr, sparsity.indices, sparsity.slots), backend=session
                    )
                    rows.append((time.perf_counter() - start, pool.traffic))
            wall, seen = sorted(rows[1:], key=lambda row: row[0])[len(rows[1:]) // 2]
            parts = [1e3 * seen.seconds[part] for part in ("pickling", "computing", "merging")]
            each = seen.bytes_sent / seen.tasks, seen.bytes_received / seen.tasks
            print(
                f"{size:8} {seen.tasks:6} {each[0]:10.0f} {each[1]:10.0f}"
                + "".join(f"{ms:9.1f}" for ms in (*parts, 1e3 * wall))
            )
            results[f"{name}, {size}"] = {"transfers": seen.tasks, "bytes": each, "ms": [*parts, 1e3 * wall]}
    return results
