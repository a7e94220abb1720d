"""Files with very many names, lines or arrays are read in a time that grows with their size, or refused.

The limits are of processor time, so they hold on a busy machine; what they guard against took minutes or hours.
"""

import time
from contextlib import contextmanager, suppress

import fem_core as fem
import numpy as np
import pytest
from fem_core import Boundary, MeshError, read_mesh, write_mesh
from fem_core.io.files import read_unvalidated
from fem_core.problem import Problem

MESH = fem.generate.duct(nx=20, ny=10)


@contextmanager
def seconds_at_most(limit: float):
    start = time.process_time()
    yield
    assert time.process_time() - start < limit


def with_many_boundaries(number: int) -> fem.Mesh:
    """A boundary for each of so many edges, which are taken in turn."""
    edges = MESH.exterior_edges
    many = {f"b{i}": Boundary.from_edges(edges[[i % len(edges)]]) for i in range(number)}
    return fem.Mesh(MESH.x, MESH.y, MESH.quad8, {**MESH.boundaries, **many})


@pytest.fixture(scope="module")
def abaqus(tmp_path_factory):
    """The text of a small mesh, without the line that says that it is whole."""
    path = tmp_path_factory.mktemp("abaqus") / "mesh.inp"
    write_mesh(MESH, path)
    return path.read_text().split("\n", 1)[1].rsplit("**", 1)[0]


N = 20_000
INPUTS = {
    "continued lines": "*NSET, NSET=a,\n" + "UNSORTED,\n" * 1_000_000 + "INTERNAL\n1\n",
    "sets of nodes": "".join(f"*NSET, NSET=s{i}\n{i % 100 + 1}\n" for i in range(N // 4)),
    "elements left aside": "".join(f"*ELEMENT, TYPE=MASS, ELSET=m{i}\n{10**5 + i}, 1\n" for i in range(N)),
    "copies": "*NSET, NSET=one\n1\n"
    + "".join(f"*NCOPY, CHANGE NUMBER={10**4 + i}, OLDSET=one, SHIFT\n1\n\n" for i in range(N // 4)),
    "sets of nodes of elements": "*ELSET, ELSET=e\n1\n"
    + "".join(f"*NSET, NSET=s{i}, ELSET=e\n" for i in range(N // 4)),
    "comments": "** nothing\n" * 300_000,
    "long names": f"*NSET, NSET={'ab' * 200_000}c\n1\n*NSET, NSET=c\n{'ab' * 200_000}\n",
}


@pytest.mark.parametrize("text", INPUTS.values(), ids=INPUTS)
def test_abaqus(abaqus, tmp_path, text):
    path = tmp_path / "large.inp"
    path.write_text(abaqus + text)
    with seconds_at_most(15), suppress(MeshError):  # continued lines took 90 s, elements left aside 30 s
        read_unvalidated(path)


@pytest.mark.parametrize("suffix", [".h5", ".npz", ".msh", ".inp", ".vtu"])
def test_many_boundaries(tmp_path, suffix):
    # VTU has an array of all cells for each boundary.
    mesh, path = with_many_boundaries(1000), tmp_path / f"many{suffix}"
    with seconds_at_most(40):
        write_mesh(mesh, path)
        read = read_mesh(path)
        check = fem.check_mesh(read)
    assert check.solvable
    assert len(check.boundaries) == len(read.boundaries) == 1003


def test_boundaries_that_vtu_has_no_room_for_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("fem_core.io.vtu._LARGEST", 10_000)
    with pytest.raises(MeshError, match=r"many.vtu: 23 boundaries would take \d+ kB.*; write .h5$"):
        write_mesh(with_many_boundaries(20), tmp_path / "many.vtu")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", [fem.Robin, fem.Dirichlet], ids=lambda kind: kind.__name__)
def test_many_conditions(kind):
    mesh = with_many_boundaries(2000)
    problem = Problem((*(kind(f"B{i}", 0.5) for i in range(2000)), fem.Dirichlet("outlet")))
    with seconds_at_most(40):
        solution = fem.solve(mesh, problem, backend="numpy", solver="direct")
    assert len(solution.report.conditions) == 2001


def test_many_conditions_on_unknown_names():
    mesh = with_many_boundaries(2000)
    problem = Problem(tuple(fem.Dirichlet(f"c{i}") for i in range(2000)))
    with seconds_at_most(2), pytest.raises(fem.ProblemError, match=r"… \(2,000 in all\)") as refused:
        problem.on(mesh)
    assert len(str(refused.value)) < 1000


def test_a_search_for_edges_is_exact():
    # Nodes beyond those of the known edges could give the same key.
    known = np.array([[0, 4, 1], [1, 5, 2]])
    edges = np.array([[1, 4, 0], [2, 5, 1], [0, 5, 1], [0, 4, 9], [-1, 4, 3], [0, 4, 3]])
    assert fem.mesh.matching.KnownEdges(known).find(edges).tolist() == [0, 1, -1, -1, -1, -1]
