"""Plugins that go wrong, through the command line: each is named and isolated, everything else goes on working.

Rows 16 and 23 of the table of faults. That each contract is checked is tested with its module; here it is
what a user sees: exit status, one line, nothing half-written.
"""

import json
from pathlib import Path

import fem_core as fem
import pytest
from fakes.distributions import Shelf

#: A backend's hook `fem_assemble`, given what the core assembles as `system`.
BACKEND = """
    import fem_core as fem
    import numpy as np

    class Fake(fem.plugins.Backend):
        @fem.plugins.hookimpl
        def fem_assemble(self, mesh, problem, sparsity, progress):
            system = fem.assemble_system(mesh, problem, sparsity)
            {fault}
            return system
"""

INFO = """
    from fem_core.plugins import BackendInfo

    INFO = BackendInfo("{name}", "", "{package}.backend:Fake", ("assemble_system",), rank=99, api_version={version})
"""

#: What is wrong, the backend's files, and what the line says of it.
FAULTS = {
    "import": ({"info": "raise ImportError('no such library')"}, "failed: ImportError: no such library"),
    "factory": (
        {"backend": "raise OSError('no such device')", "info": INFO.replace("{version}", "1")},
        "failed to load: OSError: no such device",
    ),
    "api version": ({"info": INFO.replace("{version}", "7")}, "made for version 7 of the backend API"),
    "raises": ({"fault": "raise ZeroDivisionError('in the hook')"}, "ZeroDivisionError: in the hook"),
    "nothing": ({"fault": "return None"}, "returned None"),
    "shape": ({"fault": "system = fem.LinearSystem(system.matrix, system.rhs[1:])"}, "assemble_system"),
    "type": ({"fault": "system.matrix.data = system.matrix.data.astype('float32')"}, "float32"),
    "not a number": ({"fault": "system.matrix.data[3] = np.nan"}, "NaN"),
}


@pytest.fixture
def mesh(tmp_path: Path) -> Path:
    return fem.write_mesh(fem.generate.duct(length=3, nx=12, ny=3), tmp_path / "duct.h5")


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "shelf")


def solve(shelf: Shelf, mesh: Path, *arguments: object):
    return shelf.run("-m", "fem_core", "solve", str(mesh), *map(str, arguments))


@pytest.mark.parametrize("name", FAULTS)
def test_a_backend_that_goes_wrong_is_named_in_one_line(name, shelf, mesh, tmp_path):
    files, said = FAULTS[name]
    files = {"backend": BACKEND.replace("{fault}", files["fault"])} if "fault" in files else files
    shelf.backend("wrong", **files)
    output = tmp_path / "u.h5"
    result = solve(shelf, mesh, "--backend", "wrong", "-o", output)
    assert result.returncode == 3, result.stderr
    assert (result.stdout, result.stderr.count("\n")) == ("", 1)
    assert result.stderr.startswith("fem: error: ")
    assert "wrong" in result.stderr
    assert said in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["duct.h5", "shelf"]


def test_other_backends_are_unaffected_and_auto_says_what_it_passed_over(shelf, mesh):
    for name in ("import", "factory", "api version"):
        shelf.backend(name.replace(" ", "-"), **FAULTS[name][0])
    report = json.loads(solve(shelf, mesh, "--json").stdout)
    assert report["solver"]["converged"]
    assert report["solution"]["u_max"] == pytest.approx(7.5)
    passed = {line.split(": ")[0] for line in report["warnings"]}
    assert {"auto skipped factory", "auto skipped api-version"} <= passed


OBSERVER = """
    import time
    import fem_core as fem

    @fem.plugins.hookimpl
    def fem_solve_progress(iteration):
        {fault}

    @fem.plugins.hookimpl
    def fem_stage_complete(stage):
        {fault}
"""


def observer(shelf: Shelf, fault: str) -> None:
    source = OBSERVER.replace("{fault}", fault)
    shelf.add("fem-watching", {"fem_watching.py": source}, {"watching": "fem_watching"}, group="fem.plugins")


def test_an_observer_that_raises_is_switched_off_with_one_warning(shelf, mesh, tmp_path):
    # The solve is untouched, to the last bit, and so are its status and what is written.
    output = tmp_path / "u.h5"
    observer(shelf, "raise ValueError('no room')")
    result = solve(shelf, mesh, "--json", "-o", output, "--backend", "numpy", "--solver", "cg")
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    told = [line for line in report["warnings"] if "watching" in line]
    assert len(told) == 1
    assert "ValueError: no room" in told[0]
    assert fem.read_mesh(output).n_elements == 36
    assert report["solution"]["u_max"] == fem.solve(mesh, backend="numpy", solver="cg").u.max()


def test_a_slow_observer_is_throttled(shelf, tmp_path):
    # Told of every one of some 300 iterations it would hold the run up for 30 s.
    big = fem.write_mesh(fem.generate.duct(length=8, nx=96, ny=12), tmp_path / "big.h5")
    observer(shelf, "time.sleep(0.1)")
    report = json.loads(solve(shelf, big, "--json", "--monitor", 1, "--backend", "numpy", "--solver", "cg").stdout)
    assert report["solver"]["converged"]
    assert report["solver"]["iterations"] > 250
    assert report["stages"]["solve_system"] < 5
