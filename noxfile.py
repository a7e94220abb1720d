"""Everything that is run on this project, by name: `nox --list`.

Each session installs the core and whatever plugins the checkout holds together, by path.
"""

import contextlib
import filecmp
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nox

ROOT = Path(__file__).parent
PLUGINS = sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))
EXAMPLES = sorted(path.parent for path in ROOT.glob("examples/*/pyproject.toml"))
GROUPS = nox.project.load_toml(ROOT / "pyproject.toml")["dependency-groups"]
ROWS = nox.project.load_toml(ROOT / "hardware.toml")["row"]
HARDWARE = [row_id for row_id in os.environ.get("FEM_HARDWARE", "").split(",") if row_id]
PARALLEL = ["-n", "auto", "--maxprocesses", "4"]  # tests start threads and processes of their own
KIT = ["-m", "pytest", "--pyargs", "fem_core.testing", "-p", "no:cacheprovider", "--fem-backend"]


def lowest_python() -> str | None:
    """The lowest supported Python that runs here; None, the one running nox, if none goes by its version."""
    for minor in range(11, 15):
        command = shutil.which(f"python3.{minor}")
        # A version manager's shim may be on the path and refuse to run.
        if command and subprocess.run([command, "-c", ""], capture_output=True).returncode == 0:
            return f"3.{minor}"
    return None


LOWEST = lowest_python()

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.sessions = ["lint", "types", "tests"]

if unknown := set(HARDWARE) - {row["id"] for row in ROWS}:
    raise SystemExit(f"FEM_HARDWARE names no row of hardware.toml: {', '.join(sorted(unknown))}")


def sources(extras: str = "plot,amg,xlsx,convert,testing") -> list[str]:
    """Arguments for pip: the core with `extras` and every plugin, editable, by path."""
    paths = [f"./core[{extras}]" if extras else "./core", *(f"./{path.relative_to(ROOT)}" for path in PLUGINS)]
    return [argument for path in paths for argument in ("--editable", path)]


