"""The generators: valid meshes of the right shape and size, with the right boundaries, for any parameters."""

import itertools
import math
from inspect import signature

import numpy as np
import pytest
from fem_core.errors import MeshError
from fem_core.generate import SHAPES, annulus, duct, y_tube
from fem_core.generate.annulus import Flow
from fem_core.generate.paths import Path, eased
from fem_core.generate.shape import parameters_of
from fem_core.generate.structured import Block, assemble, count_nodes, fitted, grid_nodes, stations
from fem_core.mesh import quad8 as q8
from fem_core.mesh.mesh import SAME_PLACE, Mesh
from fem_core.types import Floats, Ints
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.sparse import csgraph
from scipy.spatial import cKDTree

TAU = 2 * math.pi

#: One of each kind: both flows, sectors and the ring, wide and narrow; every shape with its defaults.
EXAMPLES = {
    "duct-tall": lambda nodes: duct(nodes=nodes, length=0.2, height=4.0),
    "duct-graded": lambda nodes: duct(nodes=nodes, grading=8.0),
    "annulus-radial": lambda nodes: annulus(nodes=nodes),
    "annulus-around": lambda nodes: annulus(nodes=nodes, flow="around", angle=1.5 * math.pi, start=0.3),
    "annulus-narrow": lambda nodes: annulus(nodes=nodes, outer=20.0, angle=0.1),
    "annulus-ring": lambda nodes: annulus(nodes=nodes, angle=TAU),
    "y-tube-even": lambda nodes: y_tube(nodes=nodes, arm_width=1.2, spread=3.0, arm_length=4.0),
    "y-tube-flat": lambda nodes: y_tube(nodes=nodes, arm_width=0.6, spread=1.6, angle=0.5, arm_length=4.0),
}
EXAMPLES |= {name: lambda nodes, make=make: make(nodes=nodes) for name, make in SHAPES.items()}
examples = pytest.mark.parametrize("make", EXAMPLES.values(), ids=EXAMPLES.keys())


def jacobians(mesh: Mesh, dn: Floats) -> Floats:
    """detJ at the points of a rule, (n_elements, n_points)."""
    xy = np.stack([mesh.x[mesh.quad8], mesh.y[mesh.quad8]], axis=-1)
    return np.linalg.det(np.einsum("gdi,eix->egdx", dn, xy))


def area(mesh: Mesh) -> float:
    return float((jacobians(mesh, q8.DN_3X3) @ q8.WEIGHTS_3X3).sum())


def worst_ratio(mesh: Mesh) -> float:
    """The least detJ over the greatest within an element, in the worst element."""
    det = np.hstack([jacobians(mesh, q8.DN_3X3), jacobians(mesh, q8.DN_2X2)])
    return float((det.min(axis=1) / det.max(axis=1)).min())


def check_valid(mesh: Mesh) -> None:
    """What every generated mesh promises, whatever its parameters."""
    assert worst_ratio(mesh) > 0
    assert len(mesh.orphan_nodes) == 0
    assert mesh.components[0] == 1
    assert nearest(mesh) > 1e-3 * math.sqrt(jacobians(mesh, q8.DN_2X2).min())
    check_boundaries(mesh)


def nearest(mesh: Mesh) -> float:
    """The least distance of two nodes, in metres."""
    xy = np.column_stack([mesh.x, mesh.y])
    return float(cKDTree(xy).query(xy, k=2)[0][:, 1].min())


def check_boundaries(mesh: Mesh) -> None:
    """The boundaries are the exterior edges, each once, in their direction and order."""
    assert set(mesh.boundaries) - {"cylinder"} == {"inlet", "outlet", "walls"}
    place = {tuple(edge): i for i, edge in enumerate(mesh.exterior_edges.tolist())}
    of = {name: [place[tuple(e)] for e in b.edges.tolist()] for name, b in mesh.boundaries.items()}
    assert sorted(itertools.chain(*of.values())) == list(range(len(place)))
    assert all(places == sorted(places) for places in of.values())
    assert of["inlet"]
    assert of["outlet"]
    for boundary in mesh.boundaries.values():
        assert np.array_equal(boundary.nodes, np.unique(boundary.edges))


# ── all shapes ───────────────────────────────────────────────────────────────────────────────


