"""What is mended in a mesh, what isn't, and that boundaries survive it."""

from dataclasses import replace

import numpy as np
import pytest
from fem_core import Boundary, Mesh, MeshError, OptionError, repair_mesh, solve, validate_mesh
from fem_core.mesh import quad8 as q8
from fem_core.mesh.mesh import SAME_PLACE
from fem_core.mesh.places import close_nodes
from hypothesis import given
from hypothesis import strategies as st
from meshes import distorted, renumbered, small_meshes, squares, torn_apart, two_parts


def lines(mesh: Mesh, name: str) -> set[tuple[float, ...]]:
    """Where the edges of a boundary are and how they run."""
    edges = mesh.boundaries[name].edges
    return {tuple(np.round([*mesh.x[edge], *mesh.y[edge]], 9)) for edge in edges}


@given(small_meshes())
def test_a_valid_mesh_loses_its_orphan_nodes_and_nothing_else(mesh):
    mended, done = repair_mesh(mesh)
    assert len(done) == (len(mesh.orphan_nodes) > 0)
    assert mended.n_nodes == len(mesh.used_nodes)
    np.testing.assert_array_equal(mended.x[mended.quad8], mesh.x[mesh.quad8])
    for name in mesh.boundaries:
        assert lines(mended, name) == lines(mesh, name)
    assert repair_mesh(mended) == (mended, [])


@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([0.0, 3e-10]),
    st.integers(0, 3),
    st.sampled_from(["none", "some", "all"]),
)
def test_what_was_broken_is_whole_again(seed, shift, orphans, clockwise):
    # Torn along a line, renumbered, with orphan nodes and elements turned round: the original comes back.
    whole = distorted(4, 3, seed=seed, width=2.0)
    broken = torn_apart(whole, 1.0, shift)
    broken, _, _ = renumbered(broken, seed, orphans)
    turned = {"none": 0.0, "some": 0.4, "all": 1.0}[clockwise] > np.random.default_rng(seed).uniform(size=12)
    broken = replace(broken, quad8=np.where(turned[:, None], broken.quad8[:, q8.REVERSED], broken.quad8))
    mended, done = repair_mesh(broken)
    validate_mesh(mended)
    assert mended.n_nodes == whole.n_nodes
    assert mended.components[0] == 1
    assert any(line.startswith("merged ") for line in done)
    assert any("clockwise" in line for line in done) == turned.any()
    assert any(line.endswith("from boundary 'walls' (now inside the mesh)") for line in done)
    if shift == 0:
        for name in whole.boundaries:
            assert lines(mended, name) == lines(whole, name)


def test_a_mended_mesh_gives_the_solution_of_the_whole_one():
    whole = squares(4, 2, width=2.0)
    mended, _ = repair_mesh(torn_apart(whole, 1.0))
    assert solve(mended, backend="numpy", solver="direct").u.max() == pytest.approx(5.0)


def test_nodes_that_nearly_coincide_are_merged_within_the_tolerance_only():
    apart = torn_apart(squares(4, 2, width=2.0), 1.0, shift=1e-7)
    assert repair_mesh(apart)[0].components[0] == 2
    assert repair_mesh(apart, tolerance=1e-6)[0].components[0] == 1


def test_a_mid_side_that_neighbours_do_not_share_is_merged():
    mesh = squares(2, 1)
    quad8 = mesh.quad8.copy()
    x5, y5 = mesh.x[quad8[0, 5]], mesh.y[quad8[0, 5]]
    quad8[1, 7] = mesh.n_nodes
    torn = replace(mesh, x=np.append(mesh.x, x5 + 1e-12), y=np.append(mesh.y, y5), quad8=quad8)
    mended, _ = repair_mesh(torn)
    assert validate_mesh(mended).n_nodes == mesh.n_nodes


def test_an_element_twice_is_dropped():
    mesh = squares(3)
    twice = replace(mesh, quad8=np.concatenate([mesh.quad8, mesh.quad8[[4]][:, [1, 2, 3, 0, 5, 6, 7, 4]]]))
    mended, done = repair_mesh(twice)
    assert done == ["removed 1 element with the same nodes as another"]
    np.testing.assert_array_equal(validate_mesh(mended).quad8, mesh.quad8)


def test_a_mesh_that_is_there_twice_becomes_one():
    # As some programs write it: all nodes and elements copied.
    mesh = squares(3)
    x, y = np.tile([mesh.x, mesh.y], 2)
    mended, done = repair_mesh(Mesh(x, y, np.concatenate([mesh.quad8, mesh.quad8 + mesh.n_nodes])))
    assert (validate_mesh(mended).n_elements, mended.n_nodes) == (9, mesh.n_nodes)
    assert len(done) == 2


