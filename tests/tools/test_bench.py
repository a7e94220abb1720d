"""Timing side by side: nothing is timed before it is known to be the same thing."""

import json

import fem_core as fem
import pytest
from click.testing import CliRunner
from fakes import planted
from fakes.planted_faults import DroppedGaussPoint
from fem_core.cli import fem as command
from fem_core.tools import bench


def test_cases_take_turns_and_the_warm_up_is_not_counted():
    order = []
    timings = bench.side_by_side({name: lambda name=name: order.append(name) for name in "ab"}, repeats=3, warmup=1)
    assert order == list("abababab")
    assert [len(timing.seconds) for timing in timings.values()] == [3, 3]


def test_backends_are_timed_by_stage_and_iteration():
    mesh = fem.generate.duct(nx=8, ny=4)
    comparison = bench.compare_backends(["numpy", "baseline"], mesh, repeats=2, iterations=5)
    for row in comparison.timings.values():
        assert set(row) == {*bench.STAGES, "cg iteration"}
    assert 0 <= comparison.equality["baseline"] < 1e-13


def test_a_backend_with_another_matrix_is_not_timed(monkeypatch):
    wrong = planted.info(DroppedGaussPoint)
    monkeypatch.setitem(fem.plugins.REGISTRY._registered, wrong.name, wrong)
    with pytest.raises(fem.BackendError, match="builds a different matrix"):
        bench.compare_backends(["numpy", wrong.name], fem.generate.duct(nx=3, ny=2))


def test_a_backend_that_cannot_be_opened_is_left_out_unless_it_was_named(monkeypatch):
    # A GPU's libraries may be installed where there is no GPU: nothing else is held up by that.
    class Closed(fem.plugins.Backend):
        def open(self):
            raise fem.BackendUnavailable("there is no GPU")

    monkeypatch.setattr(bench, "closed", Closed, raising=False)
    gone = fem.plugins.BackendInfo("gone", "", "fem_core.tools.bench:closed", stages=())
    monkeypatch.setitem(fem.plugins.REGISTRY._registered, "gone", gone)
    mesh = fem.generate.duct(nx=3, ny=2)
    with pytest.raises(fem.BackendUnavailable, match="there is no GPU"):
        bench.compare_backends(["numpy", "gone"], mesh)
    comparison = bench.compare_backends(["numpy", "gone"], mesh, repeats=1, strict=False)
    assert list(comparison.timings) == ["numpy"]
    assert comparison.to_dict()["left_out"] == {"gone": "there is no GPU"}
    with pytest.raises(fem.BackendUnavailable, match="no backend can be opened"):
        bench.compare_backends(["gone"], mesh, strict=False)
    monkeypatch.setenv("FEM_DISABLE", "cuda,cupy,mp,mp-shm,numba,threads")
    shown = CliRunner().invoke(command, ["bench", "--nodes", "500", "--repeats", "1", "--iterations", "2"])
    assert shown.stdout.endswith("left out gone: there is no GPU\n")


def test_peak_memory_is_that_of_the_other_process():
    small = bench.peak_memory("pass")
    large = bench.peak_memory("import sys; block = bytearray(int(sys.argv[1]))", str(200_000_000))
    assert 195 < large - small < 220


def test_the_figures_come_with_the_machine(tmp_path):
    bench.write_json(tmp_path / "figures.json", {"timings": bench.side_by_side({"nothing": lambda: None}, repeats=1)})
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["machine"]["versions"]["fem-core"] == fem.__version__
    assert figures["timings"]["nothing"]["median"] >= 0


def test_fem_bench_prints_a_table_and_json():
    arguments = ["bench", "--nodes", "500", "--repeats", "1", "--iterations", "3"]
    shown = CliRunner().invoke(command, [*arguments, "--backend", "numpy", "--backend", "baseline"])
    assert shown.exit_code == 0
    assert "assemble_system" in shown.stdout
    printed = CliRunner().invoke(command, [*arguments, "--backend", "numpy", "--json"])
    assert json.loads(printed.stdout)["seconds"]["numpy"]["cg iteration"] > 0