@examples
@pytest.mark.parametrize("nodes", [50, 400, 5_000])
def test_meshes_are_valid(make, nodes):
    check_valid(make(nodes))


@examples
@pytest.mark.parametrize("nodes", [5_000, 5_555, 20_011, 200_000])
def test_number_of_nodes_is_within_three_percent(make, nodes):
    assert make(nodes).n_nodes == pytest.approx(nodes, rel=0.03)


@pytest.mark.parametrize("nodes", [1_000, 195_853])
@pytest.mark.parametrize("name", SHAPES)
def test_elements_are_near_square(name, nodes):
    mesh = SHAPES[name](nodes=nodes)
    ends = mesh.quad8[:, q8.EDGES][:, :, [0, 2]]
    sides = np.hypot(np.diff(mesh.x[ends])[..., 0], np.diff(mesh.y[ends])[..., 0])
    stretch = sides.max(axis=1) / sides.min(axis=1)
    assert np.median(stretch) < 1.5
    assert stretch.max() < 3.5


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_carry_their_name_and_a_default_size(name):
    mesh = SHAPES[name]()
    assert mesh.source == name
    assert mesh.warnings == ()
    assert mesh.n_nodes == pytest.approx(2_000, rel=0.05)


@pytest.mark.parametrize("name", ["duct", "y-tube"])
def test_numbering_runs_across_the_channel(name):
    # Neighbours in a grid numbered column by column are a few columns apart, whatever the length.
    mesh = SHAPES[name](nodes=20_000)
    across = 2 * len(mesh.boundaries["outlet"].edges) + 1
    assert np.ptp(mesh.quad8, axis=1).max() < 4 * across


@pytest.mark.parametrize("name", ["duct", "y-tube"])
def test_inlet_and_outlet_are_the_ones_of_the_geometrical_rule(name):
    mesh = SHAPES[name](nodes=3_000)
    for side, at in (("inlet", mesh.x.min()), ("outlet", mesh.x.max())):
        on_side = (np.abs(mesh.x - at) <= SAME_PLACE * mesh.extent)[mesh.exterior_edges].all(axis=1)
        assert np.array_equal(mesh.boundaries[side].edges, mesh.exterior_edges[on_side])


def test_meshes_are_reproducible():
    first, second = y_tube(nodes=500), y_tube(nodes=500)
    assert np.array_equal(first.x, second.x)
    assert np.array_equal(first.y, second.y)
    assert first.fingerprint == second.fingerprint


# ── duct ─────────────────────────────────────────────────────────────────────────────────────


def test_duct_has_the_counts_and_the_area_it_was_given():
    mesh = duct(length=5.0, height=0.5, nx=7, ny=3)
    assert (mesh.n_elements, mesh.n_nodes) == (21, 3 * 21 + 2 * 7 + 2 * 3 + 1)
    assert area(mesh) == pytest.approx(2.5, rel=1e-14)
    assert [len(mesh.boundaries[b].edges) for b in ("inlet", "outlet", "walls")] == [3, 3, 14]
    assert set(mesh.x[mesh.boundaries["inlet"].nodes]) == {0.0}
    assert set(mesh.x[mesh.boundaries["outlet"].nodes]) == {5.0}


@pytest.mark.parametrize("grading", [0.1, 1.0, 5.0])
def test_duct_is_graded_geometrically_with_midsides_in_the_middle(grading):
    mesh = duct(length=2.0, nx=6, ny=1, grading=grading)
    a, b, mid = mesh.x[mesh.quad8[:, [0, 1, 4]]].T
    assert (b - a)[-1] / (b - a)[0] == pytest.approx(grading)
    np.testing.assert_allclose((b - a)[1:] / (b - a)[:-1], grading ** (1 / 5))
    np.testing.assert_allclose(mid, 0.5 * (a + b))


@settings(max_examples=40, deadline=None)
@given(
    length=st.floats(0.01, 100), height=st.floats(0.01, 100), nodes=st.integers(8, 3_000), grading=st.floats(0.1, 10)
)
def test_any_duct_is_valid(length, height, nodes, grading):
    mesh = duct(length=length, height=height, nodes=nodes, grading=grading)
    check_valid(mesh)
    assert area(mesh) == pytest.approx(length * height, rel=1e-9)


