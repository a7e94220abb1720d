"""The speed of device backends on this machine: `python benchmarks/device_record.py cupy cuda -o FOLDER`.

The conformance kit runs first, then the benchmark of the backends that pass it: each stage by the device's events,
whole runs by the clock, and CuPy's own assembly and conjugate gradients, if CuPy is installed. It writes `record.md`
and `record.json`, with machine, driver, versions and date.
"""

import argparse
import importlib.util
import inspect
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from fem_core import generate
from fem_core.device import cg
from fem_core.device import runtime as state_of
from fem_core.device.backend import DeviceBackend
from fem_core.device.values import DeviceSystem
from fem_core.errors import FemError
from fem_core.io.files import read_mesh
from fem_core.mesh.mesh import Mesh
from fem_core.problem import Problem
from fem_core.results import to_json
from fem_core.run.opening import open_backend
from fem_core.run.session import Session
from fem_core.support.progress import Progress
from fem_core.tools.bench import machine

#: Nodes of the y-tubes; the last two are the sizes of published ones.
NODES = (20_000, 195_000, 1_358_000)

#: The targets are for meshes of at least this number of nodes.
_LARGE = 1_300_000

#: Limits on an H200 at 1.36 M nodes: seconds, and the least speed relative to CuPy's own.
TARGETS: Mapping[str, Mapping[str, float]] = {
    "cupy": {"assembly": 0.20e-3, "cg iteration": 100e-6, "derived": 0.1e-3, "whole run, cg": 1.2},
    "cuda": {"assembly": 0.40e-3, "cg iteration": 130e-6, "first compile": 5.0, "cached compile": 0.5},
}
_PEERS = {"assembly": 10.0, "cg iteration": 4.0}
#: Largest time of `cuda`, in times of `cupy`.
_TWIN = 1.5

_COLUMNS = (
    "symbolic", "assembly", "assemble stage", "conditions", "cg iteration", "derived", "whole run, cg", "whole run, mg",
)  # fmt: skip

_NO_GPU = "No GPU was used: the runtime is simulated, and its figures say nothing about a GPU."


@dataclass
class Row:
    """A backend on a mesh: medians in seconds, the rates from them, and CuPy's own figures."""

    backend: str
    mesh: str
    nodes: int
    seconds: dict[str, float] = field(default_factory=dict)
    gigabytes_per_second: dict[str, float] = field(default_factory=dict)
    gigaflops: dict[str, float] = field(default_factory=dict)
    iterations: dict[str, int] = field(default_factory=dict)
    peers: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def main(arguments: Sequence[str] | None = None) -> int:
    """0 if every backend passed the kit and was measured."""
    parser = argparse.ArgumentParser(prog="python benchmarks/device_record.py", description=__doc__)
    parser.add_argument("backends", nargs="+", metavar="BACKEND", help="device backends: cupy, cuda")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER", help="where the record goes")
    parser.add_argument("--nodes", type=int, nargs="+", default=NODES, help="sizes of generated y-tubes")
    parser.add_argument("--mesh", type=Path, nargs="+", default=(), help="mesh files, in place of these")
    parser.add_argument("--rounds", type=int, default=7, help="repetitions of which the median is taken")
    parser.add_argument("--examples", type=int, default=25, help="meshes tried by each check of the kit")
    parser.add_argument("--checks", nargs="+", help="checks of the kit; by default all")
    given = parser.parse_args(arguments)
    try:  # the kit takes minutes: report wrong arguments before it
        given.output.mkdir(parents=True, exist_ok=True)
        meshes = [read_mesh(path) for path in given.mesh] or [y_tube(n) for n in given.nodes]
    except (FemError, OSError) as error:
        parser.error(str(error))
    found: dict[str, Any] = {"date": datetime.now(UTC).isoformat(timespec="seconds"), "backends": {}, "rows": []}
    found["machine"] = machine()
    kit = {"examples": given.examples, "checks": given.checks}
    passed = {name: _certify(name, found["backends"].setdefault(name, {}), **kit) for name in given.backends}
    for name in given.backends:
        if passed[name]:
            found["backends"][name].update(_opened(name))
    for mesh in meshes:
        for name in given.backends:
            if passed[name]:
                _say(f"{name} on {mesh}")
                try:
                    found["rows"].append(measure(name, mesh, given.rounds))
                except Exception as error:  # note it in the record and go on with the others
                    found["backends"][name]["failed"] = f"{mesh.source}: {type(error).__name__}: {error}"
                    passed[name] = False
                _write(found, given.output)
    _write(found, given.output)
    _say(f"written: {given.output / 'record.md'} and record.json")
    return 0 if all(passed.values()) else 1


