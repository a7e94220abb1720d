"""Runs `fem` again and again, and the n-th call of a kind fails: `python tests/failing.py [--case NAME] [--kind KIND]`.

`failing.c` makes the calls fail. n goes from 1 to the number of calls in a run without a failure, in equal steps if
these are many. After each run this must hold:

- it ends in time, with a documented exit status; with 0 only if the result is right, to the last bit;
- stderr has one line that says what failed, and no traceback;
- the old output is there, or the new one as a whole; nothing else is left behind, neither files nor processes;
- if anything on the disk has changed, the next run is right.

Linux with glibc and a C compiler only.
"""

import argparse
import ctypes
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent

#: The kinds in the order of failing.c, and what may stand in the line on stderr for each.
KINDS = {
    "write": "No space left on device",
    "open": "Too many open files|No space left on device|Permission denied",
    "import": "Too many open files|can't be imported",
    "map": "[Nn]ot enough memory|Cannot allocate memory|no room|MemoryError|SystemError",
    "allocate": "[Nn]ot enough memory|Cannot allocate memory",
    "start": "Resource temporarily unavailable|can't start new thread|threads can start",
    "pipe": "Too many open files|Broken pipe|Input/output error|Connection re|fork server ended|closed its pipe",
}

#: Seconds that a run may take on a busy machine.
DEADLINE = 120.0

#: Lines that may stand beside the error: our warnings, and what Python says of a thread that finds no memory to begin.
EXPECTED = ("fem: warning: ", "Exception ignored in thread started by: ", "MemoryError")

#: What libraries say before they end the process by themselves.
ENDING = ("LLVM ERROR: out of memory", "libgomp: Thread creation failed")

#: What SuperLU prints, without an end of line, when it finds no memory.
_NOISE = re.compile(r"^malloc fails for local \w+\[\]\.")

OLD = b"the old output\n"


@dataclass(frozen=True)
class Case:
    """A run: `arguments` of `fem`, and the file that it writes."""

    name: str
    arguments: tuple[str, ...]
    output: str

    @classmethod
    def solve(cls, backend: str, solver: str, output: str = "result.h5", *more: str) -> "Case":
        name = backend if output == "result.h5" else output.partition(".")[2]
        given = ("solve", "mesh.h5", "--backend", backend, "--solver", solver, *more)
        return cls(name, (*given, "--output", output), output)

    @classmethod
    def convert(cls, mesh: str, output: str) -> "Case":
        return cls(f"{mesh.partition('.')[2]} to {output.partition('.')[2]}", ("convert", mesh, "-o", output), output)

    @classmethod
    def again(cls, backend: str, solver: str, *options: str) -> "Case":
        """Two solves in one session: only the calls of the first fail."""
        return cls(f"{backend}, again", ("--again", backend, solver, *options), "result.h5")


_SMALL = ("--option", "min_size=0", "--option", "workers=2")
CASES = {
    case.name: case
    for case in (
        Case.solve("numpy", "direct"),
        Case.solve("baseline", "cg"),
        Case.solve("threads", "mg", "result.h5", *_SMALL),
        Case.solve("mp", "direct", "result.h5", *_SMALL),
        Case.solve("mp-shm", "mg", "result.h5", *_SMALL),
        Case.solve("numba", "mg"),
        Case.solve("auto", "direct"),
        Case("numpy, imports", ("--imports", *Case.solve("numpy", "direct").arguments), "result.h5"),
        Case.again("numpy", "direct"),
        *(Case.again(name, "mg", "workers=2", "min_size=0") for name in ("threads", "mp", "mp-shm")),
        Case.again("numba", "mg"),
        *(Case.solve("numpy", "direct", f"result.{ending}") for ending in ("npz", "vtu", "csv", "nodes.csv")),
        *(Case.convert("mesh.h5", f"new.{ending}") for ending in ("h5", "npz", "vtu", "msh", "inp")),
        *(Case.convert(f"mesh.{ending}", "new.h5") for ending in ("npz", "vtu", "msh", "inp")),
        *(Case(ending, ("plot", "solved.h5", "-o", f"flow.{ending}"), f"flow.{ending}") for ending in ("png", "svg")),
    )
}


class Shared(ctypes.Structure):
    """`struct shared` of failing.c."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("kind", "n", "begun", "pid")),
        ("counts", ctypes.c_int64 * len(KINDS)),
        ("what", ctypes.c_char * 200),
    ]


def compiled(folder: Path) -> Path | None:
    """failing.c as a library in `folder`; None where it can't be compiled."""
    compiler = shutil.which("cc")
    if sys.platform != "linux" or not compiler:
        return None
    library = folder / "failing.so"
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", library, HERE / "failing.c", "-ldl", "-lpthread"]
    return library if subprocess.run(command, capture_output=True).returncode == 0 else None