# ── annulus ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("angle", "flow"), [(1.0, "radial"), (4.0, "around"), (TAU, "radial")])
def test_annulus_lies_on_its_circles(angle, flow):
    mesh = annulus(inner=0.5, outer=1.5, angle=angle, start=-1.0, flow=flow, nodes=500)
    r = np.hypot(mesh.x, mesh.y)
    edges = mesh.exterior_edges
    ends = r[edges[:, [0, 2]]]
    for radius in (0.5, 1.5):
        arc = np.abs(ends - radius).max(axis=1) < 1e-12
        assert arc.any()
        np.testing.assert_allclose(r[edges[arc, 1]], radius, rtol=1e-14)
    # Inside too, mid-sides are on the circle of their corners or half-way between two circles.
    a, mid, b = r[mesh.quad8[:, q8.EDGES].reshape(-1, 3)].T
    np.testing.assert_allclose(mid, 0.5 * (a + b), rtol=1e-14)


def test_annulus_area_converges_with_the_fourth_power_of_h():
    exact = 0.5 * (4 - 1) * math.pi / 2
    errors = [abs(area(annulus(nr=n, na=2 * n)) / exact - 1) for n in (4, 8, 16, 32)]
    assert errors[-1] < 1e-7
    np.testing.assert_allclose(np.log2(np.divide(errors[:-1], errors[1:])), 4, atol=0.1)


def test_annulus_flows_from_arc_to_arc_or_from_side_to_side():
    radial, around = annulus(angle=2.0, start=0.5), annulus(angle=2.0, start=0.5, flow="around")
    r, θ = np.hypot(radial.x, radial.y), np.arctan2(around.y, around.x)
    np.testing.assert_allclose(r[radial.boundaries["inlet"].nodes], 1.0)
    np.testing.assert_allclose(r[radial.boundaries["outlet"].nodes], 2.0)
    np.testing.assert_allclose(θ[around.boundaries["inlet"].nodes], 0.5)
    np.testing.assert_allclose(θ[around.boundaries["outlet"].nodes], 2.5)
    assert np.array_equal(radial.quad8, around.quad8)


def test_full_ring_is_closed():
    mesh = annulus(angle=TAU, nr=3, na=12)
    assert (mesh.n_elements, mesh.n_nodes) == (36, 3 * 36 + 2 * 12)
    assert len(mesh.boundaries["walls"].edges) == 0
    for name in ("inlet", "outlet"):
        edges = mesh.boundaries[name].edges
        assert len(edges) == 12
        assert sorted(edges[:, 0]) == sorted(edges[:, 2])
    assert area(mesh) == pytest.approx(3 * math.pi, rel=2e-4)


@settings(max_examples=40, deadline=None)
@given(
    inner=st.floats(0.01, 10),
    ratio=st.floats(1.01, 100),
    angle=st.floats(0.05, 6.2) | st.just(TAU),
    start=st.floats(-6, 6),
    nodes=st.integers(50, 3_000),
)
def test_any_annulus_is_valid(inner, ratio, angle, start, nodes):
    check_valid(annulus(inner=inner, outer=ratio * inner, angle=angle, start=start, nodes=nodes))


# ── y-tube ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("nodes", [60, 1_000, 20_000])
def test_y_tube_is_symmetrical(nodes):
    mesh = y_tube(nodes=nodes)
    distance, partner = cKDTree(np.column_stack([mesh.x, mesh.y])).query(np.column_stack([mesh.x, -mesh.y]))
    assert distance.max() < 1e-14
    assert np.array_equal(partner[partner], np.arange(mesh.n_nodes))


def test_y_tube_has_the_dimensions_it_was_given():
    mesh = y_tube(stem_width=1.0, arm_width=0.7, stem_length=2.0, arm_length=3.0, spread=2.5, nodes=2_000)
    inlet, outlet = (mesh.boundaries[name].nodes for name in ("inlet", "outlet"))
    assert (mesh.x.min(), mesh.x.max()) == (0.0, pytest.approx(5.0))
    assert np.ptp(mesh.y[inlet]) == pytest.approx(1.0)
    upper = mesh.y[outlet][mesh.y[outlet] > 0]
    assert (upper.min(), upper.max()) == (pytest.approx(0.9), pytest.approx(1.6))
    assert len(outlet) == 2 * len(inlet)


