"""The command line: what it prints where, how it ends, and what it says about mistakes."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import click
import fem_core as fem
import numpy as np
import pytest
from click.testing import Result
from commands import run
from fakes.distributions import Shelf, python
from fem_core.cli import fem as command_line
from fem_core.cli import progress
from fem_core.cli.errors import Status, judge
from fem_core.io.files import ReadOptions, mesh_formats, result_writers
from fem_core.plugins.registry import REGISTRY
from fem_core.testing.runner import CheckResult

#: DESIGN §6, and what a report tells beside it.
STAGES = {"load_mesh", "compute_sparsity", "assemble_system", "apply_bc", "solve_system", "compute_derived"}
KEYS = {
    "backend": None,
    "providers": STAGES,
    "mesh": {"nodes", "elements", "orphan_nodes"},
    "conditions": None,
    "shifts": None,
    "solver": {"method", "iterations", "converged", "stop_reason", "relative_residual", "true_relative_residual"},
    "stages": STAGES,
    "solution": {"u_min", "u_max", "u_mean", "u_std", "speed_max", "pressure_min"},
    "warnings": None,
    "notes": None,
    "host_copies": None,
    "versions": None,
    "hardware": None,
}
COMMANDS = ["demo", "solve", "plot", "mesh", "check", "backends", "doctor", "verify"]
ENDS = ("fem:solveComplete", "fem:error")


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path_factory, monkeypatch):
    """Where pytest was started, `fem demo` may have left its files."""
    monkeypatch.chdir(tmp_path_factory.mktemp("empty"))


@pytest.fixture
def mesh(tmp_path: Path) -> Path:
    """A duct of 36 elements in a file."""
    return fem.write_mesh(fem.generate.duct(length=3, nx=12, ny=3), tmp_path / "duct.h5")


def the_line(result: Result) -> str:
    """The one line on stderr of a command that refused something, with nothing on stdout."""
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1, result.stderr
    assert result.stderr.startswith("fem: error: ")
    return result.stderr


def events_of(text: str) -> list[dict]:
    return [json.loads(line, parse_constant=pytest.fail) for line in text.splitlines()]


# help


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS), *(["mesh", s] for s in fem.generate.SHAPES)])
def test_help_works_and_fits_80_columns(command):
    result = run(*command, "--help")
    assert result.exit_code == 0
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert result.stderr == ""


@pytest.mark.parametrize(
    ("command", "formats"),
    [
        (["solve"], result_writers()),
        *((["mesh", shape], [known for known in mesh_formats() if known.write]) for shape in fem.generate.SHAPES),
    ],
)
def test_help_names_the_endings_of_all_formats(command, formats):
    # Lists written by hand lacked .hdf5.
    text = " ".join(run(*command, "--help").stdout.split())
    listed = re.search(r"--output PATH (?:Write the result|File to write) \((.*?)\)", text)[1]
    assert listed.split(", ") == [suffix for known in formats for suffix in known.suffixes]


def test_the_manual_names_every_command_with_examples_and_the_exit_status():
    text = run("--help").stdout
    for name in COMMANDS:
        assert f"\n  {name} " in text
    assert "fem solve tube.h5" in text
    assert "130 cancelled" in text


def test_without_a_command_the_manual_is_shown():
    assert run().stdout == run("--help").stdout
    assert run("mesh").exit_code == 0


def test_version():
    assert run("--version").stdout.startswith("fem-core ")


@pytest.mark.parametrize("arguments", [["--help"], ["solve", "--help"], ["backends"]])
def test_help_and_backends_import_nothing_heavy(arguments):
    # `python -X importtime` would do as well, but sys.modules says it straight.
    heavy = ("h5py", "matplotlib", "hypothesis", "pytest", "numba", "cupy", "fem_core.backends.baseline")
    code = f"""
import sys
from fem_core.cli import main
try:
    main()
finally:
    print([name for name in {heavy} if name in sys.modules], file=sys.stderr)
