"""Plugins while they are loaded: stdout stays the command's, folder and streams are put back, the slow are named."""

import json
import logging
import os
import sys
import threading
import time

import fem_core as fem
import pytest
from fakes.distributions import Shelf
from fem_core.plugins import manners

PRINTER = """
    import os, sys
    print("printed", flush=True)
    sys.__stdout__.write("scribbled")
    os.write(1, b"raw")
    os.system("echo from a child")
"""

#: What a plugin does, and what is said about it.
DEEDS = {
    "import os; os.chdir(os.sep)": "left the current folder",
    "import sys; sys.stdout.close(); sys.stderr.close()": "",
    "import os; os.close(1); os.close(2)": "closed or replaced stdout",
    "import os; os.dup2(os.open(os.devnull, os.O_WRONLY), 1)": "closed or replaced stdout",
    "import os; os.closerange(0, 100)": "closed or replaced stderr",
}


@pytest.fixture
def shelf(tmp_path):
    shelf = Shelf(tmp_path / "site")
    shelf.folder.mkdir()
    return shelf


@pytest.fixture
def mesh(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return fem.write_mesh(fem.generate.duct(length=3, nx=4, ny=2), tmp_path / "duct.h5").name


def test_what_a_backend_prints_goes_to_stderr_and_json_stays_json(shelf, mesh):
    hook = """
    import os
    import fem_core as fem

    class Fake(fem.plugins.Backend):
        @fem.plugins.hookimpl
        def fem_assemble(self, mesh, problem, sparsity, progress):
            print("assembling", flush=True)
            os.write(1, b"raw")
            return fem.assemble_system(mesh, problem, sparsity, backend="baseline")
    """
    shelf.backend("printer", init=PRINTER, backend=hook)
    listed = shelf.run("-m", "fem_core", "backends", "--json")
    assert "printer" in [one["name"] for one in json.loads(listed.stdout)]
    done = shelf.run("-m", "fem_core", "solve", mesh, "--backend", "printer", "--json")
    assert json.loads(done.stdout)["backend"] == "printer"
    for text in ("printed", "scribbled", "raw", "from a child", "assembling"):
        assert text in done.stderr
    for target in ("-", "/dev/stdout"):
        done = shelf.run("-m", "fem_core", "solve", mesh, "--backend", "printer", "--events", target)
        assert [json.loads(line)["event"] for line in done.stdout.splitlines()][-1] == "fem:solveComplete"


def test_what_an_always_on_plugin_prints_goes_to_stderr(shelf):
    shelf.add("fake-noise", {"fake_noise.py": PRINTER}, {"noise": "fake_noise"}, "fem.plugins")
    for command in (["--help"], ["mesh", "duct", "--help"], ["--version"]):
        done = shelf.run("-m", "fem_core", *command)
        assert done.returncode == 0
        assert not {"printed", "scribbled", "raw", "from a child"} & set(done.stdout.split())


def test_the_command_of_a_plugin_has_stdout(shelf):
    source = """
    import os
    import click
    import fem_core as fem

    print("at import")

    @click.command("hello")
    def hello():
        print("printed")
        click.echo("echoed")
        os.system("echo from a child")

    @fem.plugins.hookimpl
    def fem_cli_commands():
        return [hello]
    """
    shelf.add("fake-hello", {"fake_hello.py": source}, {"hello": "fake_hello"}, "fem.plugins")
    done = shelf.run("-m", "fem_core", "hello")
    assert (done.returncode, sorted(done.stdout.split("\n"))) == (0, ["", "echoed", "from a child", "printed"])
    assert done.stderr == "at import\n"
    assert shelf.run("-m", "fem_core", "hello", "--help").stdout.startswith("Usage: fem hello")


@pytest.mark.skipif(os.name != "posix", reason="Windows doesn't tell whether two descriptors are of the same file")
@pytest.mark.parametrize("deed", DEEDS)
def test_folder_and_streams_are_put_back(shelf, mesh, deed):
    shelf.backend("rude", init=deed)
    done = shelf.run("-m", "fem_core", "backends", "--json")
    assert "rude" in [one["name"] for one in json.loads(done.stdout)]
    assert DEEDS[deed] in done.stderr
    assert ("'rude' of fake-rude 1.0" in done.stderr) == bool(DEEDS[deed])
    assert "'numpy'" not in done.stderr  # nobody else is accused
    if "closerange" not in deed:  # which also closes the mesh that is being read
        done = shelf.run("-m", "fem_core", "solve", mesh, "--backend", "rude", "-o", "result.h5")
        assert "wrote result.h5" in done.stdout
        assert fem.read_solution("result.h5").report.converged


def test_one_that_takes_long_is_named(monkeypatch, caplog):
    monkeypatch.setattr(manners, "SLOW", 0.05)
    with caplog.at_level(logging.WARNING), manners.watched("plugin 'slow' of fake-slow 1.0", "slow"):
        deadline = time.monotonic() + 20
        while not caplog.messages and time.monotonic() < deadline:
            time.sleep(0.01)
    assert caplog.messages == [
        "plugin 'slow' of fake-slow 1.0 is still loading after 0.05 s; set FEM_DISABLE=slow to do without it"
    ]


def test_one_that_is_quick_leaves_nothing_behind(caplog):
    before, threads = sorted(os.listdir("/dev/fd")) if os.path.isdir("/dev/fd") else [], threading.active_count()
    streams = sys.stdout, sys.stderr
    with pytest.raises(ValueError, match="as it is"), manners.watched("plugin 'quick'", "quick"):
        raise ValueError("as it is")
    assert (sys.stdout, sys.stderr) == streams
    assert threading.active_count() == threads
    assert (sorted(os.listdir("/dev/fd")) if before else []) == before
    assert not caplog.messages


def test_a_deleted_folder_is_no_fault_of_a_plugin(tmp_path, monkeypatch, caplog):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    if os.name == "posix":
        (tmp_path / "gone").rmdir()
    with manners.watched("plugin 'good'", "good"):
        pass
    assert not caplog.messages


def test_a_plugin_is_loaded_where_no_thread_can_start(monkeypatch):
    monkeypatch.setattr(manners, "start", lambda work, name: None)
    done = []
    with manners.watched("plugin 'good'", "good"):
        done.append("loaded")
    assert done