def test_y_tube_has_the_counts_it_was_given():
    mesh = y_tube(nw=3, ns=5, na=7)
    assert mesh.n_elements == 3 * (2 * 5 + 4 * 7)
    assert mesh.n_nodes == (6 * 3 + 2) * (5 + 2 * 7) + 6 * 3 + 1
    assert [len(mesh.boundaries[b].edges) for b in ("inlet", "outlet", "walls")] == [6, 12, 2 * (5 + 7) + 2 * 7]


def test_y_tube_area_converges():
    # Quadratic edges through points of the true wall; its curvature jumps inside of some of them.
    areas = [area(y_tube(nodes=n)) for n in (1_000, 8_000, 64_000, 512_000)]
    errors = np.abs(np.subtract(areas[:-1], areas[-1])) / areas[-1]
    assert errors[0] < 1e-4
    assert errors[2] < 1e-7


def connected_walls(mesh: Mesh) -> tuple[int, Ints]:
    """Number of separate walls, and the one that each of the walls' nodes belongs to."""
    walls = mesh.boundaries["walls"]
    a, mid, b = np.searchsorted(walls.nodes, walls.edges).T
    pairs = np.concatenate([a, mid]), np.concatenate([mid, b])
    graph = sparse.coo_array((np.ones(2 * len(a)), pairs), shape=2 * (len(walls.nodes),))
    n, label = csgraph.connected_components(graph, directed=False)
    return n, label


def test_y_tube_arms_keep_their_width():
    mesh = y_tube(arm_width=0.7, nodes=50_000)
    walls = mesh.boundaries["walls"].nodes
    n, chain = connected_walls(mesh)
    assert n == 3  # two outer walls and the one between the arms
    between = walls[chain == chain[np.argmin(np.abs(mesh.y[walls]))]]
    upper = walls[chain == chain[np.argmax(mesh.y[walls])]]
    past_crotch = between[(mesh.x[between] > mesh.x[between].min() + 0.2) & (mesh.y[between] > 0)]
    xy = np.column_stack([mesh.x, mesh.y])
    distance, _ = cKDTree(xy[upper]).query(xy[past_crotch])
    np.testing.assert_allclose(distance, 0.7, rtol=1e-3)


@pytest.mark.parametrize("nodes", [50, 200, 2_000, 195_853])
def test_y_tube_elements_are_well_shaped(nodes):
    assert worst_ratio(y_tube(nodes=nodes)) > 0.35


@st.composite
def y_tubes(draw) -> dict[str, float]:
    """Parameters from the whole of what is accepted: lengths start from the least that the widths allow."""
    width = draw(st.floats(0.1, 10))
    chosen = {
        "stem_width": width,
        "arm_width": width * draw(st.floats(0.4, 1.25)),
        "angle": draw(st.floats(math.pi / 9, math.pi / 3)),
    }
    chosen["crotch"] = chosen["arm_width"] * draw(st.floats(0.01, 0.5))
    far = 100 * width
    least_spread = _least("spread", {**chosen, "stem_length": far, "arm_length": far})
    chosen["spread"] = least_spread + width * draw(st.floats(0.001, 5))
    for name in ("arm_length", "stem_length"):
        chosen[name] = _least(name, {"arm_length": far, **chosen}) + width * draw(st.floats(0.001, 7))
    return chosen


def _least(name: str, others: dict[str, float]) -> float:
    """The least value that the message about a far too small one names."""
    with pytest.raises(MeshError, match=f"y-tube: {name} must be") as refusal:
        y_tube(**{**others, name: 1e-6})
    words = str(refusal.value).split()
    return float(words[words.index("between" if "between" in words else "least") + 1])


@settings(max_examples=60, deadline=None)
@given(parameters=y_tubes(), nodes=st.integers(50, 3_000))
def test_any_y_tube_is_valid(parameters, nodes):
    mesh = y_tube(**parameters, nodes=nodes)
    check_valid(mesh)
    assert worst_ratio(mesh) > 0.1


@settings(max_examples=30, deadline=None)
@given(counts=st.tuples(*3 * [st.integers(1, 9)]))
def test_y_tube_is_valid_for_any_counts(counts):
    nw, ns, na = counts
    check_valid(y_tube(nw=nw, ns=ns, na=na))