@nox.session
def demo(session: nox.Session) -> None:
    """Run `fem demo`, as the README's first line does."""
    session.install(*sources("plot,amg"))
    session.chdir(session.create_tmp())
    session.run("fem", "demo", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """Run all tests, as the README's second line does."""
    session.install(*sources())
    session.run("python", "-m", "pytest", *PARALLEL, *session.posargs)


@nox.session
@nox.parametrize("row", [nox.param(row, id=row["id"]) for row in ROWS])
def conformance(session: nox.Session, row: dict[str, Any]) -> None:
    """Run the conformance kit against the backend of one row of hardware.toml."""
    required = row["id"] in HARDWARE
    named = any(f"conformance({row['id']})" in word for word in [*sys.argv, os.environ.get("NOXSESSION", "")])
    if not (row["default"] or required or named):
        session.skip(f"off by default: FEM_HARDWARE={row['id']}, or name the session")
    if not row["run"]:
        session.warn(f"{row['id']}: nobody has run this row on such a machine yet; if it passes, set run = true")
    session.install("--editable", "./core[testing]", *row["install"])
    if problem := unavailable(session, row):
        session.error(problem) if required else session.skip(problem)
    session.run("python", *KIT, row["backend"], *session.posargs, env=row["env"])


def unavailable(session: nox.Session, row: dict[str, Any]) -> str | None:
    """Why the backend of `row` can't run in this session's environment; None if it can."""
    listing = session.run(
        "fem", "backends", "--probe", "--json", env=row["env"], silent=True, stderr=subprocess.DEVNULL
    )
    for backend in json.loads(str(listing)):
        if backend["name"] == row["backend"]:
            if backend["state"] != "ready":
                return f"{row['backend']}: {backend['state']}: {backend['reason']}"
            return None if backend["probe"]["works"] else f"{row['backend']}: {backend['probe']['reason']}"
    return f"{row['backend']}: no installed distribution has a backend of this name"


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, formatting, the import contract and the copies of the licence."""
    session.install(*GROUPS["lint"])
    session.install("--no-deps", "--editable", "./core")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("lint-imports")
    for distribution in [ROOT / "core", *PLUGINS]:
        copy = distribution / "LICENSE"
        if not copy.is_file() or not filecmp.cmp(ROOT / "LICENSE", copy, shallow=False):
            session.error(f"{copy.relative_to(ROOT)} must be a copy of LICENSE")


@nox.session(python=LOWEST)
def types(session: nox.Session) -> None:
    """Check types, strictly, as on each system: the core, every plugin and the record of devices."""
    # On the lowest Python: NumPy's types for a newer one may be written in a syntax that 3.11 doesn't have.
    session.install(*sources(), *GROUPS["types"])
    sources_of_plugins = [str(path.relative_to(ROOT) / "src") for path in PLUGINS]
    for platform in ("linux", "darwin", "win32"):
        session.run("mypy", "--platform", platform, "core/src", *sources_of_plugins, "benchmarks/device_record.py")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation into docs/_build/html; a warning is an error."""
    session.install(*sources(), *GROUPS["docs"])
    shutil.rmtree(ROOT / "docs" / "api", ignore_errors=True)
    session.run("sphinx-build", "-W", "--keep-going", "-b", "html", "docs", "docs/_build/html", *session.posargs)


@nox.session(python=LOWEST)
def lowest(session: nox.Session) -> None:
    """Run all tests with the lowest versions that the distributions promise, on the lowest Python there is here."""
    session.install("uv")
    how = ["--resolution", "lowest-direct"]
    # Wheels only: on a newer Python the lowest version is the first that has one.
    for compiled in ("numpy", "scipy", "h5py", "matplotlib", "numba"):
        how += ["--only-binary", compiled]
    session.run("uv", "pip", "install", "--python", session.virtualenv.location, *how, *sources())
    session.run("uv", "pip", "list", "--python", session.virtualenv.location)
    # Old versions of what we need deprecate things among themselves.
    session.run("python", "-m", "pytest", *PARALLEL, "-W", "ignore::DeprecationWarning", *session.posargs)


@nox.session(python=LOWEST)
def interop(session: nox.Session) -> None:
    """Check the files that are written and read against the programs of others: VTK, gmsh, meshio, pandas."""
    session.install(*sources(), *GROUPS["interop"])
    tests = [f"tests/io/test_{what}.py" for what in ("results", "formats", "convert")]
    session.run("python", "-m", "pytest", *tests, *session.posargs)


@nox.session(python=LOWEST)
def mutation(session: nox.Session) -> None:
    """Score the conformance kit: the share of mutants of the numerical modules that it catches alone."""
    session.install("--editable", "./core[testing]", "--editable", "./plugins/fem-threads")
    session.run("python", "tests/mutation", *session.posargs)


@nox.session(python=LOWEST)
def fuzz(session: nox.Session) -> None:
    """Fuzz the readers of mesh files, 10 seconds a format; more with `-- --seconds 600`."""
    session.install("--editable", "./core[xlsx]", *GROUPS["fuzz"])
    session.run("python", "tests/fuzz_readers.py", *session.posargs)


@nox.session
def faults(session: nox.Session) -> None:
    """Run `fem` again and again while one call of the system fails: the tables of docs/faults.md. Linux only."""
    session.install(*sources("plot,amg"))
    session.run("python", "tests/failing.py", *session.posargs)


@nox.session(python=LOWEST)
def cupy(session: nox.Session) -> None:
    """Check the CUDA C of fem-cupy, without a GPU: compiled for the host and run, and by NVRTC for every GPU."""
    if not (os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")):
        session.error("the kernels are compiled for the host too: install g++ or clang++, or set CXX")
    session.install("--editable", "./core[testing]", "--editable", "./plugins/fem-cupy", *GROUPS["cupy"])
    files = [str(path.relative_to(ROOT)) for path in sorted(ROOT.glob("plugins/fem-cupy/tests/test_*.py"))]
    session.run("python", "-m", "pytest", "-n", "2", *files, *session.posargs, env={"FEM_GPU_TESTS": "1"})


@nox.session(python=LOWEST)
def cuda(session: nox.Session) -> None:
    """Check the kernels of fem-cuda, without a GPU: compiled for every GPU, and run by numba-cuda's simulator."""
    session.install("--editable", "./core[testing]", "--editable", "./plugins/fem-cuda[cuda13]")
    files = [str(path.relative_to(ROOT)) for path in sorted(ROOT.glob("plugins/fem-cuda/tests/test_*.py"))]
    simulator = {"NUMBA_ENABLE_CUDASIM": "1"}
    for env in ({}, simulator):  # either is chosen when numba-cuda is imported: a file skips itself in the other
        session.run("python", "-m", "pytest", "-n", "2", *files, *session.posargs, env={"FEM_GPU_TESTS": "1", **env})
    small = ["--fem-examples", "5", "--fem-elements", "150", "-n", "2"]
    for assembly in ("gather", "coo"):
        session.run("python", *KIT, "cuda", *small, "--fem-option", f"assembly={assembly}", env=simulator)


@nox.session
def bench(session: nox.Session) -> None:
    """Run benchmarks/; arguments after `--` go to it."""
    session.install(*sources(), *GROUPS["bench"])
    session.run("python", "benchmarks", *session.posargs)


@nox.session
def wheels(session: nox.Session) -> None:
    """Build every distribution, install only the wheels, away from the checkout, and use them."""
    with clean_environment(session, ROOT / "core", *PLUGINS) as run:
        run("fem", "--help")
        run("fem", "mesh", "duct", "--nodes", "2000", "-o", "duct.h5")
        run("fem", "solve", "duct.h5", "--backend", "numpy", "--solver", "cg", "--json")
        for row in ROWS:
            if row["default"]:
                run("python", *KIT, row["backend"], env=row["env"])


@nox.session
def example(session: nox.Session) -> None:
    """Build each example as a stranger would, and certify it in an environment of its own."""
    for distribution in EXAMPLES:
        entry_points = nox.project.load_toml(distribution / "pyproject.toml")["project"]["entry-points"]["fem.backends"]
        with clean_environment(session, ROOT / "core", distribution) as run:
            for name in entry_points:
                run("fem", "verify", "--backend", name)
                run("python", *KIT, name)
            run("python", "-m", "pytest", "-p", "no:cacheprovider", str(distribution / "tests"))


@contextlib.contextmanager
def clean_environment(session: nox.Session, *distributions: Path) -> Iterator[Any]:
    """A virtual environment outside the checkout that holds the wheels of `distributions` and what they need.

    Gives a function that runs a command of that environment. The wheels are built from the sdists, so both are whole.
    """
    session.install("build")
    with tempfile.TemporaryDirectory(prefix="fem-") as name:
        folder = Path(name).resolve()
        for distribution in distributions:
            session.run("python", "-m", "build", "--outdir", str(folder / "dist"), str(distribution))
        built = [str(path) for path in (folder / "dist").glob("*.whl")]
        core = [f"{path}[testing]" for path in built if Path(path).name.startswith("fem_core-")]
        others = [path for path in built if not Path(path).name.startswith("fem_core-")]
        session.run("python", "-m", "venv", str(folder / "env"))
        scripts = folder / "env" / ("Scripts" if os.name == "nt" else "bin")

        def run(command: str, *arguments: str, env: dict[str, str] | None = None) -> None:
            session.run(str(scripts / command), *arguments, env=env, external=True)

        session.chdir(folder)
        # The core comes first: pip looks on PyPI for a plugin's fem-core unless it has already met this one.
        run("python", "-m", "pip", "install", "--quiet", *core, *others)
        yield run
        session.chdir(ROOT)
