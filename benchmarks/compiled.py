"""The compiled backend beside NumPy and NGSolve, and its distance to the machine's floors.

NGSolve (if it is installed) takes the same corners with straight sides and 9 nodes per element (order 2 on quads), so
an element has one node more, and its matrix 81 entries instead of 64.

Bytes of an assembly: everything that is read and written at least once (values, places, rows, nodes, coordinates).
Operations: those of the kernel. The floor is the larger of the two times, at the triad and multiply-add rates of all
threads.
"""

from functools import partial

import fem_core as fem
import numba
import numpy as np
from fem_core.plugins.stages import APPLY_BC, ASSEMBLE_SYSTEM, COMPUTE_DERIVED, COMPUTE_SPARSITY
from fem_core.results import SolveResult, StopReason
from fem_core.tools.bench import side_by_side
from meshes import y_tube_195k
from numba import prange

#: Additions, multiplications and divisions of `fem_numba.element.stiffness` for an element.
OPERATIONS = 680

SIZES = (50_000, 200_000, 500_000, 1_000_000, 2_000_000)


def run(repeats: int) -> dict[str, object]:
    results: dict[str, object] = {"floors": (rates := floors(repeats))}
    print(f"triad {rates['triad'] / 1e9:.1f} GB/s, multiply-add {rates['fma'] / 1e9:.1f} GFLOP/s")
    results["per element"] = per_element(repeats)  # first, because the others leave threads behind
    for name, mesh in {"y_tube_195k": y_tube_195k(), "1.36M": fem.generate.y_tube(nodes=1_360_000)}.items():
        results[name] = compare(mesh, repeats, rates)
    return results


def compare(mesh: fem.Mesh, repeats: int, rates: dict[str, float]) -> dict[str, object]:
    problem = fem.Problem.potential_flow(mesh)
    u = np.random.default_rng(0).normal(size=mesh.n_nodes)
    result = SolveResult(u, "cg", 1, StopReason.CONVERGED, 0.0, 0.0)
    print(mesh)
    with fem.open_backend("numba") as compiled, fem.open_backend("numpy") as reference:
        given = {"mesh": mesh, "problem": problem}
        patterns = {session.name: session.stages().perform(COMPUTE_SPARSITY, mesh) for session in (compiled, reference)}
        systems = {
            s.name: s.stages().perform(ASSEMBLE_SYSTEM, sparsity=patterns[s.name], **given)
            for s in (compiled, reference)
        }
        difference = np.abs(systems["numba"].matrix.data - systems["numpy"].matrix.data).max()
        assert difference < 1e-11 * np.abs(systems["numpy"].matrix.data).max()

        def symbolic(session):
            session.forget()
            return session.stages().perform(COMPUTE_SPARSITY, mesh)

        cases = {}
        for s in (compiled, reference):
            stages, pattern, system = s.stages(), patterns[s.name], systems[s.name]
            cases |= {
                f"{s.name}, symbolic": lambda s=s: symbolic(s),
                f"{s.name}, numeric": lambda a=stages, b=pattern: a.perform(ASSEMBLE_SYSTEM, sparsity=b, **given),
                f"{s.name}, conditions": lambda a=stages, b=system: a.perform(APPLY_BC, system=b, **given),
                f"{s.name}, derived": lambda a=stages: a.perform(COMPUTE_DERIVED, result=result, **given),
            }
        try:
            peer = NGSolve(mesh, int(rates["threads"]))
        except ImportError:
            print("NGSolve is not installed: nothing to compare with")
        else:
            cases |= {"NGSolve, numeric": peer.again, "NGSolve, both": peer.both}
        timings = side_by_side(cases, repeats, warmup=2)
        parts = patterns["numba"].parts
        arrays = (parts.elements, parts.nodes, parts.rows, parts.local, mesh.x, mesh.y)
        moved = sum(array.nbytes for array in arrays) + 8 * patterns["numba"].nnz + 8 * mesh.n_elements
        operations = OPERATIONS * len(parts.elements)
    for name, timing in timings.items():
        print(f"{name:24} {1e3 * timing.median:8.2f} ms, best {1e3 * timing.best:8.2f}")
    took = timings["numba, numeric"].median
    figures = {
        "floor, bytes": moved / rates["triad"],
        "floor, operations": operations / rates["fma"],
        "GB/s": moved / took / 1e9,
        "GFLOP/s": operations / took / 1e9,
        "numeric, numpy / numba": timings["numpy, numeric"].median / took,
        "derived, numpy / numba": timings["numpy, derived"].median / timings["numba, derived"].median,
    }
    loop = baseline_derived(repeats) * mesh.n_elements
    figures["derived, baseline / numba"] = loop / timings["numba, derived"].median
    figures["of what binds"] = max(figures["floor, bytes"], figures["floor, operations"]) / took
    if "NGSolve, numeric" in timings:
        figures["numeric, NGSolve / numba"] = timings["NGSolve, numeric"].median / took
        both = timings["numba, symbolic"].median + took
        figures["symbolic + numeric, NGSolve / numba"] = timings["NGSolve, both"].median / both
    for name, value in figures.items():
        print(f"{name:36} {1e3 * value if 'floor' in name else value:8.2f}{' ms' if 'floor' in name else ''}")
    return {"timings": timings, "figures": figures}


