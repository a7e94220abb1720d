"""What the command line does first: nothing comes from the current folder, and Ctrl-C has an answer from the start."""

import importlib.metadata
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from fem_core.support import launch
from places import ROOT

#: Standard modules that `python -m` itself imports before it starts our code.
OF_PYTHON = {
    "collections", "contextlib", "functools", "importlib", "keyword", "operator", "reprlib", "types", "warnings",
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with modules that say that they were imported, under the names of all that there is."""
    names = (set(sys.stdlib_module_names) | set(importlib.metadata.packages_distributions())) - {"fem_core"}
    planted = tmp_path / "planted"
    planted.mkdir()
    for name in names - OF_PYTHON:
        (planted / f"{name}.py").write_text(
            f"open('imported', 'a').write({name!r} + '\\n')\nraise SystemExit({name!r})\n"
        )
    return planted


@pytest.fixture
def script(tmp_path: Path) -> list[str]:
    """The script `fem`, as an installer writes it."""
    path = tmp_path / "scripts" / "fem"
    path.parent.mkdir()
    path.write_text("import sys\nfrom fem_core.cli import main\nif __name__ == '__main__':\n    sys.exit(main())\n")
    return [sys.executable, str(path)]


def ask(command: list[str], folder: Path, **settings: str) -> "subprocess.CompletedProcess[str]":
    """Run a command in a folder."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"} | settings
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("how", ["script", "module"])
@pytest.mark.parametrize(
    "arguments", ["doctor --no-probe", "bench --nodes 500 --repeats 1 --one-thread --backend numpy"]
)
def test_nothing_is_imported_from_the_current_folder(folder, script, how, arguments):
    command = script if how == "script" else [sys.executable, "-m", "fem_core"]
    done = ask([*command, *arguments.split()], folder)
    assert not (folder / "imported").exists(), (folder / "imported").read_text()
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("named", [[], ["else"]])
@pytest.mark.parametrize("how", ["script", "module"])
def test_an_empty_entry_of_pythonpath_is_not_the_current_folder(folder, tmp_path, script, how, named):
    # `export PYTHONPATH=$PYTHONPATH:folder` makes one. What Python itself imports before our code is its affair.
    before = ask([sys.executable, "-c", "import sys; print(*sys.modules)"], tmp_path).stdout.split()
    for name in (*before, "sitecustomize", "usercustomize"):
        (folder / f"{name}.py").unlink(missing_ok=True)
    assert {"signal.py", "numpy.py", "json.py"} <= set(os.listdir(folder))
    command = script if how == "script" else [sys.executable, "-m", "fem_core"]
    entries = ["", "", *(str(tmp_path / name) for name in named)]
    done = ask([*command, "doctor", "--no-probe"], folder, PYTHONPATH=os.pathsep.join(entries))
    assert not (folder / "imported").exists(), (folder / "imported").read_text()
    assert (done.returncode, done.stderr) == (0, "")


def test_a_folder_that_pythonpath_names_is_searched(tmp_path, script):
    (tmp_path / "numpy.py").write_text("raise SystemExit('found')\n")
    for named in (".", str(tmp_path)):
        done = ask([*script, "doctor", "--no-probe"], tmp_path, PYTHONPATH=os.pathsep.join(["", named]))
        assert done.stderr == "found\n"


def test_a_program_may_import_from_the_folder_where_it_is(tmp_path):
    # Only the command line leaves the folder out. A script's own folder is the script's affair, also with `-m`.
    (tmp_path / "helper.py").write_text("value = 7\n")
    (tmp_path / "own.py").write_text("import fem_core, helper\nprint(helper.value)\n")
    for command in ([sys.executable, "own.py"], [sys.executable, "-m", "own"]):
        assert ask(command, tmp_path).stdout == "7\n"


def test_every_python_process_is_started_in_one_way():
    # `sys.executable` elsewhere would be a process that searches the current folder first.
    allowed = {"launch.py", "wording.py", "demo.py", "machine.py"}  # the last three only print it
    sources = [*ROOT.glob("core/src/**/*.py"), *ROOT.glob("plugins/*/src/**/*.py")]
    found = {path.name for path in sources if "sys.executable" in path.read_text(encoding="utf-8")}
    assert found == allowed


def test_a_program_is_not_searched_in_relative_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = "tool.exe" if sys.platform == "win32" else "tool"
    for place in (tmp_path, tmp_path / "bin"):
        place.mkdir(exist_ok=True)
        (place / name).touch(mode=0o755)
    monkeypatch.setenv("PATH", os.pathsep.join([".", "bin"]))
    assert launch.program("tool") is None
    monkeypatch.setenv("PATH", os.pathsep.join([".", str(tmp_path / "bin")]))
    assert launch.program("tool") == str(tmp_path / "bin" / name)


@pytest.mark.skipif(sys.platform == "win32", reason="sends a signal to itself")
@pytest.mark.parametrize("how", ["script", "module"])
@pytest.mark.parametrize("module", ["numpy", "pluggy", "click"])
def test_ctrl_c_during_imports_is_cancelled(tmp_path, script, how, module):
    early = tmp_path / "early"
    early.mkdir()
    (early / f"{module}.py").write_text("import signal, time\nsignal.raise_signal(signal.SIGINT)\ntime.sleep(60)\n")
    command = script if how == "script" else [sys.executable, "-m", "fem_core"]
    done = ask([*command, "backends"], tmp_path, PYTHONPATH=str(early))
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "fem: cancelled\n")


@pytest.mark.skipif(sys.platform == "win32", reason="sends a signal to itself")
def test_ctrl_c_in_another_program_stays_its_own(tmp_path):
    program = tmp_path / "program.py"
    program.write_text("import fem_core, signal\nsignal.raise_signal(signal.SIGINT)\n")
    done = ask([sys.executable, str(program)], tmp_path)
    assert done.returncode == -signal.SIGINT
    assert re.search(r"^KeyboardInterrupt", done.stderr, re.MULTILINE)


def test_exceptions_of_the_command_line_keep_their_traceback(tmp_path, script):
    (tmp_path / "click.py").write_text("raise ZeroDivisionError('broken')\n")
    done = ask([*script, "backends"], tmp_path, PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "ZeroDivisionError: broken"
