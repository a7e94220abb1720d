"""The hooks of `fem_core`, pluggy project name `fem`.

Each stage has one *compute* hook. Exactly one backend, or the core, provides it; observers and always-on plugins may
wrap it. Every observer receives all *events*. With *extension* hooks, always-on
plugins (entry points `fem.plugins`) add file formats, solvers and commands.

An implementation is a method or function with the name of the hook, marked with `@hookimpl`. It takes any
subset of the hook's arguments, with the same names and without defaults.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    import click

    from fem_core.assembly.sparsity import Sparsity
    from fem_core.assembly.system import LinearSystem
    from fem_core.mesh.mesh import Mesh
    from fem_core.plugins.formats import MeshFormat, ResultWriter
    from fem_core.plugins.solver import LinearSolver
    from fem_core.problem import Problem
    from fem_core.results import DerivedFields, Report, SolveResult, SolverOptions
    from fem_core.support.progress import Progress
    from fem_core.types import Stage

PROJECT = "fem"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class ComputeHooks:
    """Compute hooks: each stage has exactly one provider."""

    @hookspec(firstresult=True)
    def fem_sparsity(self, mesh: Mesh, progress: Progress) -> Sparsity | None:
        """The sparsity pattern of the matrix, and the position (slot) of each element's entries in it.

        It is computed once per topology; the session keeps it.

        >>> import fem_core as fem
        >>> class Counting(fem.plugins.Backend):
        ...     patterns = 0
        ...     @fem.plugins.hookimpl
        ...     def fem_sparsity(self, mesh, progress):
        ...         self.patterns += 1
        ...         return fem.compute_sparsity(mesh)
        >>> info = fem.plugins.BackendInfo("counting", "counts", "", stages=("compute_sparsity",))
        >>> mesh = fem.generate.duct(nx=2, ny=1)
        >>> backend = Counting()
        >>> with fem.Session([(info, backend)]) as session:
        ...     for gamma in (1.0, 2.5):
        ...         solution = session.solve(mesh, fem.Problem.potential_flow(mesh, gamma=gamma))
        >>> backend.patterns
        1
        """

    @hookspec(firstresult=True)
    def fem_assemble(self, mesh: Mesh, problem: Problem, sparsity: Sparsity, progress: Progress) -> LinearSystem | None:
        """K and f on the pattern of `sparsity`, before any boundary condition.

        The contributions are summed in element order, so that the result is bitwise repeatable.

        >>> import fem_core as fem
        >>> class Threefold(fem.plugins.Backend):  # a wrong backend: the kit's check `matrix` catches it
        ...     @fem.plugins.hookimpl
        ...     def fem_assemble(self, mesh, problem, sparsity, progress):
        ...         system = fem.assemble_system(mesh, problem, sparsity)
        ...         system.matrix.data *= 3
        ...         progress.assembly(mesh.n_elements, mesh.n_elements)
        ...         return system
        >>> info = fem.plugins.BackendInfo("threefold", "wrong", "", stages=("assemble_system",))
        >>> mesh = fem.generate.duct(length=3, nx=2, ny=1)
        >>> with fem.Session([(info, Threefold())]) as session:
        ...     solution = session.solve(mesh)
        >>> float(round(solution.u.max(), 6))  # γ L / k = 2.5 · 3 / 3
        2.5
        """

    @hookspec(firstresult=True)
    def fem_apply_bc(
        self, system: LinearSystem, mesh: Mesh, problem: Problem, progress: Progress
    ) -> LinearSystem | None:
        """Add the Robin terms, lift the Dirichlet values, and fix the Dirichlet nodes and the orphan nodes.

        >>> import fem_core as fem
        >>> class Watching(fem.plugins.Backend):
        ...     @fem.plugins.hookimpl
        ...     def fem_apply_bc(self, system, mesh, problem):
        ...         held = fem.assembly.apply_conditions(system, mesh, problem)
        ...         print(len(held.fixed), "fixed nodes, load", round(held.rhs.sum(), 6))
        ...         return held
        >>> info = fem.plugins.BackendInfo("watching", "prints", "", stages=("apply_bc",))
        >>> with fem.Session([(info, Watching())]) as session:
        ...     solution = session.solve(fem.generate.duct(height=1.2, nx=2, ny=1))
        3 fixed nodes, load 3.0
        """

    @hookspec(firstresult=True)
    def fem_solve(
        self, system: LinearSystem, mesh: Mesh, problem: Problem, options: SolverOptions, progress: Progress
    ) -> SolveResult | None:
        """Solve K w = rhs with one of the backend's `solver_methods`, and return u = ĝ + w.

        >>> import fem_core as fem, numpy as np
        >>> class Dense(fem.plugins.Backend):
        ...     @fem.plugins.hookimpl
        ...     def fem_solve(self, system, options):
        ...         w = np.linalg.solve(system.matrix.toarray(), system.rhs)
        ...         return fem.SolveResult(w + system.lift, options.method, 0, fem.StopReason.CONVERGED, 0.0, 0.0)
        >>> info = fem.plugins.BackendInfo("dense", "small", "", stages=("solve_system",), solver_methods=("dense",))
        >>> with fem.Session([(info, Dense())]) as session:
        ...     solution = session.solve(fem.generate.duct(nx=2, ny=1), solver="dense")
        >>> float(round(solution.u.max(), 6)), solution.report.providers["solve_system"]
        (7.5, 'dense')
        """

    @hookspec(firstresult=True)
    def fem_compute_derived(
        self, mesh: Mesh, problem: Problem, result: SolveResult, progress: Progress
    ) -> DerivedFields | None:
        """Velocity, speed and pressure of each element.

        >>> import fem_core as fem
        >>> class Watching:  # an observer, not a backend: it can wrap the hook of any provider
        ...     @fem.plugins.hookimpl(wrapper=True)
        ...     def fem_compute_derived(self, mesh):
        ...         print("before:", mesh.n_elements, "elements")
        ...         derived = yield  # the run always continues with this value
        ...         print("after: speed", round(derived.speed.max(), 6))
        ...         return derived
        >>> solution = fem.solve(fem.generate.duct(nx=2, ny=1), observers=[Watching()])
        before: 2 elements
        after: speed 2.5
        """


class EventHooks:
    """Every observer receives every event, in the calling thread. An observer that fails is switched off.

    Each run ends with exactly one event `fem_solve_complete` or `fem_error`. Progress events are
    throttled, but the last one of an assembly or of post-processing is always delivered.
    """

    @hookspec
    def fem_stage_start(self, stage: Stage, provider: str) -> None:
        """A stage begins (in the event lines: `fem:stageStart {stage}`).

        >>> import fem_core as fem
        >>> class Stages:
        ...     @fem.plugins.hookimpl
        ...     def fem_stage_start(self, stage, provider):
        ...         print(stage, provider)
        >>> with fem.open_backend("numpy") as session:
        ...     solution = session.solve(fem.generate.duct(nx=2, ny=1), observers=[Stages()])
        load_mesh core
        compute_sparsity core
        assemble_system numpy
        apply_bc core
        solve_system core
        compute_derived numpy
        """

    @hookspec
    def fem_stage_complete(self, stage: Stage, provider: str, duration: float) -> None:
        """A stage has ended after `duration` seconds (`fem:stageComplete {stage, duration}`).

        >>> import fem_core as fem
        >>> class Clock:
        ...     seconds = 0.0
        ...     @fem.plugins.hookimpl
        ...     def fem_stage_complete(self, stage, duration):
        ...         self.seconds += duration
        >>> clock = Clock()
        >>> solution = fem.solve(fem.generate.duct(nx=2, ny=1), observers=[clock])
        >>> 0 < clock.seconds <= sum(solution.report.seconds.values())
        True
        """

    @hookspec
    def fem_mesh_loaded(self, mesh: Mesh) -> None:
        """The mesh is read and valid (`fem:meshLoaded {nodes, elements}`).

        >>> import fem_core as fem
        >>> class Size:
        ...     @fem.plugins.hookimpl
        ...     def fem_mesh_loaded(self, mesh):
        ...         print(mesh.n_nodes, mesh.n_elements)
        >>> solution = fem.solve(fem.generate.duct(nx=2, ny=1), observers=[Size()])
        13 2
        """

    @hookspec
    def fem_assembly_progress(self, current: int, total: int) -> None:
        """`current` of `total` elements are assembled (`fem:assemblyProgress {current, total}`).

        >>> import fem_core as fem
        >>> class Assembled:
        ...     @fem.plugins.hookimpl
        ...     def fem_assembly_progress(self, current, total):
        ...         print(f"{current}/{total}")
        >>> solution = fem.solve(fem.generate.duct(nx=2, ny=1), observers=[Assembled()])
        2/2
        """

    @hookspec
    def fem_solve_progress(self, iteration: int, residual: float, etr: float | None) -> None:
        """True relative residual and estimated seconds remaining (`fem:solveProgress {iteration, residual, etr}`).

        >>> import fem_core as fem
        >>> class Iterations:
        ...     @fem.plugins.hookimpl
        ...     def fem_solve_progress(self, iteration, residual):
        ...         print(iteration, residual < 1)
        >>> solution = fem.solve(fem.generate.duct(nx=20, ny=5), solver="cg", monitor=25, observers=[Iterations()])
        25 True
        """

    @hookspec
    def fem_derived_progress(self, current: int, total: int) -> None:
        """`current` of `total` elements are post-processed (`fem:derivedProgress {current, total}`).

        >>> import fem_core as fem
        >>> class Derived:
        ...     @fem.plugins.hookimpl
        ...     def fem_derived_progress(self, current, total):
        ...         print(f"{current}/{total}")
        >>> solution = fem.solve(fem.generate.duct(nx=2, ny=1), observers=[Derived()])
        2/2
        """

    @hookspec
    def fem_solve_complete(self, report: Report) -> None:
        """The run has ended, converged or not (`fem:solveComplete {converged, iterations, timing}`).

        >>> import fem_core as fem
        >>> class Done:
        ...     @fem.plugins.hookimpl
        ...     def fem_solve_complete(self, report):
        ...         print(report.converged)
        >>> solution = fem.solve(fem.generate.duct(nx=2, ny=1), observers=[Done()])
        True
        """

    @hookspec
    def fem_error(self, stage: Stage, error: BaseException) -> None:
        """The run has failed or was interrupted in `stage` (`fem:error {stage, error}`).

        >>> import fem_core as fem
        >>> class Alarm:
        ...     @fem.plugins.hookimpl
        ...     def fem_error(self, stage, error):
        ...         print(stage, type(error).__name__)
        >>> try:
        ...     fem.solve("no-such-file.h5", observers=[Alarm()])
        ... except fem.MeshError as error:
        ...     print("refused")
        load_mesh MeshError
        refused
        """


class ExtensionHooks:
    """For always-on plugins (entry points `fem.plugins`); the lists that they return are joined."""

    @hookspec
    def fem_mesh_readers(self) -> list[MeshFormat]:
        """Readers of mesh files, chosen by the file's ending.

        >>> import pathlib, tempfile
        >>> import fem_core as fem
        >>> def read(path):  # a file that holds two numbers
        ...     nx, ny = path.read_text().split()
        ...     return fem.generate.duct(nx=int(nx), ny=int(ny))
        >>> class Ducts:
        ...     @fem.plugins.hookimpl
        ...     def fem_mesh_readers(self):
        ...         return [fem.plugins.MeshFormat((".duct",), "a duct's numbers of elements", read)]
        >>> plugin = Ducts()
        >>> fem.plugins.register_plugin(plugin)  # what the entry point does in an installed distribution
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = pathlib.Path(folder, "small.duct")
        ...     _ = file.write_text("3 2")
        ...     fem.read_mesh(file).n_elements
        6
        >>> fem.plugins.unregister_plugin(plugin)
        """

    @hookspec
    def fem_result_writers(self) -> list[ResultWriter]:
        """Writers (and readers) of results, chosen by the file's ending.

        >>> import pathlib, tempfile
        >>> import fem_core as fem, numpy as np
        >>> def write(solution, path):
        ...     np.savetxt(path, solution.u, fmt="%.1f")
        >>> class Texts:
        ...     @fem.plugins.hookimpl
        ...     def fem_result_writers(self):
        ...         return [fem.plugins.ResultWriter((".txt",), "the potential, a line per node", write)]
        >>> plugin = Texts()
        >>> fem.plugins.register_plugin(plugin)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = pathlib.Path(folder, "u.txt")
        ...     solution = fem.solve(fem.generate.duct(length=4, nx=2, ny=1), outputs=[file])
        ...     sorted(set(file.read_text().split()))
        ['0.0', '10.0', '2.5', '5.0', '7.5']
        >>> fem.plugins.unregister_plugin(plugin)
        """

    @hookspec
    def fem_linear_solvers(self) -> list[LinearSolver]:
        """Solvers for `--solver`, for every backend without a solver of this name.

        >>> import fem_core as fem, numpy as np
        >>> class Dense:
        ...     name, summary = "dense", "for meshes of a few nodes"
        ...     def prepare(self, system, mesh, problem, options):  # done once per matrix
        ...         self.inverse = np.linalg.inv(system.matrix.toarray())
        ...         return self
        ...     def solve(self, rhs, options, progress):
        ...         return fem.SolveResult(self.inverse @ rhs, self.name, 0, fem.StopReason.CONVERGED, 0.0, 0.0)
        >>> class Solvers:
        ...     @fem.plugins.hookimpl
        ...     def fem_linear_solvers(self):
        ...         return [Dense()]
        >>> plugin = Solvers()
        >>> fem.plugins.register_plugin(plugin)
        >>> solution = fem.solve(fem.generate.duct(nx=2, ny=1), solver="dense")
        >>> solution.report.solver["method"], float(round(solution.u.max(), 6))
        ('dense', 7.5)
        >>> fem.plugins.unregister_plugin(plugin)
        """

    @hookspec
    def fem_cli_commands(self) -> list[click.Command]:
        """Further commands of `fem`.

        >>> import click, fem_core as fem
        >>> @click.command()
        ... def greet():
        ...     click.echo("hello")
        >>> class Commands:
        ...     @fem.plugins.hookimpl
        ...     def fem_cli_commands(self):
        ...         return [greet]
        >>> plugin = Commands()
        >>> fem.plugins.register_plugin(plugin)
        >>> found = fem.plugins.REGISTRY.extensions("fem_cli_commands")  # as `fem --help` lists them
        >>> [command.name for command in found]
        ['greet']
        >>> fem.plugins.unregister_plugin(plugin)
        """


SPECS = (ComputeHooks, EventHooks, ExtensionHooks)


def names(spec: type) -> tuple[str, ...]:
    """The hooks that one of the specification classes declares."""
    return tuple(name for name in vars(spec) if name.startswith("fem_"))


def new_manager() -> pluggy.PluginManager:
    """A plugin manager that knows the hooks and nothing else."""
    manager = pluggy.PluginManager(PROJECT)
    for spec in SPECS:
        manager.add_hookspecs(spec)
    return manager