"""
    result = python("-c", code, *arguments)
    assert result.stderr == "[]\n"
    assert result.returncode == 0


def test_python_m_is_the_same_command():
    result = python("-m", "fem_core", "--help")
    assert result.stdout.split() == run("--help").stdout.split()  # each is wrapped for its own terminal
    assert result.returncode == 0


# mistakes: one line, exit status, what is accepted


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["sovle"], 2, "did you mean solve?); commands: demo, solve"),
        (["solve"], 2, "Missing argument 'MESH'; see fem solve --help"),
        (["solve", "{mesh}", "--jsn"], 2, "--json"),
        (["solve", "{mesh}", "--rtol", "x"], 2, "'x' is not a valid float"),
        (["solve", "{mesh}", "--rtol", "0"], 2, "rtol and atol"),
        (["solve", "nowhere.h5"], 2, "nowhere.h5: this file doesn't exist"),
        (["solve", "mesh.xyz"], 2, "known: .h5"),
        (["solve", "{folder}"], 2, "this is a folder; give the name of a mesh file, such as {mesh}"),
        (["check", "{folder}"], 2, "this is a folder; give the name of a mesh file, such as {mesh}"),
        (["bench", "{folder}"], 2, "this is a folder; give the name of a mesh file, such as {mesh}"),
        (["solve", "-"], 2, "can't be read from stdin"),
        (["solve", "{mesh}", "--backend", "nupmy"], 3, "installed: baseline, "),
        (["solve", "{mesh}", "--backend", "auto,numpy"], 2, "auto can't be part of a chain"),
        (["solve", "{mesh}", "--backend", "numpy,numpy"], 3, "twice"),
        (["solve", "{mesh}", "--backend", "numpy", "--solver", "magic"], 2, "solvers: cg, direct, mg"),
        (["solve", "{mesh}", "--backend", "numpy", "--option", "workers=2"], 2, "batch_size"),
        (["solve", "{mesh}", "--backend", "numpy", "--option", "kernel=fast"], 2, "vectorized or loop"),
        (["solve", "{mesh}", "--backend", "numpy", "--option", "batch_size=many"], 2, "takes int"),
        (["solve", "{mesh}", "--option", "kernel"], 2, "not key=value"),
        (["solve", "{mesh}", "--option", "name=x"], 2, "no backend has an option 'name'"),
        (["solve", "{mesh}", "--option", "kernel=loop", "--option", "kernel=loop"], 2, "given twice"),
        (["solve", "{mesh}", "--gamma", "nan"], 2, "not finite at nodes"),
        (["solve", "{mesh}", "--conductivity", "-1"], 2, "elements 0, 1, 2"),
        (["solve", "{mesh}", "--dirichlet", "no"], 2, "'penalty', 'eliminate'"),
        (["solve", "{mesh}", "--output", "u.vtk"], 2, "known: .csv, .h5"),
        (["solve", "{mesh}", "--output", "no/u.h5"], 2, "the folder 'no' doesn't exist"),
        (["solve", "{mesh}", "--output", "{folder}"], 2, "this is a folder; give the name of a file in it"),
        (["solve", "{mesh}", "--output", "{mesh}"], 2, "this would overwrite the input file"),
        (["solve", "{mesh}", "--events", "{mesh}"], 2, "this would overwrite the input file"),
        (["solve", "{mesh}", "--events", "no/events"], 2, "the folder 'no' doesn't exist"),
        (["solve", "{mesh}", "--plot", "u.jpg"], 2, ".png or .svg"),
        (["solve", "{mesh}", "--plot", "no/u.png"], 2, "the folder 'no' doesn't exist"),
        (["solve", "{mesh}", "--plot", "{folder}/u.png", "--field", "vorticity"], 2, "can't plot vorticity; fields: "),
        (["plot", "{mesh}", "-o", "{folder}/u.png"], 2, "this file has a mesh but no solution"),
        (["plot", "nowhere.h5"], 2, "doesn't exist; make one with `fem solve MESH --output FILE`"),
        (["plot", "."], 2, "this is a folder; give the name of a result file, which ends in .h5, .hdf5"),
        (["plot", "result.vtu", "-o", "{folder}/u.png"], 2, "known: .h5"),
        (["plot", "{mesh}", "--field", "u"], 2, "can't plot u; fields: potential, speed"),
        (["plot", "{mesh}", "-o", "u.jpg"], 2, ".png or .svg"),
        (["mesh", "cube", "-o", "x.h5"], 2, "shapes: duct, elbow, "),
        (["mesh", "duct", "-o", "x.stl"], 2, "known: .h5"),
        (["mesh", "duct", "-o", "no/x.h5"], 2, "the folder 'no' doesn't exist"),
        (["mesh", "duct", "--nodes", "2", "-o", "{folder}/x.h5"], 2, "nodes must be"),
        (["mesh", "annulus", "--flow", "up", "-o", "{folder}/x.h5"], 2, "'radial', 'around'"),
        (["demo", "--folder", "no"], 2, "the folder 'no' doesn't exist"),
        (["demo", "--folder", "{folder}", "--nodes", "-3"], 2, "nodes must be"),
        (["verify"], 2, "one of baseline, numpy"),
    ],
)
def test_a_mistake_is_answered_in_one_line(arguments, status, said, mesh, tmp_path):
    result = run(*(argument.format(mesh=mesh, folder=tmp_path) for argument in arguments))
    assert said.format(mesh=mesh) in the_line(result)
    assert result.exit_code == status


def test_a_refused_output_is_refused_before_anything_is_solved(mesh, tmp_path, monkeypatch):
    monkeypatch.setattr("fem_core.run.opening.open_backend", lambda *a, **b: pytest.fail("a backend was opened"))
    for option in ("--output", "--plot"):
        assert run("solve", mesh, option, tmp_path / "u.xyz").exit_code == 2
        assert run("solve", mesh, option, tmp_path / "no" / "u.png").exit_code == 2


@pytest.mark.parametrize(
    "options",
    [
        ["-o", "u.h5", "-o", "./u.h5"],
        ["--plot", "u.png", "--plot", "link.png"],
        ["-o", "u.h5", "--events", "u.h5"],
        ["--plot", "u.png", "--events", "link.png"],
    ],
)
def test_a_file_that_would_be_written_twice_is_refused_and_left_alone(mesh, tmp_path, monkeypatch, options):
    # Whichever is later would overwrite the other; also by another name.
    monkeypatch.chdir(tmp_path)
    for name in ("u.h5", "u.png"):
        Path(name).write_text("precious")
    Path("link.png").symlink_to("u.png")
    result = run("solve", mesh, *options)
    assert f"{Path(options[3])}: two outputs have this name" in the_line(result)
    assert result.exit_code == 2
    assert {Path(name).read_text() for name in ("u.h5", "u.png")} == {"precious"}
    if options[2] != "--events":
        events = events_of(run("solve", mesh, *options, "--events", "-").stdout)
        assert [event["event"] for event in events] == ["fem:error"]


def test_debug_shows_a_traceback_wherever_it_stands():
    for arguments in (["--debug", "solve", "nowhere.h5"], ["solve", "--debug", "nowhere.h5"]):
        result = run(*arguments)
        assert "Traceback" in result.stderr
        assert (
            result.stderr.splitlines()[-1]
            == "fem: error: nowhere.h5: this file doesn't exist; make one with `fem mesh`"
        )
        assert result.exit_code == 2


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (MemoryError(), 2, "smaller mesh"),
        (fem.plugins.WorkerLost("two\nlines"), 3, "two lines"),
        (fem.Cancelled("stop"), 130, "cancelled"),
        (KeyboardInterrupt(), 130, "cancelled"),
        (fem.SolveError("singular"), 2, "singular"),
        (PermissionError(13, "Permission denied", "u.h5"), 2, "u.h5: Permission denied"),
        (ZeroDivisionError("1/0"), 1, "unexpected ZeroDivisionError: 1/0; --debug"),
    ],
)
def test_each_kind_of_error_has_its_status_and_one_line(error, status, said, mesh, monkeypatch):
    def fail(*arguments: object, **options: object) -> None:
        raise error

    assert judge(error)[0] == status
    monkeypatch.setattr("fem_core.run.session.Session.solve", fail)
    result = run("solve", mesh, "--backend", "numpy")
    assert result.exit_code == status
    assert result.stderr.count("\n") == 1
    assert said in result.stderr


# solving


def test_the_table_shows_stages_figures_and_files(mesh, tmp_path):
    result = run("solve", mesh, "--backend", "numpy", "--solver", "cg", "--output", tmp_path / "u.h5")
    assert result.exit_code == 0
    assert result.stderr == ""
    for said in (
        "duct.h5: 139 nodes and 36 elements",
        "assemble_system    numpy",
        "cg: converged after",
        "0 to 7.5 m²/s",
        "at most 2.5 m/s",
        f"wrote {tmp_path / 'u.h5'}",
    ):
        assert said in result.stdout
    assert max(map(len, result.stdout.splitlines()[:-1])) <= 80
    assert not any(line.endswith(" ") for line in result.stdout.splitlines())


def test_json_is_one_object_with_the_promised_keys(mesh):
    result = run("solve", mesh, "--backend", "numpy", "--json")
    report = json.loads(result.stdout, parse_constant=pytest.fail)
    assert result.stderr == ""
    assert set(report) == set(KEYS)
    for key, inner in KEYS.items():
        if inner is not None:
            assert set(report[key]) == inner
    assert report["backend"] == "numpy"
    assert report["solver"]["converged"] is True
    assert report["solution"]["u_max"] == pytest.approx(7.5)
    inlet, outlet = report["conditions"]
    assert inlet == pytest.approx(
        {
            "boundary": "inlet",
            "kind": "Robin",
            "value": 2.5,
            "p": 0,
            "length": 1,
            "nodes": inlet["nodes"],
            "origin": "mesh",
        }
    )
    assert (outlet["boundary"], outlet["kind"], outlet["value"], outlet["length"]) == ("outlet", "Dirichlet", 0, 1)
    assert all(isinstance(warning, str) for warning in report["warnings"])


def test_the_options_reach_the_problem_and_the_solver(mesh):
    arguments = ["--gamma", 1, "--outlet", 3, "--conductivity", 2, "--p", 0.5, "--dirichlet", "eliminate"]
    report = json.loads(run("solve", mesh, "--json", "--solver", "direct", *arguments).stdout)
    # u = 3 + c (L - x) with k c + p (3 + c L) = γ at the inlet
    c = (1 - 0.5 * 3) / (2 + 0.5 * 3)
    assert report["solution"]["u_min"] == pytest.approx(3 + 3 * c)
    assert report["solution"]["speed_max"] == pytest.approx(-c)
    assert report["solver"]["method"] == "direct"


def test_a_result_can_be_solved_again_and_several_are_written(mesh, tmp_path):
    first, second = tmp_path / "a.h5", tmp_path / "b.hdf5"
    assert run("solve", mesh, "-o", first, "-o", second).exit_code == 0
    assert fem.read_mesh(second).n_nodes == 139
    assert run("solve", first).exit_code == 0


def test_without_convergence_the_result_is_written_and_flagged(mesh, tmp_path):
    import h5py

    few = ("--solver", "cg", "--maxiter", 3)
    result = run("solve", mesh, *few, "-o", tmp_path / "u.h5", "--events", tmp_path / "events")
    assert result.exit_code == 4
    assert "NOT CONVERGED, maxiter reached after 3 iterations" in result.stdout
    with h5py.File(tmp_path / "u.h5") as file:
        assert not file["solution"].attrs["converged"]
    last = events_of((tmp_path / "events").read_text())[-1]
    assert last["event"] == "fem:solveComplete"
    assert last["data"]["converged"] is False


def test_the_mesh_is_read_beside_the_opening_of_the_backend_and_the_report_says_so(mesh):
    report = json.loads(run("solve", mesh, "--backend", "numpy", "--json").stdout)
    assert any("in parallel with the opening of the backend" in note for note in report["notes"])
    assert "load_mesh" in report["stages"]


def test_no_mesh_is_read_beside_a_fork(mesh):
    pytest.importorskip("fem_mp_shm")
    arguments = ["--backend", "mp", "--option", "start_method=fork", "--option", "workers=1", "--json"]
    result = subprocess.run(  # beside a thread it would be refused, and this process may have some
        [sys.executable, "-m", "fem_core", "solve", mesh, *arguments], capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 0, result.stderr
    assert not any("beside" in note for note in json.loads(result.stdout)["notes"])


def test_not_a_number_never_reaches_json(mesh, monkeypatch):
    real = fem.Report.to_dict
    wrong = {"a": float("nan"), "b": [float("inf"), np.float64("nan")]}
    monkeypatch.setattr(fem.Report, "to_dict", lambda report: real(report) | wrong)
    report = json.loads(run("solve", mesh, "--json").stdout, parse_constant=pytest.fail)
    assert (report["a"], report["b"]) == (None, [None, None])


def test_brackets_in_names_are_no_markup(tmp_path):
    name = fem.write_mesh(fem.generate.duct(nx=2, ny=1), tmp_path / "[bold]x[].h5")
    assert "[bold]x[].h5: 13 nodes" in run("solve", name).stdout


def test_verbose_logs_stages_to_stderr(mesh):
    for arguments in (["-v", "solve", mesh], ["solve", "-v", mesh]):
        result = run(*arguments, "--backend", "numpy")
        assert "fem: info: assemble_system by numpy" in result.stderr
        assert "assemble_system by" not in result.stdout
    debug = run("solve", mesh, "-vv", "--solver", "cg", "--monitor", 1).stderr
    assert "fem: debug: iteration 1: relative residual" in debug


def test_a_picture_that_fails_does_not_take_the_report_with_it(mesh, tmp_path, monkeypatch):
    def fail(*arguments: object) -> None:
        raise OSError(28, "No space left on device", "u.png")

    monkeypatch.setattr("fem_core.plot.plot_solution", fail)
    result = run("solve", mesh, "--json", "--plot", tmp_path / "u.png")
    assert json.loads(result.stdout)["solver"]["converged"]
    assert result.stderr == "fem: error: u.png: No space left on device\n"
    assert result.exit_code == 2


# events


def test_events_go_to_a_file_and_end_once(mesh, tmp_path):
    file = tmp_path / "events.jsonl"
    assert run("solve", mesh, "--json", "--events", file).exit_code == 0
    events = events_of(file.read_text())
    assert [event["event"] in ENDS for event in events].count(True) == 1
    assert events[-1]["event"] == "fem:solveComplete"
    assert {"event": "fem:meshLoaded", "data": {"nodes": 139, "elements": 36}} in events


def test_events_on_stdout_move_the_table_to_stderr(mesh):
    result = run("solve", mesh, "--events", "-")
    assert events_of(result.stdout)[-1]["event"] == "fem:solveComplete"
    assert "direct: converged" in result.stderr


def test_events_on_stdout_are_followed_by_the_json_report(mesh):
    result = run("solve", mesh, "--events", "-", "--json")
    *events, report = events_of(result.stdout)
    assert set(report) == set(KEYS)
    assert events[-1]["event"] == "fem:solveComplete"
    assert result.stderr == ""


@pytest.mark.parametrize(
    "arguments",
    [["--backend", "nupmy"], ["--solver", "magic"], ["--rtol", "0"], ["--output", "no/u.h5"], ["--gamma", "nan"]],
)
def test_events_end_with_an_error_whatever_fails(mesh, arguments):
    result = run("solve", mesh, "--events", "-", *arguments)
    events = events_of(result.stdout)
    assert [event["event"] in ENDS for event in events].count(True) == 1
    assert events[-1]["event"] == "fem:error"
    assert events[-1]["data"]["error"] in result.stderr
    assert result.exit_code in (2, 3)


# real processes


def test_nobody_waits_for_a_mesh_that_is_of_no_use(tmp_path):
    # It is read in parallel with the opening of the backend; when that fails, the shell has its prompt again.
    program = (
        "import sys, threading, time\n"
        "from fem_core.io import files\n"
        "from fem_core.run import opening\n"
        "begun, whole = threading.Event(), opening.open_backend\n"
        "files.read_unvalidated = lambda *_: print('reading', flush=True) or begun.set() or time.sleep(60)\n"
        "opening.open_backend = lambda *a, **b: begun.wait(20) and whole(*a, **b)\n"
        f"sys.argv = ['fem', 'solve', {str(tmp_path / 'mesh.h5')!r}, '--backend', 'nosuch']\n"
        "from fem_core.cli import main\n"
        "main()\n"
    )
    fem.write_mesh(fem.generate.duct(nx=2, ny=1), tmp_path / "mesh.h5")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    assert (done.stdout, done.returncode) == ("", 3)
    assert done.stderr.startswith("reading\n")  # not on stdout, which is the command's
    assert "nosuch" in done.stderr


def fem_process(*arguments: object, **options: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "fem_core", *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, **(pipes | options))


@pytest.mark.parametrize(
    ("arguments", "status"),
    [([], 0), (["--gamma", "nan"], 2), (["--backend", "nupmy"], 3), (["--solver", "cg", "--maxiter", "2"], 4)],
)
def test_exit_status_of_a_process(mesh, arguments, status):
    with fem_process("solve", mesh, *arguments) as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == status
    assert bool(out) == (status in (0, 4))
    assert err.count("\n") == (status in (2, 3))


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT to a process")
def test_ctrl_c_ends_with_130_one_line_and_a_last_event(tmp_path):
    big = fem.write_mesh(fem.generate.duct(nodes=60_000), tmp_path / "big.h5")
    events, output = tmp_path / "events.jsonl", tmp_path / "u.h5"
    arguments = ("--rtol", 1e-300, "--maxiter", 10_000_000, "--events", events, "--output", output)
    with fem_process("solve", big, *arguments) as process:
        limit = time.monotonic() + 30
        while time.monotonic() < limit and not (events.exists() and "solveProgress" in events.read_text()):
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (130, "", "fem: cancelled\n")
    kinds = [event["event"] for event in events_of(events.read_text())]
    assert [kind in ENDS for kind in kinds].count(True) == 1
    assert kinds[-1] == "fem:error"
    assert {file.name for file in tmp_path.iterdir()} == {"big.h5", "events.jsonl"}  # nothing half-written


def test_a_reader_who_leaves_gets_no_traceback(mesh):
    for arguments in (["solve", mesh], ["solve", mesh, "--json"], ["backends"], ["--help"]):
        read, write = os.pipe()
        os.close(read)
        with fem_process(*arguments, stdout=write) as process:
            os.close(write)
            _, err = process.communicate(timeout=60)
        assert err == ""
        assert process.returncode == 1


@pytest.mark.parametrize("keeps", [True, False])
def test_a_reader_of_events_who_leaves_ends_a_run_that_writes_nothing_else(mesh, tmp_path, keeps):
    read, write = os.pipe()
    os.close(read)
    output = ["-o", tmp_path / "u.h5"] if keeps else []
    with fem_process("solve", mesh, "--events", "-", *output, stdout=write) as process:
        os.close(write)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "Traceback" not in err
    assert "observer" not in err
    assert (tmp_path / "u.h5").exists() is keeps
    assert ("converged" in err) is keeps


@pytest.mark.skipif(os.name != "posix", reason="needs a terminal")
def test_bars_on_a_terminal_that_goes_away_change_no_result(mesh, tmp_path):
    terminal, stderr = os.openpty()
    arguments = ("--solver", "cg", "--rtol", 1e-300, "--maxiter", 20_000, "--output", tmp_path / "u.h5")
    with fem_process("solve", mesh, *arguments, "--plot", tmp_path / "u.png", stderr=stderr) as process:
        os.close(stderr)
        os.read(terminal, 1)  # the first bar
        os.close(terminal)
        process.communicate(timeout=60)
    assert process.returncode == 4
    assert {file.name for file in tmp_path.iterdir()} >= {"u.h5", "u.png"}


@pytest.mark.parametrize("kind", ["full", "gone"])
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_messages_that_cannot_be_written_change_no_result(mesh, tmp_path, kind):
    output = tmp_path / "u.h5"
    for arguments, status in ((["solve", mesh, "-vv", "--output", output], 0), (["solve", "none.h5"], 2), (["-x"], 2)):
        if kind == "full":
            write = os.open("/dev/full", os.O_WRONLY)
        else:
            read, write = os.pipe()
            os.close(read)
        with fem_process(*arguments, stderr=write) as process:
            os.close(write)
            out, _ = process.communicate(timeout=60)
        assert process.returncode == status
        assert bool(out) == (status == 0)
    assert fem.read_solution(output).report.converged


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_events_that_cannot_be_written_are_an_error(mesh):
    result = run("solve", mesh, "--events", "/dev/full")
    assert result.exit_code == 2
    assert the_line(result).strip() == "fem: error: /dev/full: No space left on device"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_one_line(mesh):
    with open("/dev/full", "w") as full, fem_process("solve", mesh, stdout=full) as process:
        _, err = process.communicate(timeout=60)
    assert err == "fem: error: No space left on device\n"
    assert process.returncode == 2


@pytest.mark.skipif(os.name != "posix", reason="limits the size of files")
def test_a_result_that_does_not_fit_is_one_line_and_leaves_nothing(tmp_path):
    import resource

    big = fem.write_mesh(fem.generate.duct(nodes=5_000), tmp_path / "big.h5")

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))

    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}  # or Python would leave bytecode that was cut off
    arguments = ["solve", big, "--solver", "direct", "-o", tmp_path / "u.h5"]
    with fem_process(*arguments, env=environment, preexec_fn=limit) as process:
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (2, "")
    assert err == f"fem: error: {tmp_path / 'u.h5'}: {os.strerror(27)}\n"
    assert [file.name for file in tmp_path.iterdir()] == ["big.h5"]


# progress on a terminal


class Recorder:
    """Stands for rich's Progress."""

    def __init__(self) -> None:
        self.shown: list[str] = []
        self.completed: list[float] = []

    def add_task(self, description: str, total: float | None, detail: str) -> int:
        self.shown.append(description.strip())
        return len(self.shown)

    def update(self, task: int, **fields: object) -> None:
        if "detail" in fields:
            self.shown.append(str(fields["detail"]))
        if "completed" in fields:
            self.completed.append(float(str(fields["completed"])))

    def stop(self) -> None:
        self.shown.append("stopped")