@dataclass
class Ended:
    """How a run ended, how many calls of each kind it made, which one failed, and what was left."""

    status: int | None
    stderr: str
    stdout: str
    counts: dict[str, int]
    failed: str
    in_child: bool
    seconds: float
    left: list[str] = field(default_factory=list)


class Place:
    """A folder with the input of all cases, where one run is made after the other."""

    def __init__(self, library: Path, samples: Path, folder: Path) -> None:
        self.library, self.folder = library, folder
        self.work, self.home, self.temporary = (folder / name for name in ("work", "home", "tmp"))
        for made in (self.work, self.home, self.temporary):
            made.mkdir(parents=True)
        for sample in samples.iterdir():
            if sample.is_file():
                shutil.copy(sample, self.work)
        if (samples / "cache").is_dir():
            shutil.copytree(samples / "cache", self.home / "cache")
        self.inputs = set(os.listdir(self.work))
        self.shared = folder / "shared"

    def run(self, arguments: Sequence[str], kind: str | None = None, n: int = 0) -> Ended:
        """`fem ARGUMENTS`; the n-th call of a kind fails."""
        found = Shared(kind=list(KINDS).index(kind) if kind else 0, n=n)
        self.shared.write_bytes(bytes(found))
        env = {name: value for name, value in os.environ.items() if not name.startswith(("FEM_", "PYTEST_", "COV"))}
        env |= {"LD_PRELOAD": str(self.library), "FEM_FAILING": str(self.shared), "FEM_TUNE": "off"}
        env |= {"TMPDIR": str(self.temporary), "HOME": str(self.home), "XDG_CACHE_HOME": str(self.home / "cache")}
        env["OPENBLAS_NUM_THREADS"] = "1"  # if one of its threads can't start, OpenBLAS waits for it for ever
        env |= {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0", "MPLCONFIGDIR": str(self.home / "cache" / "mpl")}
        command = [sys.executable, str(HERE / "armed.py"), *arguments]
        begun = time.monotonic()
        with open(self.folder / "stdout", "w+") as stdout, open(self.folder / "stderr", "w+") as stderr:
            process = subprocess.Popen(
                command, cwd=self.work, env=env, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr,
                start_new_session=True,
            )  # fmt: skip
            try:
                status: int | None = process.wait(DEADLINE)
            except subprocess.TimeoutExpired:
                status = None
            seconds = time.monotonic() - begun
            left = [f"process {name}" for name in _survivors(process.pid)]
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            texts = []
            for stream in (stderr, stdout):
                stream.seek(0)
                texts.append(stream.read())
        found = Shared.from_buffer_copy(self.shared.read_bytes())
        left += [f"/dev/shm/{name}" for name in os.listdir("/dev/shm") if re.match(rf"fem-\d+-{process.pid}-", name)]
        left += [f"TMPDIR/{name}" for name in os.listdir(self.temporary)]
        for name in os.listdir(self.temporary):
            path = self.temporary / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        failed = found.what.decode(errors="replace")
        counts = dict(zip(KINDS, found.counts, strict=True))
        return Ended(status, *texts, counts, failed, bool(failed) and found.pid != process.pid, seconds, left)


def _survivors(session: int) -> list[str]:
    """The processes of a session that are still there after some seconds."""
    deadline = time.monotonic() + 10
    while True:
        found = []
        for entry in os.listdir("/proc"):
            if entry.isdigit() and int(entry) != session:
                try:
                    text = Path(f"/proc/{entry}/stat").read_text()
                    name, fields = text[text.index("(") : text.rindex(")") + 1], text.rpartition(")")[2].split()
                    if int(fields[3]) == session and fields[0] not in "ZX":
                        found.append(f"{entry} {name}")
                except OSError:
                    continue
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.05)


def content(path: Path) -> object:
    """What must be equal in two files of the same run: all but times."""
    if path.suffix == ".h5":
        import h5py

        found: dict[str, Any] = {}
        with h5py.File(path) as file:
            file.visititems(lambda name, one: found.update({name: one[()]} if hasattr(one, "dtype") else {}))
        return found
    if path.suffix == ".npz":
        import numpy as np

        with np.load(path) as file:
            return {name: file[name] for name in file.files if name != "report"}
    return re.sub(rb"<Array [^>]*report[^>]*>.*?</Array>", b"", path.read_bytes(), flags=re.S)