# ── refusals ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("make", "given", "message"),
    [
        (duct, {"length": 0.0}, "length must be a positive number, not 0.0"),
        (duct, {"height": float("nan")}, "height must be a positive number, not nan"),
        (duct, {"length": float("inf")}, "length must be a positive number, not inf"),
        (duct, {"length": 1e308}, "length must be between 1e-60 and 1e+60 (metres), not 1e+308"),
        (duct, {"height": 1e-308}, "height must be between 1e-60 and 1e+60 (metres), not 1e-308"),
        (y_tube, {"spread": 1e300}, "spread must be between 1e-60 and 1e+60 (metres), not 1e+300"),
        (annulus, {"inner": 1e61}, "inner must be between 1e-60 and 1e+60 (metres), not 1e+61"),
        (duct, {"length": "3"}, "length must be a positive number, not '3'"),
        (duct, {"height": True}, "height must be a positive number, not True"),
        (duct, {"grading": 1e5}, "grading must be between 0.001 and 1000, not 100000.0"),
        (duct, {"nx": 5.0, "ny": 1}, "nx must be a positive integer, not 5.0"),
        (duct, {"nodes": 0}, "nodes must be an integer between 8 and 500000000, not 0"),
        (duct, {"nodes": 1e6}, "nodes must be an integer"),
        (duct, {"nx": 10**5, "ny": 10**5}, "these counts give 30,000,400,001 nodes; the limit is 500,000,000"),
        (duct, {"nx": 5}, "nx and ny must be given together; missing: ny"),
        (duct, {"nx": 5, "ny": 0}, "ny must be a positive integer, not 0"),
        (duct, {"nx": 5, "ny": 2, "nodes": 100}, "nodes must be omitted if nx and ny are given, not 100"),
        (annulus, {"inner": -1.0}, "inner must be a positive number"),
        (annulus, {"outer": 1.0}, "outer must be between 1.001 and 1000"),
        (annulus, {"angle": 6.5}, "angle must be between 0.001 and 6.28319 (radians, up to the full ring), not 6.5"),
        (annulus, {"start": 100.0}, "start must be between"),
        (annulus, {"flow": "outward"}, "flow must be 'radial' or 'around', not 'outward'"),
        (annulus, {"flow": "around", "angle": TAU}, "flow must be 'radial' for a full ring"),
        (annulus, {"nr": 4, "na": 1}, "na must be at least 2 (an element may span 45°), not 1"),
        (y_tube, {"stem_width": -1.2}, "stem_width must be a positive number"),
        (y_tube, {"arm_width": 3.0}, "arm_width must be between 0.48 and 1.5"),
        (y_tube, {"angle": 45.0}, "angle must be between 0.349066 and 1.0472 (20° to 60°, in radians), not 45.0"),
        (y_tube, {"crotch": 0.5}, "crotch must be between 0 and 0.4 (half of arm_width), not 0.5"),
        (y_tube, {"spread": 0.9}, "spread must be at least"),
        (y_tube, {"arm_length": 1.0}, "arm_length must be between"),
        (y_tube, {"stem_length": 0.1}, "stem_length must be between"),
        (y_tube, {"nw": 2, "na": 4}, "nw, ns and na must be given together; missing: ns"),
    ],
)
def test_bad_parameters_are_refused_by_name(make, given, message):
    with pytest.raises(MeshError) as refusal:
        make(**given)
    text = str(refusal.value)
    assert text.startswith(f"{make.__name__.replace('_', '-')}: {message}")
    assert "\n" not in text


@pytest.mark.parametrize("make", SHAPES.values(), ids=SHAPES.keys())
def test_parameters_are_declared_once_and_shown_to_readers_and_tools(make):
    # The docstring and the checks come from the declaration; who asks for the signature sees plain types.
    declared = parameters_of(make)
    assert list(declared) == list(signature(make).parameters)
    for name, parameter in declared.items():
        assert f"\n{name} : {parameter.type}\n    {parameter.help}\n" in make.__doc__
        assert signature(make).parameters[name].annotation in (float, int | None, Flow)


def test_parameters_are_keywords_that_the_shape_has():
    for arguments, named in (((3.0,), {}), ((), {"width": 1.0})):
        with pytest.raises(TypeError, match=r"^duct\(\)"):
            duct(*arguments, **named)


# ── machinery ────────────────────────────────────────────────────────────────────────────────


def plane(s: Floats, t: Floats) -> tuple[Floats, Floats]:
    return s, t


