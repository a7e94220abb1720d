"""Wrong backends that leave something behind, change what isn't theirs, or don't listen."""

import os
import subprocess
import sys
import tempfile
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from fem_core.assembly.sparsity import Sparsity
from fem_core.assembly.system import LinearSystem
from fem_core.backends.default import DefaultBackend
from fem_core.errors import Cancelled
from fem_core.mesh.mesh import Mesh
from fem_core.plugins.hookspecs import hookimpl
from fem_core.problem import Problem
from fem_core.results import DerivedFields, SolveResult, SolverOptions
from fem_core.support.progress import Progress
from fem_core.types import Floats

from fakes.planted import Changed, Whole, fault


class KeepsMeshes(Changed):
    """Keeps every mesh."""

    def __init__(self) -> None:
        super().__init__()
        self._meshes: list[Mesh] = []

    def values(self, K: Floats, mesh: Mesh, problem: Problem) -> Floats:
        self._meshes.append(mesh)
        return K


class KeepsArrays(Changed):
    """Keeps a copy of every load, also after `close`."""

    def __init__(self) -> None:
        super().__init__()
        self._loads: list[Floats] = []

    def load(self, f: Floats, mesh: Mesh, problem: Problem) -> Floats:
        self._loads.append(np.concatenate([f, f]))
        return f


class ForgetsNothing(Changed):
    """Keeps the last mesh when it is told to forget."""

    def __init__(self) -> None:
        super().__init__()
        self._last: Mesh | None = None

    def values(self, K: Floats, mesh: Mesh, problem: Problem) -> Floats:
        self._last = mesh
        return K


class OpenFiles(Changed):
    """Leaves a file open in each run."""

    def __init__(self) -> None:
        super().__init__()
        self._files: list[Any] = []

    def load(self, f: Floats, mesh: Mesh, problem: Problem) -> Floats:
        self._files.append(Path(os.devnull).open("rb"))  # noqa: SIM115
        return f

    def close(self) -> None:
        for file in self._files:
            file.close()
        super().close()


class ThreadForEachRun(Changed):
    """Starts a thread in each run, and ends all of them in `close`."""

    def __init__(self) -> None:
        super().__init__()
        self._end = threading.Event()

    def open(self) -> None:
        self._end.clear()

    def values(self, K: Floats, mesh: Mesh, problem: Problem) -> Floats:
        threading.Thread(target=self._end.wait, args=(30,), daemon=True).start()
        return K

    def close(self) -> None:
        self._end.set()
        super().close()


class LeftFolder(Whole):
    """Leaves a folder for temporary files behind."""

    def open(self) -> None:
        tempfile.mkdtemp(prefix="planted-")


class OpensOnce(Whole):
    """Can't be opened again."""

    _closed = False

    def open(self) -> None:
        if self._closed:
            raise RuntimeError("closed for good")

    def close(self) -> None:
        self._closed = True
        super().close()


class ClosesAll(Changed):
    """Is closed together with any other session."""

    _open = 0

    def open(self) -> None:
        ClosesAll._open = 1

    def values(self, K: Floats, mesh: Mesh, problem: Problem) -> Floats:
        if not ClosesAll._open:
            raise RuntimeError("the pool is closed")
        return K

    def close(self) -> None:
        ClosesAll._open = 0
        super().close()


class SeedsNumPy(Changed):
    """Seeds NumPy's generator."""

    def load(self, f: Floats, mesh: Mesh, problem: Problem) -> Floats:
        np.random.seed(0)
        return f


class SwitchesWarningsOff(Changed):
    """Switches NumPy's warnings off for good."""

    def load(self, f: Floats, mesh: Mesh, problem: Problem) -> Floats:
        self._before = np.seterr(all="ignore")
        return f


class Prints(Changed):
    """Prints what it does."""

    def load(self, f: Floats, mesh: Mesh, problem: Problem) -> Floats:
        print("assembled", len(f), "loads")
        return f


class _Progressing(Changed):
    """A fault in the reports of progress."""

    def told(self, progress: Progress, current: int, total: int) -> None:
        raise NotImplementedError

    def report(self, progress: Progress) -> Progress:
        told = self.told

        class Own(Progress):
            def assembly(self, current: int, total: int) -> None:
                told(progress, current, total)

        return Own(progress._emit, progress._cancel, progress._remark)


class ProgressGoesBack(_Progressing):
    """Reports progress that goes back on its way, too soon after the last one for observers to hear."""

    def told(self, progress: Progress, current: int, total: int) -> None:
        for one in (current // 2, current // 4, current):
            progress.assembly(one, total)


class ProgressFromThreads(_Progressing):
    """Reports the way from a thread of its own."""

    def told(self, progress: Progress, current: int, total: int) -> None:
        thread = threading.Thread(target=progress.assembly, args=(current // 2, total))
        thread.start()
        thread.join()
        progress.assembly(current, total)


class DeafAssembly(Changed):
    """Can't be cancelled while it assembles."""

    @hookimpl
    def fem_assemble(self, mesh: Mesh, problem: Problem, sparsity: Sparsity, progress: Progress) -> LinearSystem:
        right = DefaultBackend.fem_assemble(self, mesh, problem, sparsity, Progress())
        progress._emit("fem_assembly_progress", True, current=mesh.n_elements, total=mesh.n_elements)
        return right


class SwallowsCancelled(Whole):
    """Goes on when it is cancelled while it computes the fields."""

    @hookimpl
    def fem_compute_derived(
        self, mesh: Mesh, problem: Problem, result: SolveResult, progress: Progress
    ) -> DerivedFields:
        try:
            return DefaultBackend.fem_compute_derived(self, mesh, problem, result, progress)
        except Cancelled:
            return DefaultBackend.fem_compute_derived(self, mesh, problem, result, Progress())


class HalfDone(Changed):
    """Goes on with what a cancelled solve left behind."""

    def __init__(self) -> None:
        super().__init__()
        self._left: set[int] = set()

    @hookimpl
    def fem_solve(
        self, system: LinearSystem, mesh: Mesh, problem: Problem, options: SolverOptions, progress: Progress
    ) -> SolveResult:
        try:
            right = DefaultBackend.fem_solve(self, system, mesh, problem, options, progress)
        except Cancelled:
            self._left.add(mesh.n_nodes)
            raise
        return replace(right, u=right.u * (1 + 1e-6)) if mesh.n_nodes in self._left else right


class DeadWorker(Changed):
    """Has a process at work, and is of no use once it has died."""

    _process: subprocess.Popen[bytes] | None = None

    def open(self) -> None:
        self._process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])

    def values(self, K: Floats, mesh: Mesh, problem: Problem) -> Floats:
        if self._process is None or self._process.poll() is not None:
            raise RuntimeError("the worker is dead")
        return K

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        super().close()


FAULTS = (
    fault(KeepsMeshes, "growth"),
    fault(KeepsArrays, "growth"),
    fault(ForgetsNothing, "growth"),
    fault(OpenFiles, "growth"),
    fault(ThreadForEachRun, "growth"),
    fault(LeftFolder, "cleanup"),
    fault(OpensOnce, "reopening"),
    fault(ClosesAll, "reopening"),
    fault(SeedsNumPy, "side_effects"),
    fault(SwitchesWarningsOff, "side_effects"),
    fault(Prints, "side_effects"),
    fault(ProgressGoesBack, "progress"),
    fault(ProgressFromThreads, "progress"),
    fault(DeafAssembly, "cancellation"),
    fault(SwallowsCancelled, "cancellation"),
    fault(HalfDone, "cancellation"),
    fault(DeadWorker, "lost_workers"),
)