def same(found: object, wanted: object, close: bool) -> bool:
    """Whether two contents have the same bits or, if `close`, the same numbers but for rounding."""
    import numpy as np

    if isinstance(found, dict) and isinstance(wanted, dict):
        return found.keys() == wanted.keys() and all(same(found[name], wanted[name], close) for name in wanted)
    if not isinstance(found, np.ndarray | np.generic) or not isinstance(wanted, np.ndarray | np.generic):
        return found == wanted
    if close and wanted.dtype.kind == "f":
        return found.shape == wanted.shape and bool(np.allclose(found, wanted, rtol=1e-8, atol=1e-8))
    return found.tobytes() == wanted.tobytes()


class Driver:
    """The runs of one case in one place."""

    def __init__(self, place: Place, case: Case) -> None:
        self.place, self.case = place, case
        self.output = place.work / case.output
        first = self.clean()
        if first.status != 0 or not self.output.exists():
            raise RuntimeError(f"{case.name} fails by itself: status {first.status}, {first.stderr}{first.stdout}")
        self.right, self.counts = content(self.output), first.counts

    def is_right(self) -> bool:
        """Whether the output is that of the run without a failure; `auto` may have taken another backend."""
        return same(content(self.output), self.right, self.case.name == "auto")

    def clean(self) -> Ended:
        return self.place.run(self.case.arguments)

    def failing(self, kind: str, n: int) -> tuple[Ended, list[str]]:
        """A run in which the n-th call fails, and what is wrong with it."""
        place, output = self.place, self.output
        output.write_bytes(OLD)
        before = _listing(place.home)
        ended = place.run(self.case.arguments, kind, n)
        faults = list(self._faults(kind, ended))
        left = set(os.listdir(place.work)) - place.inputs - {output.name}
        faults += [f"left {name}" for name in [*sorted(left), *ended.left]]
        for name in left:
            (place.work / name).unlink()
        if _listing(place.home) != before:  # otherwise the next run finds what this one found
            faults += self.next_run()
        return ended, faults

    def next_run(self) -> list[str]:
        """What is wrong with a run without a failure."""
        again = self.clean()
        right = again.status == 0 and self.is_right()
        return [] if right else [f"the next run is wrong: status {again.status}, {again.stderr[-500:]}"]

    def _faults(self, kind: str, ended: Ended) -> Iterator[str]:
        if ended.status is None:
            yield f"not ended after {DEADLINE:.0f} s"
            return
        new = self.output.read_bytes() if self.output.exists() else b""
        whole = False
        if new != OLD:
            try:
                whole = self.is_right()
            except Exception as error:
                yield f"output unreadable: {error}"
            if not whole:
                yield "neither the old nor the new output"
        if ended.status == 0 and not whole:
            yield "status 0 without the result"
        if self.case.arguments[0] == "--imports":  # also of Python's own start: nothing more is promised
            return
        if any(line.startswith(ENDING) for line in ended.stderr.splitlines()):
            return
        lines = [_NOISE.sub("", line) for line in ended.stderr.splitlines()]
        if ended.status not in (0, 2, 3):
            yield f"status {ended.status}"
        errors = [line for line in lines if line.startswith("fem: error: ")]
        foreign = [line for line in lines if line not in errors and not line.startswith(EXPECTED)]
        unstarted = re.search("is above|processes can't start", errors[0]) if errors else ended.in_child
        if foreign and not unstarted:  # Python tells what a process that did not start has met
            yield f"foreign lines: {foreign[0]}"
        if ended.status and "/stderr" not in ended.failed:
            if len(errors) != 1:
                yield f"{len(errors)} lines of error"
            elif not (ended.in_child or re.search(KINDS[kind], errors[0])):
                yield "the cause isn't named"