def baseline_derived(repeats: int) -> float:
    """Seconds per element of the baseline's post-processing."""
    mesh = fem.generate.y_tube(nodes=10_000)
    result = SolveResult(np.sin(mesh.x), "cg", 1, StopReason.CONVERGED, 0.0, 0.0)
    with fem.open_backend("baseline") as session:
        derive = partial(session.stages().perform, COMPUTE_DERIVED, mesh, problem=fem.Problem(), result=result)
        return side_by_side({"derived": derive}, repeats)["derived"].median / mesh.n_elements


def per_element(repeats: int) -> dict[str, float]:
    """Nanoseconds per element of numeric assembly."""
    found = {}
    for n in SIZES:
        mesh = fem.generate.y_tube(nodes=3 * n)
        with fem.open_backend("numba") as session:
            stages, problem = session.stages(), fem.Problem()
            pattern = stages.perform(COMPUTE_SPARSITY, mesh)
            case = {"numeric": partial(stages.perform, ASSEMBLE_SYSTEM, mesh, problem=problem, sparsity=pattern)}
            found[str(mesh.n_elements)] = (
                1e9 * side_by_side(case, repeats, warmup=2)["numeric"].median / mesh.n_elements
            )
        print(f"{mesh.n_elements:9,} elements: {found[str(mesh.n_elements)]:6.1f} ns each")
    return found


def floors(repeats: int) -> dict[str, float]:
    """Bytes (a = b + s c, three arrays) and multiply-adds per second of all threads together."""
    threads = fem.execution.available_cores()
    numba.set_num_threads(threads)
    a, b, c = (np.ones(20_000_000) for _ in range(3))
    x = np.ones((threads, 64))
    rounds = 2_000_000
    timings = side_by_side({"triad": lambda: triad(a, b, c), "fma": lambda: multiply_add(x, rounds)}, repeats)
    return {
        "threads": threads,
        "triad": 3 * a.nbytes / timings["triad"].median,
        "fma": 2 * x.size * rounds / timings["fma"].median,
    }


@numba.njit(parallel=True)
def triad(a, b, c):
    for i in prange(a.size):
        a[i] = b[i] + 3.0 * c[i]


@numba.njit(parallel=True, fastmath={"contract"})
def multiply_add(x, rounds):
    for t in prange(x.shape[0]):
        y = np.ones(64)
        for _ in range(rounds):
            for i in range(64):
                y[i] = y[i] * 0.999999 + 1e-6
        x[t] = y


class NGSolve:
    """∫ ∇u·∇v on the mesh's corners, order 2."""

    def __init__(self, mesh: fem.Mesh, threads: int) -> None:
        import ngsolve
        from netgen.meshing import Element2D, FaceDescriptor, MeshPoint, Pnt
        from netgen.meshing import Mesh as Netgen

        corners, renumbered = np.unique(mesh.quad8[:, :4], return_inverse=True)
        made = Netgen(dim=2)
        points = [made.Add(MeshPoint(Pnt(x, y, 0))) for x, y in zip(mesh.x[corners], mesh.y[corners], strict=True)]
        made.SetMaterial(1, "fluid")
        face = made.Add(FaceDescriptor(surfnr=1, domin=1, bc=1))
        for quad in renumbered.reshape(-1, 4):
            made.Add(Element2D(face, [points[node] for node in quad]))
        self.ngsolve = ngsolve
        ngsolve.SetNumThreads(threads)
        self.space = ngsolve.H1(ngsolve.Mesh(made), order=2)
        self.form = self._form()
        self.again()
        print(f"NGSolve: {self.space.ndof:,} unknowns, {self.form.mat.nze:,} entries, {threads} threads")

    def _form(self):
        u, v = self.space.TnT()
        return self.ngsolve.BilinearForm(self.ngsolve.grad(u) * self.ngsolve.grad(v) * self.ngsolve.dx)

    def again(self) -> None:
        with self.ngsolve.TaskManager():
            self.form.Assemble()

    def both(self) -> None:
        with self.ngsolve.TaskManager():
            self._form().Assemble()
