"""The number of elements from which more workers are faster: seconds of an assembly, and of the pool's start-up."""

from contextlib import ExitStack
from functools import partial

import fem_core as fem
import numpy as np
from executors import MODELS
from fem_core.tools.bench import side_by_side

ELEMENTS = (1_000, 3_000, 10_000, 33_800, 100_000, 338_000)


def run(repeats: int) -> dict[str, object]:
    models = {name: MODELS[name] for name in ("numpy", "threads", "mp, payload=batch", "mp-shm")}
    table: dict[str, list[float]] = {name: [] for name in models}
    startup: dict[str, float] = dict.fromkeys(models, 0.0)
    sizes = []
    with ExitStack() as stack:
        sessions = {
            name: stack.enter_context(
                fem.open_backend(model, **options, **({} if model == "numpy" else {"min_size": 0}))
            )
            for name, (model, options) in models.items()
        }
        for wanted in ELEMENTS:
            side = round(wanted**0.5)
            mesh = fem.generate.duct(nx=side, ny=side)
            sizes.append(mesh.n_elements)
            problem, sparsity = fem.Problem(), fem.compute_sparsity(mesh)

            def once(session: fem.Session, mesh=mesh, problem=problem, sparsity=sparsity) -> None:
                fem.assemble_system(mesh, problem, sparsity, backend=session)

            timings = side_by_side({name: partial(once, one) for name, one in sessions.items()}, repeats, warmup=3)
            for name, timing in timings.items():
                table[name].append(timing.median)
        for name, session in sessions.items():
            pool = getattr(session.backends[0][1].executor, "pool", None)
            startup[name] = pool.startup_seconds if pool else 0.0
    print(
        f"{'elements':>20}"
        + "".join(f"{n:>10}" for n in sizes)
        + "     fit: T = T_numpy / speed-up + overhead; start-up"
    )
    fits = {}
    for name, seconds in table.items():
        slope, overhead = np.polyfit(table["numpy"], seconds, 1, w=1 / np.array(seconds))
        fits[name] = {"speedup": 1 / slope, "overhead": overhead, "startup": startup[name]}
        print(
            f"{name:>20}"
            + "".join(f"{1e3 * t:10.2f}" for t in seconds)
            + f" ms  {1 / slope:5.2f}, {1e3 * overhead:6.2f} ms; {1e3 * startup[name]:5.0f} ms"
        )
    return {"elements": sizes, "seconds": table, "fits": fits}