def _listing(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


class Table:
    """What was done and how it ended, as the tables of docs/faults.md; faults are printed at once."""

    def __init__(self) -> None:
        self.faults = 0
        self._lock = threading.Lock()
        self._cells: dict[tuple[str, str], str] = {}
        self._ends: dict[str, Counter[str]] = {}

    def add(self, case: Case, kind: str, n: int, ended: Ended, faults: list[str]) -> None:
        """A run."""
        with self._lock:
            self._ends.setdefault(kind, Counter())[str(ended.status) if ended.failed else "not reached"] += 1
            if faults:
                self.faults += 1
                where = f"{ended.failed}{' in a child' if ended.in_child else ''}"
                print(f"{case.name}, {kind} {n} ({where}): {'; '.join(faults)}")
                print(f"    status {ended.status} after {ended.seconds:.1f} s; stderr:")
                print("".join(f"        {line}\n" for line in ended.stderr.splitlines()[-25:]), end="", flush=True)

    def done(self, case: Case, kind: str, runs: int, calls: int) -> None:
        """All runs of a kind."""
        with self._lock:
            self._cells[case.name, kind] = str(calls) if runs == calls else f"{runs} of {calls}"
            print(f"{case.name}, {kind}: {self._cells[case.name, kind]}", flush=True)

    def after(self, case: Case, faults: list[str]) -> None:
        """What is wrong with the run after all those of a case."""
        with self._lock:
            self.faults += len(faults)
            print("".join(f"{case.name}: {fault}\n" for fault in faults), end="", flush=True)

    def __str__(self) -> str:
        kinds = list(dict.fromkeys(kind for _, kind in self._cells))
        names = list(dict.fromkeys(name for name, _ in self._cells))
        ends = sorted({end for found in self._ends.values() for end in found})
        rows = [
            ["run", *kinds],
            *([name, *(self._cells[name, kind] for kind in kinds)] for name in names),
            [],
            ["kind", "runs", *ends],
            *([kind, sum(found.values()), *(found[end] for end in ends)] for kind, found in self._ends.items()),
        ]
        lines = ["| " + " | ".join(map(str, row)) + " |" if row else "" for row in rows]
        for at, row in ((1, rows[0]), (len(names) + 4, rows[len(names) + 2])):
            lines.insert(at, "|---" * len(row) + "|")
        return "\n".join([f"\n{self.faults} faults\n", *lines])


def steps(count: int, most: int) -> list[int]:
    """1 … count; if these are more than `most`, so many of them in equal steps, with the first and the last."""
    if count <= most:
        return list(range(1, count + 1))
    return sorted({round(1 + i * (count - 1) / (most - 1)) for i in range(most)})


def samples(folder: Path, compile: bool = False) -> None:
    """What the cases read: a mesh in each format, a result, and numba's compiled code in the cache."""
    import fem_core as fem

    mesh = fem.generate.y_tube(nodes=9000)
    fem.write_mesh(mesh, folder / "mesh.h5")
    for ending in ("npz", "vtu", "msh", "inp"):
        fem.write_mesh(mesh, folder / f"mesh.{ending}")
    fem.solve(mesh, backend="numpy", solver="direct").write(folder / "solved.h5")
    if compile:
        env = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache"), "FEM_TUNE": "off"}
        command = [sys.executable, "-m", "fem_core", *CASES["numba"].arguments]
        subprocess.run(command, cwd=folder, env=env, check=True, capture_output=True)
        (folder / CASES["numba"].output).unlink()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", action="append", choices=list(CASES), help="by default all; may be repeated")
    parser.add_argument("--kind", action="append", choices=list(KINDS), help="by default all; may be repeated")
    parser.add_argument("--most", type=int, default=25, help="runs of a kind in a case (default: %(default)s)")
    parser.add_argument("--n", type=int, help="only this call")
    parser.add_argument("--jobs", type=int, default=2, help="runs at the same time (default: %(default)s)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fem-failing-") as name:
        folder = Path(name)
        library = compiled(folder)
        if library is None:
            parser.error("needs Linux with glibc and the C compiler cc")
        (folder / "samples").mkdir()
        samples(folder / "samples", compile=bool({"numba", "numba, again", "auto"} & {*(arguments.case or CASES)}))
        runs = [(CASES[name], kind) for name in arguments.case or CASES for kind in arguments.kind or KINDS]
        table = Table()

        def one(case: Case) -> None:
            driver = Driver(Place(library, folder / "samples", folder / re.sub(r"\W+", "-", case.name)), case)
            for kind in (kind for one, kind in runs if one is case):
                calls = driver.counts[kind]
                which = [arguments.n] if arguments.n else steps(calls, arguments.most)
                for n in which:
                    table.add(case, kind, n, *driver.failing(kind, n))
                table.done(case, kind, len(which), calls)
            table.after(case, driver.next_run())

        with ThreadPoolExecutor(arguments.jobs) as pool:
            list(pool.map(one, dict.fromkeys(case for case, _ in runs)))
        print(table)
    return table.faults > 0


if __name__ == "__main__":
    sys.exit(main())
