"""Timing side by side: the compared cases run in turn in one process, round after round.

Machines are shared and noisy, so times are medians, and only their ratio in one run is significant. A backend is timed
only if its matrix equals the reference's.
"""

import json
import math
import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from fem_core.assembly.system import LinearSystem
from fem_core.errors import BackendError, BackendUnavailable
from fem_core.mesh.mesh import Mesh
from fem_core.plugins.stages import ASSEMBLE_SYSTEM, COMPUTE_SPARSITY
from fem_core.problem import Problem
from fem_core.results import Report
from fem_core.run.opening import open_backend
from fem_core.run.session import Session
from fem_core.support.hardware import hardware, versions
from fem_core.support.launch import python
from fem_core.support.wording import count

K = TypeVar("K")
T = TypeVar("T")

#: Variables that keep BLAS and OpenMP to one thread; they must be set before NumPy is imported.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")

#: Matrices that differ by less are the same: see `matrix_difference`.
EQUAL = 1e-11

#: The stages that `compare_backends` times, and the cost of an iteration.
STAGES = ("compute_sparsity", "assemble_system", "apply_bc", "compute_derived")


@dataclass(frozen=True)
class Timing:
    """Seconds of one thing in all rounds."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return float(np.median(self.seconds))

    @property
    def best(self) -> float:
        return min(self.seconds)


def in_turn(
    cases: Mapping[K, Callable[[], T]],
    repeats: int,
    warmup: int = 1,
    on_round: Callable[[int], object] | None = None,
) -> dict[K, list[T]]:
    """Call each case once per round. Returns its answers of `repeats` rounds; `warmup` rounds before don't count."""
    answers: dict[K, list[T]] = {name: [] for name in cases}
    for round_ in range(1 - warmup, repeats + 1):
        if on_round:
            on_round(round_)
        for name, run in cases.items():
            answer = run()
            if round_ > 0:
                answers[name].append(answer)
    return answers


def side_by_side(cases: Mapping[str, Callable[[], object]], repeats: int = 7, warmup: int = 1) -> dict[str, Timing]:
    """Time each case once per round, `repeats` rounds after `warmup` unmeasured ones.

    >>> timings = side_by_side({"short": lambda: None, "long": lambda: sum(range(10_000))}, repeats=5)
    >>> timings["short"].median < timings["long"].median
    True
    """

    def seconds(run: Callable[[], object]) -> float:
        start = time.perf_counter()
        run()
        return time.perf_counter() - start

    timed = in_turn({name: partial(seconds, run) for name, run in cases.items()}, repeats, warmup)
    return {name: Timing(tuple(values)) for name, values in timed.items()}


def peak_memory(program: str, *arguments: str, env: Mapping[str, str] | None = None) -> float:
    """Largest resident memory in MB of a new interpreter that runs `program`, imports included."""
    last = (
        "\nimport resource, sys, pathlib\n"
        "status = pathlib.Path('/proc/self/status')\n"
        "text = status.read_text() if status.exists() else ''\n"
        "lines = [l.split() for l in text.splitlines() if l.startswith('VmHWM')]\n"
        "unit = 1 if sys.platform == 'darwin' else 1024\n"
        "print('peak', int(lines[0][1]) * 1024 if lines else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)"
    )
    command = python("-c", program + last, *arguments)
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, **(env or {})})
    return int(done.stdout.split()[-1]) / 1e6


def machine() -> dict[str, Any]:
    """The hardware, versions and numbers of threads of a measurement."""
    threads = {name: os.environ[name] for name in ONE_THREAD if name in os.environ}
    return {"hardware": hardware(), "versions": versions(), "threads": threads}


def write_json(path: Path, results: Mapping[str, Any]) -> None:
    """The results with the machine they were measured on."""
    path.write_text(json.dumps({"machine": machine(), **results}, indent=2, default=_plain) + "\n")


def _plain(value: object) -> object:
    return {"median": value.median, **asdict(value)} if isinstance(value, Timing) else str(value)