def test_numbers_from_one():
    mesh = squares(2)
    boundaries = {name: Boundary(b.edges + 1, b.nodes + 1) for name, b in mesh.boundaries.items()}
    mended, done = repair_mesh(replace(mesh, quad8=mesh.quad8 + 1, boundaries=boundaries))
    assert done == ["renumbered the nodes from 0 (the numbers began with 1)"]
    np.testing.assert_array_equal(validate_mesh(mended).quad8, mesh.quad8)
    np.testing.assert_array_equal(mended.boundaries["inlet"].edges, mesh.boundaries["inlet"].edges)


def test_a_line_inside_stays_a_boundary():
    mesh = squares(2)
    line = Boundary.from_edges(mesh.quad8[:1, [1, 5, 2]])
    kept, _ = repair_mesh(replace(two_parts(), boundaries={"line": line}))
    assert len(kept.boundaries["line"].edges) == 1


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"quad8": (slice(0, 1), 99)}, "refers to nodes outside"),
        ({"x": (slice(3, 4), np.nan)}, "NaN or infinite"),
        ({"boundaries": {"inlet": Boundary([], [99])}}, "boundary 'inlet' refers to nodes outside"),
    ],
)
def test_what_cannot_be_mended_is_refused(entries, said):
    mesh = squares(2)
    for name, value in entries.items():
        if name == "boundaries":
            mesh = replace(mesh, boundaries=value)
        else:
            array = getattr(mesh, name).copy()
            array[value[0]] = value[1]
            mesh = replace(mesh, **{name: array})
    with pytest.raises(MeshError, match=f"{said}.*this can't be repaired"):
        repair_mesh(mesh)


def test_no_tolerance_collapses_an_element():
    thin = squares(2, 1, height=1e-4)
    assert repair_mesh(thin, tolerance=1e-3) == (thin, [])
    for tolerance in (-1, 0.5, np.nan):
        with pytest.raises(OptionError, match=r"from 0 to 0\.001"):
            repair_mesh(thin, tolerance=tolerance)


def test_an_element_that_names_one_place_twice_is_not_merged():
    mesh = squares(2)
    x, y = mesh.x.copy(), mesh.y.copy()
    a, b = mesh.quad8[0, [0, 4]]
    x[b], y[b] = x[a], y[a]
    with pytest.raises(MeshError, match="two nodes of one element are closer than the merge tolerance, in element 0;"):
        repair_mesh(replace(mesh, x=x, y=y))


def separate(x, y) -> Mesh:
    """Unit squares with nodes of their own, at these places."""
    one, n = squares(1), len(x)
    quad8 = (one.quad8 + 8 * np.arange(n)[:, None]).astype(np.int32)
    return Mesh((one.x + np.asarray(x)[:, None]).ravel(), (one.y + np.asarray(y)[:, None]).ravel(), quad8)


def test_what_is_far_away_makes_nothing_coincide():
    # The extent is 1e14, and a tolerance of 1e-9 x extent much wider than all the others together.
    x, y = np.divmod(np.arange(100.0), 10)
    mesh = separate(np.append(2 * x, 1e14), np.append(2 * y, 0))
    assert len(close_nodes(mesh)) == 0
    assert len(close_nodes(mesh, 1e-3)) == 0


def test_pairs_are_linear_in_the_nodes():
    # A small file whose nodes all nearly coincide with all others of their kind.
    n = 500
    pairs = close_nodes(separate(1e-13 * np.arange(n), np.zeros(n)))
    assert n - 1 <= len(pairs) <= 8 * 8 * n


def test_pairs_are_those_of_a_search_among_all():
    mesh = replace(torn_apart(distorted(4, 3, seed=3, width=2.0), 1.0, 3e-10), boundaries={})
    z = mesh.x + 1j * mesh.y
    near = np.abs(z[:, None] - z) <= SAME_PLACE * mesh.extent
    near[mesh.orphan_nodes] = near[:, mesh.orphan_nodes] = False
    assert {tuple(pair) for pair in close_nodes(mesh)} == set(zip(*np.nonzero(np.triu(near, 1)), strict=True))


def test_orphans_at_infinity_are_dropped():
    mesh = squares(2)
    mended, _ = repair_mesh(replace(mesh, x=np.append(mesh.x, np.inf), y=np.append(mesh.y, np.nan)))
    assert validate_mesh(mended).n_nodes == mesh.n_nodes
