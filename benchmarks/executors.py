"""Execution models side by side: assembly on two meshes, both kernels, bytes through the pipes, memory."""

import os
import threading
import time
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

import fem_core as fem
from fem_core.tools.bench import side_by_side
from meshes import y_tube_195k

MODELS = {
    "numpy": ("numpy", {}),
    "threads": ("threads", {"workers": 2}),
    "mp, payload=batch": ("mp", {"workers": 2}),
    "mp, payload=mesh": ("mp", {"workers": 2, "payload": "mesh"}),
    "mp-shm": ("mp-shm", {"workers": 2}),
}


def run(repeats: int) -> dict[str, object]:
    large = fem.generate.y_tube(nodes=1_358_000)
    results: dict[str, object] = {}
    for name, mesh in (("195k", y_tube_195k()), ("1.36M", large)):
        print(f"-- {name}: {mesh}")
        results[name] = {
            "first assembly on a pattern": assembly(mesh, repeats, again=False),
            "assembly on a pattern that comes again": assembly(mesh, repeats, again=True),
        }
    print("-- bytes per batch of 1000 elements, 195k")
    results["bytes"] = traffic(y_tube_195k())
    print("-- proportional set size of two workers, peak in MB, 1.36M")
    results["pss"] = memory(large)
    print("-- kernel=loop, 195k, one round")
    results["loop"] = loop(y_tube_195k())
    return results


def assembly(mesh: fem.Mesh, repeats: int, again: bool) -> dict[str, object]:
    """Medians and bests. A new pattern is an equal copy of the old one."""
    problem, sparsity = fem.Problem(), fem.compute_sparsity(mesh)
    with ExitStack() as stack:
        sessions = {
            name: stack.enter_context(fem.open_backend(model, **options)) for name, (model, options) in MODELS.items()
        }

        def once(session: fem.Session) -> None:
            fem.assemble_system(mesh, problem, sparsity if again else replace(sparsity), backend=session)

        timings = side_by_side({name: partial(once, session) for name, session in sessions.items()}, repeats, warmup=3)
    base, plain = timings["numpy"], timings["mp, payload=mesh"]
    print(f"{'again' if again else 'first':20} {'median':>8} {'best':>8} ms, {'numpy / it':>10} (best), mp mesh / it")
    for name, t in timings.items():
        print(
            f"{name:20} {1e3 * t.median:8.1f} {1e3 * t.best:8.1f}     {base.median / t.median:10.2f} "
            f"({base.best / t.best:4.2f})  {plain.median / t.median:10.2f}"
        )
    return {"timings": timings}


def traffic(mesh: fem.Mesh) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, (model, options) in MODELS.items():
        if model.startswith("mp"):
            with fem.open_backend(model, batch_size=1000, **options) as session:
                fem.assemble_system(mesh, backend=session)
                seen = session.backends[0][1].executor.pool.traffic
            found[name] = {"to": seen.bytes_sent / seen.tasks, "back": seen.bytes_received / seen.tasks}
            print(f"{name:20} {found[name]['to']:12.0f} to a worker {found[name]['back']:12.0f} back")
    return found


def pss(pids: list[int]) -> float:
    """MB of all processes; a page that n processes share counts 1/n."""
    total = 0
    for pid in pids:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1e3


def memory(mesh: fem.Mesh) -> dict[str, object]:
    """Peak memory of the workers, growth of all processes, and the prediction for all, during assemblies."""
    found: dict[str, object] = {}
    for again in (False, True):
        problem, sparsity = fem.Problem(), fem.compute_sparsity(mesh)
        for name, (model, options) in MODELS.items():
            if not model.startswith("mp") or (again and model == "mp"):
                continue
            with fem.open_backend(model, **options) as session:
                executor = session.backends[0][1].executor
                predicted: list[float] = []
                need = executor.need

                def noted(*arguments, need=need, predicted=predicted):
                    answer = need(*arguments)
                    predicted.append(answer.total(2) / 1e6)
                    return answer

                executor.need = noted
                workers, growth, done = [0.0], [0.0], threading.Event()
                before = pss([os.getpid()])

                def watch(pool=executor.pool, workers=workers, growth=growth, before=before, done=done) -> None:
                    while not done.wait(0.005):
                        try:
                            workers[0] = max(workers[0], now := pss(pool.pids))
                            growth[0] = max(growth[0], now + pss([os.getpid()]) - before)
                        except OSError:
                            continue

                watcher = threading.Thread(target=watch)
                watcher.start()
                for _ in range(4 if again else 1):
                    fem.assemble_system(mesh, problem, sparsity, backend=session)
                done.set()
                watcher.join()
            key = f"{name}{', again' if again else ''}"
            found[key] = {"workers": workers[0], "all": growth[0], "predicted": sum(predicted)}
            print(
                f"{key:24} workers {workers[0]:6.0f}   growth of all {growth[0]:6.0f}   predicted {sum(predicted):6.0f}"
            )
    print(f"{'mp-shm / mp mesh':24} {found['mp-shm']['workers'] / found['mp, payload=mesh']['workers']:.2f}")
    return found


def loop(mesh: fem.Mesh) -> dict[str, float]:
    problem, sparsity = fem.Problem(), fem.compute_sparsity(mesh)
    seconds: dict[str, float] = {}
    for name in ("baseline", *MODELS):
        model, options = MODELS.get(name, (name, {}))
        with fem.open_backend(model, **options, **({} if name == "baseline" else {"kernel": "loop"})) as session:
            if name not in ("baseline", "numpy"):
                fem.assemble_system(fem.generate.duct(nx=50, ny=50), backend=session)  # starts the pool
            start = time.perf_counter()
            fem.assemble_system(mesh, problem, sparsity, backend=session)
            seconds[name] = time.perf_counter() - start
        print(f"{name:20} {seconds[name]:8.2f} s")
    return seconds
