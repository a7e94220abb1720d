"""Inputs of gmsh, VTU and NumPy that users' reports led to: what the file says is solved, or refused by its cause."""

import codecs
from pathlib import Path

import fem_core as fem
import numpy as np
import pytest
from fem_core import Mesh, MeshError, read_mesh
from fem_core.io.checks import check_plane
from meshes import squares

DUCT = squares(2, width=2.0)


def solved(source: Path | Mesh) -> fem.Solution:
    return fem.solve(source, backend="numpy", solver="direct")


# ── the plane ────────────────────────────────────────────────────────────────────────────────


def msh(path: Path, mesh: Mesh = DUCT, *, z: float | np.ndarray = 0.0, more_nodes: str = "") -> Path:
    """`mesh` in format 2.2 as text, with its boundaries as physical groups 1, 2, … and elements in group 9."""
    names = list(enumerate(mesh.boundaries, start=1))
    rows = [(8, k, edge) for k, name in names for edge in mesh.boundaries[name].edges[:, [0, 2, 1]]]
    rows += [(16, 9, nodes) for nodes in mesh.quad8]
    places = zip(mesh.x.tolist(), mesh.y.tolist(), np.broadcast_to(z, mesh.n_nodes).tolist(), strict=True)
    path.write_text(
        "$MeshFormat\n2.2 0 8\n$EndMeshFormat\n"
        + f"$PhysicalNames\n{len(names) + 1}\n"
        + "".join(f'1 {k} "{name}"\n' for k, name in names)
        + '2 9 "air"\n$EndPhysicalNames\n'
        + f"$Nodes\n{mesh.n_nodes + more_nodes.count(chr(10))}\n"
        + "".join(f"{i} {x!r} {y!r} {z!r}\n" for i, (x, y, z) in enumerate(places, start=1))
        + f"{more_nodes}$EndNodes\n$Elements\n{len(rows)}\n"
        + "".join(
            f"{i} {kind} 2 {tag} {tag} {' '.join(map(str, nodes + 1))}\n"
            for i, (kind, tag, nodes) in enumerate(rows, start=1)
        )
        + "$EndElements\n"
    )
    return path


def test_a_rotation_by_a_cad_kernel_leaves_the_plane(case):
    # z of 3e-32.
    assert solved(case("92_occ_rotated.msh")).u.max() == pytest.approx(5)


@pytest.mark.parametrize("z", [1e-9, -1.9e-9])
def test_z_within_rounding_errors_of_the_extent_is_0(tmp_path, z):
    # The mesh is 2 long.
    varying = np.where(DUCT.x > 1, z, 0.0)
    mesh = read_mesh(msh(tmp_path / "mesh.msh", z=varying))
    assert not mesh.notes
    assert solved(mesh).u.max() == pytest.approx(5)


def test_a_plane_parallel_to_the_first_is_noted(tmp_path):
    # The problem in it is the same.
    found = solved(msh(tmp_path / "mesh.msh", z=12.5))
    assert found.u.max() == pytest.approx(5)
    assert "the mesh lies in the plane z = 12.5, and is solved in it" in found.report.notes


@pytest.mark.parametrize("z", [2.1e-9, np.nan])
def test_a_mesh_that_leaves_the_plane_is_refused(tmp_path, z):
    path = msh(tmp_path / "mesh.msh", z=np.where(DUCT.x > 1.9, z, 0.0))
    with pytest.raises(MeshError, match=r"mesh\.msh: nodes 5, 8, .* have z other than 0, and z isn't the same"):
        read_mesh(path)


def test_a_mesh_upright_in_space_is_refused(tmp_path):
    # x-z: there is no extent that would excuse z.
    path = msh(tmp_path / "mesh.msh", Mesh(np.zeros(DUCT.n_nodes), np.zeros(DUCT.n_nodes), DUCT.quad8), z=DUCT.y)
    with pytest.raises(MeshError, match="z other than 0"):
        read_mesh(path)


def test_a_node_of_no_element_may_be_anywhere(tmp_path):
    # The centre of an arc in space, say.
    mesh = read_mesh(msh(tmp_path / "mesh.msh", more_nodes="99 5 5 5\n"))
    assert mesh.orphan_nodes.tolist() == [DUCT.n_nodes]
    assert not mesh.notes


def test_points_beyond_all_numbers_are_no_excuse():
    # An extent that overflows must not make the tolerance infinite.
    points = np.array([[-1e308, 0, 0], [1e308, 0, 1], [0, np.inf, 0]])
    with pytest.raises(MeshError, match="node 2 has z other than 0"):
        check_plane(Path("mesh.msh"), points, np.arange(1, 4))


# ── text ─────────────────────────────────────────────────────────────────────────────────────


def test_a_byte_order_mark_is_no_content(tmp_path):
    # Editors on Windows put it before any text.
    path = msh(tmp_path / "mesh.msh")
    path.write_bytes(codecs.BOM_UTF8 + path.read_bytes())
    assert solved(path).u.max() == pytest.approx(5)
    vtu = Path(__file__).parents[1] / "data" / "two-text-plain-raw.vtu"
    (tmp_path / "mesh.vtu").write_bytes(codecs.BOM_UTF8 + vtu.read_bytes())
    assert read_mesh(tmp_path / "mesh.vtu").n_elements == 2