def test_blocks_share_the_nodes_of_their_common_side():
    half = stations(0, 1, 2)
    left = Block(("a", "b", "e", "f"), half, half, plane)
    # Turned by a quarter, so that its fourth side meets the second of the first block.
    right = Block(("c", "d", "e", "b"), half, half, lambda s, t: (2 - t, s), column=2)
    mesh = assemble([left, right], {"inlet": [("a", "f")], "outlet": [("c", "d")]}, "two")
    assert (mesh.n_elements, mesh.n_nodes) == (8, 3 * 8 + 2 * 4 + 2 * 2 + 1)
    assert area(mesh) == pytest.approx(2.0)
    check_valid(mesh)
    assert np.all(mesh.x[mesh.boundaries["outlet"].nodes] == 2.0)


@pytest.mark.parametrize(
    ("t", "offset", "named", "message"),
    [
        (stations(0, 1, 3), 1.0, {}, "disagree about the elements on the side e-b"),
        (stations(0, 1, 2), 1.1, {}, "place a shared node 0.1 m apart"),
        (stations(0, 1, 2), 1.0, {"inlet": [("b", "e")]}, "the side b-e of inlet isn't exterior"),
        (stations(0, 1, 2), 1.0, {"inlet": [("a", "z")]}, "the side a-z of inlet isn't exterior"),
    ],
)
def test_mistakes_in_a_shape_are_found(t, offset, named, message):
    left = Block(("a", "b", "e", "f"), stations(0, 1, 2), stations(0, 1, 2), plane)
    right = Block(("b", "c", "d", "e"), stations(0, 1, 2), t, lambda s, t: (offset + s, t))
    with pytest.raises(MeshError, match=message):
        assemble([left, right], named, "two")


def test_fitted_counts_hit_the_target():
    for nodes in (5_000, 12_345, 1_358_000):
        for aspect in (1e-4, 0.1, 1.0, 3.0, 1e4):
            a, b = fitted("grid", nodes, (1.0, aspect), grid_nodes)
            assert grid_nodes(a, b) == pytest.approx(nodes, rel=0.015)


def test_fitted_counts_keep_their_proportions_and_their_least():
    assert fitted("grid", (4,), (1.0, 2.0, 0.01), lambda *n: 0) == (4, 8, 1)
    assert fitted("grid", grid_nodes(10, 30), (1.0, 3.0), grid_nodes) == (10, 30)
    assert fitted("grid", 8, (1.0, 1.0), grid_nodes, (1, 5)) == (1, 5)


def test_nodes_are_counted_before_they_are_made():
    half = stations(0, 1, 3)
    ring = [Block(("a", "b", "b", "a"), half, half, plane)]
    two = [Block(("a", "b", "e", "f"), half, half, plane), Block(("b", "c", "d", "e"), stations(0, 1, 2), half, plane)]
    assert count_nodes(two) == grid_nodes(3, 5)
    assert count_nodes(two[:1]) == grid_nodes(3, 3)
    assert count_nodes(ring) == grid_nodes(3, 3) - 7


def test_paths_run_on_lines_and_circles():
    path = Path(1.0, 0.0, math.pi / 2).arc(1.0, math.pi / 2).line(2.0).arc(0.5, -math.pi)
    assert path.length == pytest.approx(math.pi / 2 + 2 + math.pi / 2)
    x, y = path.at(np.array([0.0, math.pi / 4, math.pi / 2, math.pi / 2 + 2, path.length]))
    np.testing.assert_allclose(x, [1, math.sqrt(0.5), 0, -2, -2], atol=1e-14)
    np.testing.assert_allclose(y, [0, math.sqrt(0.5), 1, 1, 2], atol=1e-14)


def test_eased_goes_through_its_ends_and_increases():
    knots, values = np.array([0.0, 1.0, 1.5, 4.0]), np.array([0.0, 3.0, 3.2, 9.0])
    s = np.linspace(0, 4, 401)
    f = eased(s, knots, values, 0.3)
    assert (f[0], f[-1]) == (0.0, pytest.approx(9.0))
    assert np.all(np.diff(f) > 0)
    away = np.abs(s[:, None] - knots[1:3]).min(axis=1) >= 0.3
    np.testing.assert_allclose(f[away], np.interp(s, knots, values)[away])
