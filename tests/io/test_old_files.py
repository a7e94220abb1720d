"""Files that version 1.0.0 wrote, before results had a version: later versions read the same meshes and results."""

import json
from dataclasses import dataclass, field

import fem_core as fem
import h5py
import numpy as np
import pytest
from places import DATA

FILES = DATA / "1.0"
MESHES = [f"mesh{suffix}" for suffix in (".h5", ".npz", ".msh", ".vtu", ".inp", ".xlsx")]
RESULTS = [f"result{suffix}" for suffix in (".h5", ".npz", ".vtu")]


@pytest.mark.parametrize("name", MESHES + RESULTS)
def test_a_mesh_is_read_with_its_boundaries(name):
    if name.endswith(".xlsx"):
        pytest.importorskip("openpyxl")
    found = fem.read_mesh(FILES / name)
    with np.load(FILES / "mesh.npz") as arrays:
        assert np.array_equal(found.quad8, arrays["quad8"])
        for axis in ("x", "y"):  # a workbook's millimetres may cost the last digit
            np.testing.assert_allclose(getattr(found, axis), arrays[axis], rtol=1e-15, atol=0)
        assert set(found.boundaries) == {"inlet", "outlet", "walls"}
        for one, boundary in found.boundaries.items():
            assert set(boundary.nodes) == set(arrays[f"boundaries/{one}/nodes"])
            assert len(boundary.edges) == len(arrays[f"boundaries/{one}/edges"])


def test_a_result_is_read():
    found = fem.read_solution(FILES / "result.h5")
    with np.load(FILES / "result.npz") as arrays:
        for name in ("u", "velocity", "speed", "pressure"):
            assert np.array_equal(getattr(found, name), arrays[name])
    assert found.report.converged
    assert found.report.iterations == found.report.history[-1][0]
    assert found.report.providers["assemble_system"] == "numpy"
    assert found.report.versions["fem-core"] == "1.0.0"


@pytest.mark.parametrize("name", ["result.csv", "result.nodes.csv"])
def test_tables_have_the_columns_that_they_had(tmp_path, name):
    """What spreadsheets and scripts rely on."""
    then, now = FILES / name, fem.read_solution(FILES / "result.h5").write(tmp_path / name)
    assert now.read_text().partition("\n")[0] == then.read_text().partition("\n")[0]
    tables = [np.loadtxt(path, delimiter=",", skiprows=1) for path in (now, then)]
    np.testing.assert_allclose(*tables, rtol=1e-13, atol=1e-13)


def test_what_a_report_did_not_have_yet_has_its_default():
    @dataclass(frozen=True)
    class Later(fem.Report):
        flows: tuple = ()
        kinds: dict = field(default_factory=dict)

    with h5py.File(FILES / "result.h5") as file:
        text = file["solution"].attrs["report"]
    found = Later.from_dict(json.loads(text))
    assert (found.flows, found.kinds) == ((), {})
    assert found.to_dict() == fem.read_solution(FILES / "result.h5").report.to_dict()
    with pytest.raises(KeyError, match="providers"):
        Later.from_dict({key: value for key, value in json.loads(text).items() if key != "providers"})


def test_a_partial_result_is_read_with_its_problem():
    """Every kind of coefficient, and the flag that says how far the solver came."""
    found = fem.read_solution(FILES / "partial.h5")
    mesh = found.mesh
    with np.load(FILES / "partial.npz") as arrays:
        for name in ("u", "velocity", "speed", "pressure"):
            assert np.array_equal(getattr(found, name), arrays[name])
    assert not found.report.converged
    assert len(found.report.warnings) == 1
    inflow, held = found.problem.conditions
    inlet, outlet = mesh.boundaries["inlet"].nodes, mesh.boundaries["outlet"].nodes
    assert isinstance(inflow, fem.Robin)
    assert np.array_equal(np.asarray(inflow.gamma)[inlet], 2 + mesh.y[inlet])
    assert np.array_equal(inflow.p, np.linspace(0, 1, mesh.n_nodes))
    assert isinstance(held, fem.Dirichlet)
    assert np.array_equal(np.asarray(held.value)[outlet], mesh.y[outlet])
    assert np.array_equal(found.problem.conductivity, np.linspace(1, 2, mesh.n_elements))
    assert np.array_equal(found.problem.source, mesh.x * mesh.y)
    assert found.problem.dirichlet == "eliminate"
    assert found.problem.fluid == fem.Fluid(p0=2e5, rho=998.0)
