"""Solvers compared: preparing and solving on the published y-tube, on 1.36 million nodes, and on hard ducts.

pyamg and PARDISO are called as their users would call them: smoothed aggregation on the full matrix with its own CG,
and two threads in MKL. FEM_SLOW=1 adds the solvers that take a minute or more on the large mesh (SuperLU, `cg`).
"""

import importlib.util
import os
import statistics
import time

import fem_core as fem
import numpy as np
from fem_core.solvers import ConjugateGradients, Direct, Multigrid
from fem_core.solvers.factorisation import CHOLMOD, PARDISO, SUPERLU
from fem_core.solvers.multigrid.coarse import amg_available
from meshes import y_tube_195k

OPTIONS = fem.plugins.SolverOptions()


def run(repeats: int) -> dict[str, object]:
    slow = bool(os.environ.get("FEM_SLOW"))
    if PARDISO.available:
        from pypardiso import PyPardisoSolver

        PyPardisoSolver().libmkl.MKL_Set_Num_Threads(2)
    meshes = {"y_tube_195k": y_tube_195k(), "y-tube of 1.36 million nodes": fem.generate.y_tube(nodes=1_360_000)}
    problems = {name: (mesh, fem.Problem.potential_flow(mesh)) for name, mesh in meshes.items()} | dict(hard_ducts())
    results: dict[str, object] = {}
    for name, (mesh, problem) in problems.items():
        large = mesh.n_nodes > 500_000
        system = fem.apply_bc(fem.assemble_system(mesh, problem), mesh, problem)
        solvers = {"mg": Multigrid(), "numba mg": numba_mg()}
        if name in meshes:
            solvers["pyamg SA"] = PyamgSA() if amg_available() else None
            if slow or not large:
                solvers |= {"direct": Direct(SUPERLU), "cg": ConjugateGradients()}
        solvers |= {f.name: Direct(f) for f in (CHOLMOD, PARDISO) if f.available}  # PARDISO's threads stay awake
        print(f"{name}: {mesh.n_nodes:,} nodes, {system.matrix.nnz:,} entries")
        results[name] = rows = {}
        for label, solver in solvers.items():
            if solver is not None:
                rows[label] = row = timed(solver, system, mesh, 1 if large or label == "cg" else min(repeats, 5))
                print(
                    f"  {label:12} setup {row['setup']:7.3f} s, solve {row['solve']:7.3f} s, "
                    f"together {row['setup'] + row['solve']:7.3f} s, {row['iterations']} iterations"
                )
        seconds = {label: row["setup"] + row["solve"] for label, row in rows.items()}
        for ours in ("mg", "numba mg"):
            if ours in seconds:
                others = ", ".join(
                    f"{s / seconds[ours]:.1f} ({label})" for label, s in seconds.items() if label != ours
                )
                print(f"  {ours} is faster by {others}")
    return results


def hard_ducts():
    """Elements 6 and 20 times as long as high, and conductivities from 1e-3 to 1e3 drawn for each element."""
    for nodes in (150_000, 700_000):
        for ratio in (6, 20):
            ny = round((nodes * ratio / 9) ** 0.5)
            mesh = fem.generate.duct(nx=round(3 * ny / ratio), ny=ny)
            yield f"duct, elements {ratio}:1, {mesh.n_nodes:,} nodes", (mesh, fem.Problem.potential_flow(mesh))
            if ratio == 6:
                random = 10 ** np.random.default_rng(0).uniform(-3, 3, mesh.n_elements)
                problem = fem.Problem.potential_flow(mesh, conductivity=random)
                yield f"duct, elements 6:1, random contrast, {mesh.n_nodes:,} nodes", (mesh, problem)


def numba_mg() -> Multigrid | None:
    """On all threads that Numba starts."""
    if importlib.util.find_spec("fem_numba") is None:
        return None
    from fem_numba import jit
    from fem_numba.mg import multigrid

    jit.compile_all()
    return multigrid(jit.most_threads())


def timed(solver, system, mesh, repeats: int) -> dict[str, float]:
    """Medians. A small system loads the libraries first. Multigrid's work in its first solve counts as setup."""
    small = fem.generate.duct(nodes=100_000 if amg_available() else 1_000)
    once(solver, fem.apply_bc(fem.assemble_system(small), small), small)
    rows = [once(solver, system, mesh) for _ in range(repeats)]
    return {key: statistics.median(row[key] for row in rows) for key in rows[0]}


def once(solver, system, mesh) -> dict[str, float]:
    start = time.perf_counter()
    prepared = solver.prepare(system, mesh, None, OPTIONS)
    if isinstance(solver, Multigrid):
        prepared.set_up(fem.plugins.Progress())
    middle = time.perf_counter()
    result = prepared.solve(system.rhs, OPTIONS, fem.plugins.Progress())
    end = time.perf_counter()
    d = 1 / np.sqrt(system.matrix.diagonal())
    residual = np.linalg.norm(d * (system.rhs - system.matrix @ result.u)) / np.linalg.norm(d * system.rhs)
    assert residual <= 2 * OPTIONS.rtol, f"residual {residual:.1e}"
    return {"setup": middle - start, "solve": end - middle, "iterations": result.iterations}


class PyamgSA:
    """pyamg's smoothed aggregation on the whole equilibrated matrix, with its CG."""

    def prepare(self, system, mesh, problem, options):
        import pyamg
        from fem_core.solvers import Equilibrated
        from scipy import sparse

        self.e = Equilibrated.of(system)
        self.ml = pyamg.smoothed_aggregation_solver(sparse.csr_matrix(self.e.A), max_coarse=500)
        return self

    def solve(self, rhs, options, progress):
        residuals: list[float] = []
        x = self.ml.solve(self.e.d * rhs, tol=options.rtol, accel="cg", maxiter=500, residuals=residuals)
        reason = fem.StopReason.CONVERGED
        return self.e.result(self.e.d * x, rhs, "pyamg", len(residuals) - 1, reason, options, [])