@dataclass(frozen=True)
class Comparison:
    """Backends on one mesh: seconds and provider by backend and stage, `cg iteration` among them."""

    mesh: str
    timings: Mapping[str, Mapping[str, Timing]]
    providers: Mapping[str, Mapping[str, str]]
    equality: Mapping[str, float]
    left_out: Mapping[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As plain data: medians by backend and stage, and how far each matrix is from the reference's."""
        return {
            "mesh": self.mesh,
            "seconds": {name: {stage: t.median for stage, t in row.items()} for name, row in self.timings.items()},
            "providers": {name: dict(row) for name, row in self.providers.items()},
            "matrix_difference": dict(self.equality),
            "left_out": dict(self.left_out),
        }


def compare_backends(
    backends: Sequence[str],
    mesh: Mesh,
    problem: Problem | None = None,
    *,
    repeats: int = 5,
    iterations: int = 100,
    strict: bool = True,
    on_round: Callable[[int, str], object] | None = None,
) -> Comparison:
    """Time the stages of several backends side by side, after comparing their matrices.

    The solver is stopped after `iterations` steps: execution models differ in the cost of a step, not in the number of
    steps.

    Raises BackendError if a matrix differs from that of the first backend. A backend that can't be opened is left out;
    with `strict`, this is an error, too.
    """
    problem = problem or Problem.potential_flow(mesh)
    with ExitStack() as stack:
        sessions: dict[str, Session] = {}
        left_out: dict[str, str] = {}
        for name in backends:
            try:
                sessions[name] = stack.enter_context(open_backend(name, tuned=False))
            except BackendUnavailable as error:
                if strict:
                    raise
                left_out[name] = str(error)
        if not sessions:
            raise BackendUnavailable("no backend can be opened; `fem backends` gives the reasons")
        equality = _equal_matrices(sessions, mesh, problem)
        reports: dict[str, list[Report]] = {name: [] for name in sessions}
        for round_ in range(1 + repeats):
            for name, session in sessions.items():
                if on_round:
                    on_round(round_, name)
                session.forget()
                reports[name].append(session.solve(mesh, problem, solver="cg", maxiter=iterations).report)
    timings, providers = {}, {}
    for name, (warmup, *timed) in reports.items():
        timings[name] = {stage: Timing(tuple(one.seconds[stage] for one in timed)) for stage in STAGES}
        steps = (one.seconds["solve_system"] / max(1, one.iterations) for one in timed)
        timings[name]["cg iteration"] = Timing(tuple(steps))
        providers[name] = {stage: warmup.providers[stage] for stage in STAGES}
        providers[name]["cg iteration"] = warmup.providers["solve_system"]
    size = f"{count(mesh.n_nodes, 'node')}, {count(mesh.n_elements, 'element')}"
    return Comparison(f"{mesh.source}, {size}", timings, providers, equality, left_out)


def _equal_matrices(sessions: Mapping[str, Session], mesh: Mesh, problem: Problem) -> dict[str, float]:
    """Largest |K_ij - K'_ij| / √(K_ii K_jj) of each backend's matrix to the first one's."""
    wanted: LinearSystem | None = None
    difference: dict[str, float] = {}
    for name, session in sessions.items():
        found = assembled(session, mesh, problem)
        wanted = wanted or found
        difference[name] = matrix_difference(found, wanted)
        if difference[name] == math.inf:
            raise BackendError(f"backend {name!r} has a different pattern from {next(iter(sessions))!r}")
        if not difference[name] < EQUAL:
            raise BackendError(
                f"backend {name!r} builds a different matrix from {next(iter(sessions))!r} "
                f"(difference {difference[name]:.1e}); its times can't be compared; run fem verify --backend {name}"
            )
    return difference


def assembled(session: Session, mesh: Mesh, problem: Problem) -> LinearSystem:
    """The session's system before boundary conditions, on the host."""
    stages = session.stages()
    pattern = stages.perform(COMPUTE_SPARSITY, mesh)
    system = stages.perform(ASSEMBLE_SYSTEM, mesh, problem=problem, sparsity=pattern)
    return stages.to_host(system, ASSEMBLE_SYSTEM, mesh)


def matrix_difference(found: LinearSystem, wanted: LinearSystem) -> float:
    """Largest |K_ij - K'_ij| / √(K_ii K_jj); infinite where the patterns differ."""
    if not np.array_equal(found.matrix.indices, wanted.matrix.indices):
        return math.inf
    diagonal = wanted.matrix.diagonal()
    scale = 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1))
    rows = np.repeat(scale, np.diff(wanted.matrix.indptr))
    delta = np.abs(found.matrix.data - wanted.matrix.data) * rows * scale[wanted.matrix.indices]
    return float(delta.max())