def test_bars_show_iterations_by_the_decay_of_the_residual():
    recorder = Recorder()
    with progress.Bars(rtol=1e-8) as bars:
        bars._progress = recorder  # type: ignore[assignment]
        bars.fem_stage_start("solve_system", "core")
        bars.fem_solve_progress(50, 1e-4, 12.2)
        bars.fem_solve_progress(100, 3.0, None)
        bars.fem_solve_progress(150, 1e-9, 200.0)
        bars.fem_stage_complete("solve_system", "core", 1.5)
    assert recorder.shown == [
        "solve_system",
        "iteration 50, residual 1.0e-04, about 13 s left",
        "iteration 100, residual 3.0e+00",
        "iteration 150, residual 1.0e-09, about 3 min left",
        "1.5 s by core",
        "stopped",
    ]
    assert recorder.completed == pytest.approx([0.5, 0.0, 1.0, 1.0])


def test_no_bars_if_their_thread_cannot_start(monkeypatch):
    import rich.live

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    def refuse(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setattr(rich.live._RefreshThread, "start", refuse)
    with progress.Bars() as bars:
        bars.begin("solve_system")
        assert bars._progress is None


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
def test_a_terminal_gets_bars_on_stderr_and_stdout_stays_clean(mesh):
    import pty

    mine, theirs = pty.openpty()
    with fem_process("solve", mesh, "--json", stderr=theirs) as process:
        os.close(theirs)
        assert process.stdout is not None
        drawn = b""
        try:  # before stdout: a terminal that nobody reads stops the process
            while piece := os.read(mine, 65536):
                drawn += piece
        except OSError:  # Linux says so when the other end is closed
            pass
        report = json.loads(process.stdout.read())
    os.close(mine)
    assert report["solver"]["converged"]
    assert b"compute_derived" in drawn


# backends


def test_backends_are_listed_with_what_they_can_do():
    text = run("backends").stdout
    assert re.search("^baseline +ready +fem-core", text, re.MULTILINE)
    assert "--option kernel=vectorized" in text


def test_backends_as_json_have_the_promised_keys():
    listed = json.loads(run("backends", "--json").stdout)
    assert [one["name"] for one in listed][:2] == ["baseline", "numpy"]
    for one in listed:
        assert {"name", "state", "reason", "distribution", "device", "stages", "solver_methods", "options"} <= set(one)
    options = {option["name"]: option for option in listed[1]["options"]}
    assert options["kernel"]["choices"] == ["vectorized", "loop"]


def test_a_probe_solves_a_duct_in_another_process():
    listed = json.loads(run("backends", "--json", "--probe").stdout)
    numpy = next(one for one in listed if one["name"] == "numpy")
    assert numpy["probe"] == {"works": True, "reason": ""}


# plugins


def plugin(*commands: object) -> object:
    class Commands:
        @fem.plugins.hookimpl
        def fem_cli_commands(self):
            return list(commands)

    return Commands()


@pytest.fixture
def registered():
    added = []

    def add(one: object) -> None:
        fem.plugins.register_plugin(one)
        added.append(one)

    yield add
    for one in added:
        fem.plugins.unregister_plugin(one)
    REGISTRY.plugin_failures.clear()


def test_plugins_add_commands(registered):
    @click.command(short_help="Say hello.")
    def greet():
        click.echo("hello")

    registered(plugin(greet))
    assert "From plugins:\n  greet  Say hello.\n" in run("--help").stdout
    assert run("greet").stdout == "hello\n"


def test_a_plugin_cannot_take_the_place_of_a_command(registered):
    @click.command("solve")
    def other():
        pytest.fail("the plugin's command ran")

    registered(plugin(other))
    result = run("solve", "nowhere.h5")
    assert result.exit_code == 2


@pytest.mark.parametrize(
    "source",
    [
        "raise ImportError('no such library')",
        "raise SystemExit(3)",
        "import fem_core\n@fem_core.plugins.hookimpl\ndef fem_cli_commands():\n    return ['no command']",
        "import fem_core\n@fem_core.plugins.hookimpl\ndef fem_cli_commands():\n    raise SystemExit(3)",
        "import fem_core\n@fem_core.plugins.hookimpl\ndef fem_cli_comands():\n    return []",
    ],
)
def test_a_broken_plugin_does_not_break_the_help(tmp_path, source):
    shelf = Shelf(tmp_path)
    shelf.add("fem-broken", {"fem_broken.py": source}, {"broken": "fem_broken"}, group="fem.plugins")
    result = shelf.run("-m", "fem_core", "--help")
    assert result.returncode == 0
    assert "Solve the flow on a mesh." in result.stdout
    assert "broken" in result.stderr
    assert "Traceback" not in result.stderr


def test_broken_backends_are_listed_with_the_reason(tmp_path):
    shelf = Shelf(tmp_path)
    shelf.backend("ill", info="raise ImportError('no such library')")
    listed = json.loads(shelf.run("-m", "fem_core", "backends", "--json").stdout)
    ill = next(one for one in listed if one["name"] == "ill")
    assert ill["state"] == "failed"
    assert "no such library" in ill["reason"]
    result = shelf.run("-m", "fem_core", "solve", "x.h5", "--backend", "ill")
    assert result.returncode == 3
    assert "no such library" in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_backend_that_hangs_or_crashes_fails_its_probe_only(tmp_path):
    shelf = Shelf(tmp_path)
    shelf.backend("hangs", backend="import time\nclass Fake:\n    def __init__(self):\n        time.sleep(60)\n")
    shelf.backend("crashes", backend="import os\nclass Fake:\n    def __init__(self):\n        os.abort()\n")
    result = shelf.run("-m", "fem_core", "backends", "--json", "--probe", "--timeout", "5")
    probes = {one["name"]: one["probe"] for one in json.loads(result.stdout) if one["state"] == "ready"}
    assert probes["numpy"]["works"]
    assert probes["hangs"] == {"works": False, "reason": "its probe didn't end within 5 s"}
    assert "SIGABRT" in probes["crashes"]["reason"]


# meshes


@pytest.mark.parametrize("shape", list(fem.generate.SHAPES))
def test_every_shape_is_made_and_solvable(shape, tmp_path):
    file = tmp_path / "mesh.h5"
    result = run("mesh", shape, "--nodes", 600, "-o", file)
    assert result.exit_code == 0
    mesh = fem.read_mesh(file)
    assert f"{mesh.n_nodes:,} nodes, {mesh.n_elements:,} elements" in result.stdout
    assert run("solve", file).exit_code == 0


def test_parameters_of_a_shape_are_options(tmp_path):
    file = tmp_path / "duct.h5"
    assert run("mesh", "duct", "--length", 4, "--nx", 5, "--ny", 2, "--output", file).exit_code == 0
    mesh = fem.read_mesh(file)
    assert (mesh.x.max(), mesh.n_elements) == (4.0, 10)
    text = run("mesh", "y-tube", "--help").stdout
    assert "--stem-width FLOAT" in text
    assert "Width of the stem, in metres." in text


def test_a_mesh_that_is_refused_leaves_the_old_file(tmp_path):
    file = tmp_path / "duct.h5"
    file.write_text("old")
    assert run("mesh", "duct", "--length", -1, "-o", file).exit_code == 2
    assert file.read_text() == "old"


# demo


@pytest.fixture
def demo(tmp_path: Path) -> Callable[..., Result]:
    pytest.importorskip("matplotlib")
    return lambda *more: run("demo", "--nodes", 800, "--folder", tmp_path, *more)


def test_the_demo_writes_a_picture_and_a_result_and_says_what_next(demo, tmp_path):
    result = demo()
    assert result.exit_code == 0, result.stderr
    assert (tmp_path / "fem-demo.png").read_bytes().startswith(b"\x89PNG")
    assert fem.read_mesh(tmp_path / "fem-demo.h5").n_nodes > 600
    assert "Next commands to try" in result.stdout


def test_the_commands_that_the_demo_proposes_work(demo):
    lines = [line.strip() for line in demo().stdout.split("Next commands to try")[1].splitlines()]
    proposed = [line.removeprefix("fem ").split() for line in lines if line.startswith("fem ")]
    assert len(proposed) >= 5
    for arguments in proposed:
        result = run(*arguments)
        assert result.exit_code == 0, (arguments, result.stderr)


def test_the_demo_goes_on_without_matplotlib(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    result = run("demo", "--nodes", 800, "--folder", tmp_path)
    assert result.exit_code == 0
    assert "pip install matplotlib" in result.stdout
    assert [file.name for file in tmp_path.iterdir()] == ["fem-demo.h5"]


# verify


@pytest.fixture
def kit(monkeypatch):
    """A conformance kit of three checks, one of which fails with the option fail=yes."""
    asked = {}

    def verify(backend, *, options, checks, examples, thorough, on_result):
        asked.update(backend=backend, options=dict(options), checks=checks, examples=examples, thorough=thorough)
        outcomes = [("matrix", "failed" if options else "passed", "entry (1, 2)\nis off"), ("events", "skipped", "why")]
        results = [CheckResult(*outcome, seconds=0.5) for outcome in outcomes]
        for result in results if on_result else ():
            on_result(result)
        return results

    module = ModuleType("fem_core.testing")
    module.verify = verify  # type: ignore[attr-defined]
    module.not_looked_at = lambda results: [f"what {len(results)} checks leave out"]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "fem_core.testing", module)
    return asked


def test_verify_shows_each_check_and_passes(kit):
    result = run(
        "verify", "--backend", "numpy", "--examples", 7, "--check", "matrix", "--check", "events", "--thorough"
    )
    assert result.exit_code == 0
    checks = ["matrix", "events"]
    assert kit == {"backend": "numpy", "options": {}, "checks": checks, "examples": 7, "thorough": True}
    assert "Not looked at:\n  what 2 checks leave out" in result.stdout
    assert "passed           matrix" in result.stdout
    assert "numpy was checked in part: 1 passed, 1 skipped" in result.stdout


def test_verify_fails_with_1_and_shows_the_detail(kit):
    result = run("verify", "--backend", "numpy", "--option", "kernel=loop")
    assert result.exit_code == 1
    assert "    entry (1, 2)\n    is off\n" in result.stdout
    assert "numpy does not conform" in result.stdout


def test_verify_as_json_is_one_object(kit):
    result = run("verify", "--backend", "numpy", "--option", "kernel=loop", "--json")
    verdict = json.loads(result.stdout)
    assert result.exit_code == 1
    assert verdict["conforms"] is False
    assert verdict["counts"] == {"passed": 0, "failed": 1, "skipped": 1, "expected failure": 0}
    assert verdict["checks"][0]["name"] == "matrix"
    assert verdict["not_looked_at"] == ["what 2 checks leave out"]


def test_verify_without_hypothesis_says_what_to_install(monkeypatch):
    monkeypatch.delitem(sys.modules, "fem_core.testing", raising=False)
    for name in [name for name in sys.modules if name.startswith("fem_core.testing.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    result = run("verify", "--backend", "numpy")
    assert result.exit_code == Status.USAGE
    assert "pip install hypothesis pytest" in the_line(result)


@pytest.mark.parametrize("name", ["solve", "check", "bench", "tune"])
def test_a_mesh_is_understood_alike_by_all_commands(name):
    # The way out that a refusal names is one of the command that was refused.
    command = command_line.get_command(click.Context(command_line), name)
    assert {one.name for one in command.params} >= ReadOptions.__annotations__.keys()


def test_bench_on_a_mesh_that_names_other_boundaries(tmp_path):
    mesh = fem.generate.duct(nx=4, ny=2)
    named = fem.write_mesh(replace(mesh, boundaries={"left": mesh.boundaries["inlet"]}), tmp_path / "m.h5")
    arguments = ["bench", named, "--backend", "numpy", "--repeats", "1", "--iterations", "2"]
    assert "--by-position" in run(*arguments).stderr
    assert run(*arguments, "--by-position").exit_code == 0