def y_tube(nodes: int) -> Mesh:
    """A y-tube of about `nodes` nodes, as the published ones: each element's centre is an orphan node."""
    mesh = generate.y_tube(nodes=3 * nodes // 4)
    x, y = (np.append(values, values[mesh.quad8[:, 4:]].mean(axis=1)) for values in (mesh.x, mesh.y))
    return replace(mesh, x=x, y=y)


def _write(found: dict[str, Any], folder: Path) -> None:
    """Write the record so far: the machine may be taken away at any time."""
    plain = {**found, "rows": [vars(row) for row in found["rows"]]}
    (folder / "record.json").write_text(to_json(plain, indent=2) + "\n")
    (folder / "record.md").write_text(table(found))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _certify(name: str, into: dict[str, Any], **kit: Any) -> bool:
    """Whether a backend passes the kit; the results go to `into`."""
    from fem_core.testing import verify

    try:
        with open_backend(name) as session:
            into["device"] = dict(_backend(session).device.runtime.describe())
        results = verify(name, **kit, on_result=lambda r: _say(f"{name}: {r.name} {r.outcome} {r.detail}"))
    except FemError as error:
        into["failed"] = str(error)
        return False
    into["kit"] = {result.name: result.outcome for result in results}
    if failed := [f"{result.name}: {result.detail}" for result in results if not result.ok]:
        into["failed"] = "; ".join(failed)
    return not failed


def _backend(session: Session) -> DeviceBackend:
    (_, backend), *_ = session.backends
    if not isinstance(backend, DeviceBackend):
        raise FemError(f"{session.name} is no device backend")
    return backend


def _opened(name: str) -> dict[str, Any]:
    """Seconds of opening and compiling in new processes: first with an empty cache, then with a full one."""
    program = "import json, sys, fem_core as fem\nwith fem.open_backend(sys.argv[1]) as s: print(json.dumps(s.seconds))"
    caches = ("XDG_CACHE_HOME", "CUPY_CACHE_DIR", "NUMBA_CACHE_DIR", "CUDA_CACHE_PATH")
    seconds: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for which in ("first", "cached"):
            done = subprocess.run(
                [sys.executable, "-c", program, name],
                env=os.environ | dict.fromkeys(caches, folder), capture_output=True, text=True, check=False,
            )  # fmt: skip
            if done.returncode:
                said = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
                return {"failed": f"{which} opening: {said[-1]}"}
            for stage, duration in json.loads(done.stdout).items():
                seconds[f"{which} {stage.removesuffix('_backend')}"] = duration
    return {"opening": seconds}


def measure(name: str, mesh: Mesh, rounds: int) -> Row:
    """A backend on a mesh: stages, whole runs, CuPy's own."""
    row = Row(name, f"{mesh.source}, {mesh.n_elements:,} elements", mesh.n_nodes)
    problem = Problem.potential_flow(mesh)
    with open_backend(name, tuned=False) as session:
        backend = _backend(session)
        _stages(row, backend, mesh, problem, rounds)
        for method in ("cg", "mg"):
            walls = []
            for _ in range(max(3, rounds // 2)):
                session.forget()
                start = time.perf_counter()
                report = session.solve(mesh, problem, solver=method).report
                walls.append(time.perf_counter() - start)
            row.seconds[f"whole run, {method}"] = statistics.median(walls)
            row.iterations[method] = report.iterations
            if not report.converged:
                row.notes.append(f"{method}: {report.solver['stop_reason']}")
        row.notes.append(f"peak of device memory {backend.device.ledger.peak / 1e9:.2f} GB as predicted")
    if importlib.util.find_spec("cupy") is not None:
        try:
            row.peers = _peers(mesh, problem, rounds)
        except Exception as error:  # CuPy without a device
            row.notes.append(f"CuPy's own wasn't measured: {type(error).__name__}: {error}")
    return row


def _stages(row: Row, backend: DeviceBackend, mesh: Mesh, problem: Problem, rounds: int) -> None:
    device, runtime, progress = backend.device, backend.device.runtime, Progress()
    N, M = mesh.n_nodes, mesh.n_elements

    def median(work: Callable[[], object]) -> float:
        work()
        return statistics.median([runtime.seconds(work) for _ in range(max(5, rounds))])

    def note(name: str, seconds: float, moved: float = 0, operations: float = 0) -> None:
        row.seconds[name] = seconds
        if moved:
            row.gigabytes_per_second[name] = moved / seconds / 1e9
        if operations:
            row.gigaflops[name] = operations / seconds / 1e9

    length = min(64 << 20, max(1 << 16, 64 * N))
    one, other = runtime.zeros(length, np.float64), runtime.zeros(length, np.float64)
    note("device copy", median(lambda: runtime.copy(one, other)), 16 * length)

    note("symbolic", median(lambda: backend.fem_sparsity(mesh, progress)))
    pattern = backend.fem_sparsity(mesh, progress)
    note("assemble stage", median(lambda: backend.fem_assemble(mesh, problem, pattern, progress)))
    bare = backend.fem_assemble(mesh, problem, pattern, progress)
    note("conditions", median(lambda: backend.fem_apply_bc(bare, mesh, problem, progress)))
    system = backend.fem_apply_bc(bare, mesh, problem, progress)
    Z = system.nnz

    at = device.mesh(mesh)
    if pattern.source is not None:  # the two kernels alone: their arrays are allocated and uploaded before
        k, Ke, values = runtime.upload(np.ones(1)), runtime.empty(36 * M, np.float64), runtime.empty(Z, np.float64)

        def work() -> None:
            runtime.launch("element_stiffness", M, at.x, at.y, at.quad8, k, 0, Ke)
            runtime.launch("sum_entries", Z, pattern.source_start, pattern.source, Ke, values)

        note("assembly", median(work), 16 * N + (32 + 288 + 288 + 256) * M + 12 * Z, 2500 * M)
    u = runtime.zeros(N, np.float64)
    velocity, speed, pressure = (runtime.empty(n, np.float64) for n in (2 * M, M, M))
    given = at.x, at.y, at.quad8, u, 0.0, 0.5, velocity, speed, pressure
    note("derived", median(lambda: runtime.launch("element_derived", M, *given)), 24 * N + 64 * M, 450 * M)
    note("cg iteration", _iteration(backend, system, max(5, rounds)), 12 * Z + 84 * N, 2 * Z + 12 * N)


def _iteration(backend: DeviceBackend, system: DeviceSystem, rounds: int) -> float:
    """Seconds of a step of conjugate gradients, over a few batches."""
    device, runtime, N = backend.device, backend.device.runtime, system.n_nodes
    d = cg.inverse_root_diagonal(device, system)
    A, b = runtime.empty(system.nnz, np.float64), runtime.empty(N, np.float64)
    runtime.launch("scale_matrix", N, system.indptr, system.indices, system.values, d, A)
    runtime.launch("product", N, d, system.rhs, b)
    x, r, p, q = (runtime.empty(N, np.float64) for _ in range(4))
    zeros = runtime.zeros(N, np.float64)
    first = np.zeros(state_of.STATE)
    first[[state_of.RR, state_of.BEFORE, state_of.LIMIT]] = device.dot(N, b, b), 1.0, 1e9
    start, state = runtime.upload(first), runtime.upload(first)
    iterate = runtime.conjugate_gradients(N, system.indptr, system.indices, A, x, r, p, q, state)
    steps = []
    for round_ in range(1 + rounds):  # the first one warms up
        for source, target in ((zeros, x), (zeros, p), (b, r), (start, state)):
            runtime.copy(source, target)
        runtime.synchronize()
        seconds = runtime.seconds(lambda: [iterate() for _ in range(4)])
        taken = int(runtime.download(state)[state_of.ITERATION])
        if round_:
            steps.append(seconds / max(1, taken))
    return statistics.median(steps)


def _peers(mesh: Mesh, problem: Problem, rounds: int) -> dict[str, float]:
    """CuPy's own: COO to CSR of all entries (the result is checked), and steps of its conjugate gradients."""
    import cupy
    from cupyx.scipy.sparse import coo_matrix, csr_matrix
    from cupyx.scipy.sparse import linalg as solvers
    from fem_core.assembly.element import element_stiffness
    from fem_core.run.api import apply_bc, assemble_system

    def seconds(work: Callable[[], object]) -> float:
        work()
        measured: list[float] = []
        for _ in range(max(5, rounds)):
            start, stop = cupy.cuda.Event(), cupy.cuda.Event()
            start.record()
            work()
            stop.record()
            stop.synchronize()
            measured.append(cupy.cuda.get_elapsed_time(start, stop) / 1e3)
        return statistics.median(measured)

    bare = assemble_system(mesh, problem, backend="numpy")
    nodes, N = mesh.quad8, mesh.n_nodes
    Ke = element_stiffness(mesh.x[nodes], mesh.y[nodes], problem.conductivity_on(mesh))
    rows, columns = np.repeat(nodes, 8, axis=1).ravel(), np.tile(nodes, 8).ravel()
    triplets = cupy.asarray(Ke.ravel()), (cupy.asarray(rows), cupy.asarray(columns))

    def convert() -> Any:
        return coo_matrix(triplets, shape=(N, N)).tocsr()

    _require_same(convert().get(), bare.matrix)
    found = {"assembly": seconds(convert)}

    system = apply_bc(bare, mesh, problem, backend="numpy")
    d = 1 / np.sqrt(system.matrix.diagonal())
    scaled = system.matrix.multiply(d[:, None]).multiply(d).tocsr()
    A = csr_matrix(tuple(cupy.asarray(part) for part in (scaled.data, scaled.indices, scaled.indptr)), shape=(N, N))
    b = cupy.asarray(d * system.rhs)
    names = inspect.signature(solvers.cg).parameters
    never = {"rtol" if "rtol" in names else "tol": 1e-300}
    steps = 100
    found["cg iteration"] = seconds(lambda: solvers.cg(A, b, maxiter=steps, **never)) / steps
    return found


def _require_same(found: Any, wanted: Any) -> None:
    """Raises FemError if the matrices differ. CuPy's has no diagonals of orphan nodes."""
    difference = abs(found - wanted).max()
    if not difference <= 1e-10 * abs(wanted).max():
        raise FemError(f"CuPy's matrix is another one: they differ by {difference:.1e}")


# the table


def table(found: Mapping[str, Any]) -> str:
    """The record as Markdown."""
    hardware, versions = found["machine"]["hardware"], found["machine"]["versions"]
    lines = ["# Record of device backends", "", f"{found['date']}, {_items(hardware)}; {_items(versions)}", ""]
    rows: list[Row] = found["rows"]
    simulated = {name for name, of in found["backends"].items() if of.get("device", {}).get("simulated")}
    for name, of in found["backends"].items():
        kit = of.get("kit", {})
        passed = sum(outcome == "passed" for outcome in kit.values())
        lines.append(f"- **{name}**: {_items(of.get('device', {})) or 'no device'}. "
                     + (f"Conformance: {passed} of {len(kit)} checks passed" if kit else "The kit wasn't run")
                     + (f", {sum(o == 'skipped' for o in kit.values())} skipped" if "skipped" in kit.values() else "")
                     + (f". **Failed: {of['failed']}**" if "failed" in of else "")
                     + (f". {_NO_GPU}" if name in simulated else ""))  # fmt: skip
        if "opening" in of:
            lines.append(f"  Opening in a new process: {_items({k: _time(v) for k, v in of['opening'].items()})}.")
    if not rows:
        return "\n".join([*lines, "", "Nothing was measured."]) + "\n"
    lines += ["", "Medians; stages by the device's events, whole runs (host mesh to host solution) by the clock.",
              "`assembly` is the kernels alone, with the pattern known; bandwidth and operations are those of the",
              "algorithm, not measured by counters.", ""]  # fmt: skip
    lines += _grid(["backend", "nodes", *_COLUMNS, "iterations cg / mg"], [
        [row.backend, f"{row.nodes:,}", *(_time(row.seconds.get(name)) for name in _COLUMNS),
         " / ".join(str(row.iterations.get(method, "–")) for method in ("cg", "mg"))] for row in rows
    ])  # fmt: skip
    kinds = ("device copy", "assembly", "cg iteration", "derived")
    lines += ["", "GB/s, and in brackets GFLOP/s:", ""]
    lines += _grid(["backend", "nodes", *kinds], [
        [row.backend, f"{row.nodes:,}", *(_rate(row, kind) for kind in kinds)] for row in rows
    ])  # fmt: skip
    peers = [[row.backend, f"{row.nodes:,}", *(_ratio(row, kind) for kind in _PEERS)] for row in rows if row.peers]
    if peers:
        lines += ["", "CuPy's own (`coo.tocsr()`, `cupyx.scipy.sparse.linalg.cg`), and how many times as long:", ""]
        lines += _grid(["backend", "nodes", *_PEERS], peers)
    else:
        lines += ["", "CuPy's own sparse matrices weren't measured beside them: CuPy isn't installed or has no device."]
    lines += ["", "Targets (H200, 1.36 M nodes):", "", *_judged(found, rows, simulated)]
    notes = [f"- {row.backend}, {row.mesh}: {note}" for row in rows for note in row.notes]
    return "\n".join([*lines, "", *notes]) + "\n"


def _judged(found: Mapping[str, Any], rows: Sequence[Row], simulated: set[str]) -> list[str]:
    """Each target, what was measured, and whether it was met."""
    large = {row.backend: row for row in rows if row.nodes >= _LARGE}
    lines = []
    for name in found["backends"]:
        row = large.get(name)
        known: dict[str, float] = {} if row is None else dict(row.seconds)
        for which, duration in found["backends"][name].get("opening", {}).items():
            known[which] = duration
        wanted = [(what, most, known.get(what)) for what, most in TARGETS.get(name, {}).items()]
        judged = [(f"{what} ≤ {_time(most)}", got and got <= most, got and _time(got)) for what, most, got in wanted]
        if name == "cupy":
            for what, least in _PEERS.items():
                times = row.peers[what] / row.seconds[what] if row and what in row.peers else None
                judged.append(
                    (f"{what} ≥ {least:g} times CuPy's own", times and times >= least, times and f"{times:.1f}")
                )
        twin = large.get("cupy")
        if name == "cuda":
            for what in _COLUMNS[:6]:
                times = row.seconds[what] / twin.seconds[what] if row and twin and what in twin.seconds else None
                judged.append((f"{what} ≤ {_TWIN:g} times cupy's", times and times <= _TWIN, times and f"{times:.2f}"))
        for text, met, got in judged:
            if name in simulated or got is None:
                lines.append(f"- {name}: {text}: not measured{' (no GPU)' if name in simulated else ''}")
            else:
                lines.append(f"- {name}: {text}: {got}, {'met' if met else '**missed**'}")
    return lines or ["- none are set for these backends"]


def _grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    for unit, factor in (("s", 1.0), ("ms", 1e3)):
        if seconds * factor >= 1:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"


def _rate(row: Row, kind: str) -> str:
    if kind not in row.gigabytes_per_second:
        return "–"
    operations = f" ({row.gigaflops[kind]:.0f})" if kind in row.gigaflops else ""
    return f"{row.gigabytes_per_second[kind]:.0f}{operations}"


def _ratio(row: Row, kind: str) -> str:
    if kind not in row.peers or kind not in row.seconds:
        return "–"
    return f"{_time(row.peers[kind])}, {row.peers[kind] / row.seconds[kind]:.1f}"


def _items(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


if __name__ == "__main__":
    sys.exit(main())
