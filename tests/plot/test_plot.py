"""Pictures: what is drawn where, curved sides, holes and orphan nodes, lines of the flow, formats, refusals, speed."""

import time
from dataclasses import replace
from importlib.metadata import version
from itertools import cycle, pairwise
from pathlib import Path

import fem_core as fem
import numpy as np
import pytest
from fem_core.plot import DEFAULT, FIELDS, check_plot, plot_solution
from fem_core.plot import flow as drawn_flow
from fem_core.plot.outline import bezier, chains, kept, outline
from fem_core.plot.raster import _FINEST, Raster, Triangles
from hypothesis import given, settings
from hypothesis import strategies as st
from meshes import distorted, small_meshes, two_parts

matplotlib = pytest.importorskip("matplotlib", reason="pictures need Matplotlib (the extra `plot`)")

from fem_core.plot.figure import draw, layout, scale  # noqa: E402
from matplotlib.image import imread  # noqa: E402
from matplotlib.quiver import Quiver  # noqa: E402


def area(mesh: fem.Mesh) -> tuple[float, float]:
    """Of the triangles, and the least of any."""
    t = Triangles(mesh)
    (ax, bx, cx), (ay, by, cy) = t.x[t.corners].T, t.y[t.corners].T
    areas = 0.5 * ((bx - ax) * (cy - ay) - (cx - ax) * (by - ay))
    return float(areas.sum()), float(areas.min())


def solved(mesh: fem.Mesh) -> fem.Solution:
    return fem.solve(mesh, backend="numpy", solver="direct")


@pytest.fixture(scope="module")
def annulus() -> fem.Solution:
    """The full ring: a mesh with a hole."""
    return solved(fem.generate.annulus(angle=2 * np.pi, nr=3, na=16))


def test_triangles_cover_the_elements_and_leave_the_hole(annulus):
    total, least = area(annulus.mesh)
    assert least > 0
    # The subdivided quadratic sides are chords of the circles: the area is that of the ring up to 0.1 %.
    assert total == pytest.approx(np.pi * (2**2 - 1**2), rel=1e-3)


def test_orphan_nodes_are_not_drawn(annulus):
    mesh = annulus.mesh
    far = replace(mesh, x=np.append(mesh.x, 1e6), y=np.append(mesh.y, -1e6))
    assert len(far.orphan_nodes) == 1
    assert area(far) == pytest.approx(area(mesh))
    triangles = Triangles(far)
    assert np.abs(triangles.x).max() <= 2 + 1e-9


@pytest.mark.parametrize("n", [1, 30, 60, 500])
def test_points_carry_the_quadratic_field_whatever_the_subdivision(n):
    mesh = fem.generate.duct(nx=n, ny=n)
    triangles = Triangles(mesh)
    assert triangles.parts == {1: _FINEST, 30: _FINEST, 60: 7, 500: 1}[n]
    np.testing.assert_allclose(triangles.nodal(mesh.x**2), triangles.x**2, atol=1e-12)
    du_dx, du_dy = triangles.gradient(mesh.x**2 - mesh.y)
    np.testing.assert_allclose(du_dx, 2 * triangles.x, atol=1e-10)
    np.testing.assert_allclose(du_dy, -1, atol=1e-10)


@pytest.mark.parametrize("n", [1, 3, 60])
def test_lattice_points_lie_in_their_triangles(n):
    triangles = Triangles(distorted(n, n, seed=n, width=3.0))
    point, triangle, weights = triangles.at_lattice(20, 7)
    assert np.array_equal(np.unique(point), np.arange(140))
    assert weights.min() > -1e-6
    for at, corners in (((point % 20 + 0.5) * 3 / 20, triangles.x), ((point // 20 + 0.5) / 7, triangles.y)):
        np.testing.assert_allclose((corners[triangles.corners[triangle]] * weights).sum(axis=1), at, atol=1e-12)


@pytest.mark.parametrize("n", [2, 40, 500])
def test_pixels_show_the_field_at_their_middle(n):
    # Whether elements are larger or smaller than pixels.
    mesh = fem.generate.duct(nx=n, ny=n)
    triangles = Triangles(mesh)
    raster = Raster(triangles, 300, 100)
    assert raster.inside.all()
    y, x = (np.mgrid[:100, :300] + 0.5) / 100
    np.testing.assert_allclose(raster.pointwise(triangles.nodal(3 * mesh.x - mesh.y)), 3 * x - y, atol=1e-12)
    left = raster.elemental(mesh.x[mesh.quad8[:, 0]])
    assert (left <= x + 1e-9).all()
    assert (x <= left + 3 / n + 1e-9).all()


def test_pixels_outside_show_the_nearest(annulus):
    raster = Raster(Triangles(annulus.mesh), 200, 200)
    y, x = np.mgrid[:200, :200] / 50 - 1.99
    r = np.hypot(x, y)
    assert raster.inside[(r > 1.02) & (r < 1.98)].all()
    assert not raster.inside[(r < 0.98) | (r > 2.02)].any()
    assert np.isfinite(raster.elemental(annulus.speed)).all()


# outlines


def test_a_quadratic_side_is_a_bezier_curve():
    mesh = distorted(2, 2, seed=3, curve=0.3, plane=lambda x, y: (x + 0.3 * y * y, y + 0.2 * x * x))
    edges = mesh.exterior_edges
    b, c = bezier(mesh, edges)
    a, mid, _ = (np.stack([mesh.x[n], mesh.y[n]], axis=1) for n in edges.T)
    np.testing.assert_allclose(0.25 * a + 0.5 * c + 0.25 * b, mid, atol=1e-15)  # half-way along the curve


@settings(max_examples=30)
@given(small_meshes())
def test_the_outline_holds_the_mesh(mesh):
    # Every edge of the boundary once, in closed curves around what the elements cover.
    edges = mesh.exterior_edges
    found = chains(edges)
    assert sorted(number for chain in found for number in chain) == list(range(len(edges)))
    assert all((edges[chain, 2] == edges[np.roll(chain, -1), 0]).all() for chain in found)
    (polygon,) = outline(mesh, 1.0).to_polygons(closed_only=True)
    x, y = polygon.T
    enclosed = 0.5 * (x[:-1] * y[1:] - x[1:] * y[:-1]).sum()
    assert enclosed == pytest.approx(area(mesh)[0], rel=0.02)


def test_holes_and_parts_have_outlines_of_their_own(annulus):
    assert len(chains(annulus.mesh.exterior_edges)) == 2
    assert len(chains(two_parts().exterior_edges)) == 2


def test_open_chains_begin_at_their_beginning():
    assert chains(np.array([[2, 0, 4], [6, 0, 8], [4, 0, 6]])) == [[0, 2, 1]]


def test_the_outline_of_many_elements_is_thinned():
    # 2,000 sides of which the picture shows four.
    mesh = fem.generate.duct(nx=900, ny=100)
    assert len(mesh.exterior_edges) == 2000
    assert len(outline(mesh, 0.01).vertices) <= 6
    ring = fem.generate.annulus(angle=2 * np.pi, nr=2, na=5000)
    thin = outline(ring, 0.01)
    assert 100 < len(thin.vertices) < 2000
    r = np.hypot(*np.concatenate(thin.to_polygons(closed_only=True)).T)
    assert np.minimum(abs(r - 1), abs(r - 2)).max() < 1e-6


@settings(max_examples=30)
@given(st.integers(3, 200), st.floats(0.001, 0.5), st.integers(0, 99))
def test_what_is_left_of_a_line_is_near_enough(n, tolerance, seed):
    points = np.random.default_rng(seed).uniform(-1, 1, (n, 2)).cumsum(axis=0)
    left = kept(points, tolerance)
    assert {0, n - 1} <= set(left)
    for first, last in pairwise(left):
        chord, off = points[last] - points[first], points[first : last + 1] - points[first]
        away = abs(chord[0] * off[:, 1] - chord[1] * off[:, 0]) / np.hypot(*chord)
        assert away.max() <= tolerance * (1 + 1e-9)


# streamlines


def streamlines(solution: fem.Solution, columns: int = 600) -> list[np.ndarray]:
    mesh, triangles = solution.mesh, Triangles(solution.mesh)
    corner = np.array([triangles.x.min(), triangles.y.min()])
    size = np.array([triangles.x.max(), triangles.y.max()]) - corner
    rows = max(2, round(columns * size[1] / size[0]))
    raster = Raster(triangles, columns, rows)
    k = raster.elemental(solution.problem.conductivity_on(mesh))
    q = (-k * raster.pointwise(part) for part in triangles.gradient(solution.u))
    return drawn_flow.Streamlines(raster, *q, corner, size / [columns, rows]).through(mesh, solution.problem)


def test_streamlines_of_a_radial_flow_are_radii():
    # Evenly around, from the inner circle to the outer.
    lines = streamlines(solved(fem.generate.annulus(angle=2 * np.pi, nr=8, na=64)))
    assert len(lines) == 24
    angles = []
    for line in lines:
        θ = np.unwrap(np.arctan2(line[:, 1], line[:, 0]))
        assert np.ptp(θ) < 0.01
        angles.append(θ[0] % (2 * np.pi))
        r = np.hypot(*line.T)
        assert r[0] == pytest.approx(1, abs=0.02)
        assert r[-1] == pytest.approx(2, abs=0.02)
    np.testing.assert_allclose(np.diff(np.sort(angles)), 2 * np.pi / 24, rtol=0.1)


def test_streamlines_of_a_bend_are_circles():
    mesh = fem.with_boundaries(fem.generate.annulus(angle=np.pi / 2, flow="around", nr=8, na=32))
    bend = fem.Problem.potential_flow(mesh, gamma=lambda x, y: 1 / np.hypot(x, y))
    lines = streamlines(fem.solve(mesh, bend, solver="direct"))
    for line in lines:
        assert np.ptp(np.hypot(*line.T)) < 0.02
    # The same part of the flow passes between two: speed is c/r, so the radii grow by equal factors.
    r = np.sort([np.hypot(*line[0]) for line in lines])
    np.testing.assert_allclose(r[1:] / r[:-1], 2 ** (1 / len(lines)), rtol=0.02)


def test_streamlines_stay_inside_and_are_symmetrical():
    tube = solved(fem.generate.y_tube(nodes=5000))
    lines = streamlines(tube)
    assert len(lines) % 2 == 0
    end = np.array([line[-1] for line in lines])
    assert end[:, 0] == pytest.approx(tube.mesh.x.max(), abs=0.02)
    assert (end[:, 1] > 0).sum() == (end[:, 1] < 0).sum()
    np.testing.assert_allclose(np.sort(end[:, 1]), np.sort(-end[:, 1]), atol=1e-3)
    path = outline(tube.mesh, 1e-3)
    for line in lines:
        assert path.contains_points(line[2:], radius=0.01).all()


def test_streamlines_carry_equal_flux_through_layers():
    # The upper layer conducts twenty times as well: 20 of 21 parts of the flow leave through it.
    mesh = fem.with_boundaries(fem.generate.duct(nx=60, ny=40))
    k = np.where(mesh.y[mesh.quad8[:, :4]].mean(axis=1) > 0.5, 20.0, 1.0)
    lines = streamlines(fem.solve(mesh, fem.Problem.potential_flow(mesh, conductivity=k), solver="direct"))
    y = np.sort([line[-1, 1] for line in lines])
    assert (y > 0.5).sum() >= len(lines) - 1
    np.testing.assert_allclose(np.diff(y[y > 0.5]), 0.5 / (20 / 21 * len(lines)), rtol=0.1)


def test_streamlines_of_a_source_lead_to_where_it_leaves():
    mesh = fem.with_boundaries(fem.generate.duct(nx=30, ny=10))
    lines = streamlines(fem.solve(mesh, fem.Problem((fem.Dirichlet("outlet"),), source=1.0), solver="direct"))
    assert lines
    for line in lines:
        assert (np.diff(line[:, 0]) > 0).all()
        assert line[-1, 0] == pytest.approx(3, abs=0.02)


def test_there_are_no_streamlines_without_a_flow():
    mesh = fem.with_boundaries(fem.generate.duct(nx=4, ny=2))
    still = fem.solve(mesh, fem.Problem.potential_flow(mesh, gamma=0.0), solver="direct")
    assert streamlines(still) == []
    draw(still, ["speed"])


# arrows


def quiver(solution: fem.Solution):
    axis = draw(solution, ["velocity"]).axes[0]
    return next(drawn for drawn in axis.collections if isinstance(drawn, Quiver))


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize(("nr", "na"), [(1, 8), (3, 16), (30, 160)])
def test_arrows_stay_inside_apart_and_symmetrical(nr, na, scale):
    ring = fem.generate.annulus(inner=scale, outer=2 * scale, angle=2 * np.pi, nr=nr, na=na)
    arrows = quiver(solved(ring))
    assert len(arrows.XY) > 50
    half = 0.5 * np.stack([arrows.U, arrows.V], axis=1)
    assert 2 * np.hypot(*half.T).max() <= 0.8 * 4 * scale / 14 * (1 + 1e-9)  # shorter than to the next
    for end in (arrows.XY - half, arrows.XY + half):
        radius = np.hypot(*end.T) / scale
        assert (radius > 1.01).all()
        assert (radius < 1.99).all()
    drawn = {tuple(row) for row in np.round(np.hstack([arrows.XY, half]) / scale, 6) + 0.0}
    for mirror in ([-1, 1, -1, 1], [1, -1, 1, -1]):
        assert {tuple(np.array(row) * mirror + 0.0) for row in drawn} == drawn


def test_there_are_no_arrows_without_room():
    assert len(quiver(solved(fem.generate.duct(length=1000, height=1, nx=50, ny=1))).XY) == 0


@pytest.mark.parametrize("elements", [slice(0, None, 2), slice(None)])
def test_what_is_not_a_number_has_no_arrow(annulus, elements):
    velocity = annulus.velocity.copy()
    velocity[elements] = np.nan
    arrows = quiver(replace(annulus, velocity=velocity))
    assert len(arrows.XY) < len(quiver(annulus).XY)
    assert np.isfinite([arrows.U, arrows.V]).all()


def test_few_extreme_elements_do_not_take_the_colours():
    values = np.append(np.linspace(1, 2, 10_000), 50.0)
    low, high, extend = scale(values)
    assert (low, extend) == (1.0, "max")
    assert high == pytest.approx(2, rel=0.01)


def test_a_constant_field_shows_no_noise():
    low, high, extend = scale(np.full(100, 2.5) + 1e-14 * np.arange(100))
    assert extend == "neither"
    assert high - low > 1e-3
    assert scale(np.zeros(5)) == (-1.0, 1.0, "neither")


@pytest.mark.parametrize("aspect", [0.01, 0.5, 1.0, 1.6, 3, 100])
@pytest.mark.parametrize("panels", [1, 2, 3, 5])
def test_figures_have_a_sensible_size(aspect, panels):
    columns, width, height = layout(aspect, panels)
    assert 1 <= columns <= panels
    assert width <= 13
    assert 0.4 <= height <= 9
    assert width == pytest.approx(aspect * height) or height == 0.4


def test_panels_lie_beside_each_other_where_that_makes_them_larger():
    assert layout(1.0, 2)[0] == 2
    assert layout(4.0, 2)[0] == 1
    assert layout(3.0, 4)[0] == 2


@pytest.mark.parametrize(("shape", "suffix"), list(zip(fem.generate.SHAPES, cycle([".png", ".svg"]), strict=False)))
def test_pictures_of_every_shape(shape, suffix, tmp_path):
    solution = solved(fem.generate.SHAPES[shape](nodes=300))
    path = plot_solution(solution, tmp_path / f"picture{suffix}")
    assert [file.name for file in tmp_path.iterdir()] == [f"picture{suffix}"]
    if suffix == ".png":
        pixels = imread(path)
        assert pixels.shape[1] >= 1000
        assert np.unique(pixels[..., :3].reshape(-1, 3), axis=0).shape[0] > 200
    else:
        text = path.read_text()
        assert text.count("<image") >= 2  # the fields are rasterised, not thousands of polygons
        assert len(text) < 1_000_000


def test_the_hole_is_white(annulus, tmp_path):
    pixels = imread(plot_solution(annulus, tmp_path / "ring.png", fields=["potential"]))[..., :3]
    # The ring is symmetrical: the middle of the coloured part of the picture (less the colour bar) is in the hole.
    coloured = (pixels.max(axis=2) - pixels.min(axis=2) > 0.2).any(axis=1)
    rows = np.flatnonzero(coloured)
    row = (rows[0] + rows[-1]) // 2
    line = pixels[row].max(axis=1) - pixels[row].min(axis=1) > 0.2
    columns = np.flatnonzero(line)
    ring = columns[: np.flatnonzero(np.diff(columns) > 1)[-1] + 1]  # without the bar
    assert (pixels[row, (ring[0] + ring[-1]) // 2] == 1).all()


@pytest.mark.parametrize("fields", ["speed", ["velocity", "pressure"], FIELDS, "all"])
def test_fields_are_chosen(fields, annulus, tmp_path):
    assert annulus.plot(tmp_path / "u.png", fields).stat().st_size > 10_000


def titles(solution: fem.Solution, fields) -> list[str]:
    return [axis.get_title(loc="left") for axis in draw(solution, fields).axes]


def test_titles_say_what_is_seen():
    duct = solved(fem.generate.duct(nx=4, ny=2))
    assert [title for title in titles(duct, FIELDS[:-1]) if title] == [
        "potential u in m²/s, lines every 0.5",
        "speed |∇u| in m/s, and streamlines",
        "velocity -∇u in m/s",
        "pressure in Pa, less p₀ = 101,328.8",
    ]


def test_convergence_is_the_history_from_the_beginning_to_the_end():
    solution = fem.solve(fem.generate.duct(nx=10, ny=3), backend="numpy", monitor=5, solver="cg")
    axis = draw(solution, ["convergence"]).axes[0]
    (line,) = axis.lines
    report = solution.report
    expected = {0: 1.0, **dict(report.history), report.iterations: report.solver["relative_residual"]}
    assert dict(zip(line.get_xdata(), line.get_ydata(), strict=True)) == expected
    assert axis.get_yscale() == "log"
    assert axis.get_title(loc="left").startswith("cg: relative residual ")


def test_no_texts_overlap(annulus):
    # Titles and axis labels of all panels, also where they are narrow.
    narrow = solved(fem.generate.duct(length=1, height=30, nx=3, ny=20))
    for solution in (annulus, narrow, fem.solve(fem.generate.y_tube(nodes=300), backend="numpy")):
        figure = draw(solution, FIELDS)
        figure.draw_without_rendering()
        texts = [figure._suptitle]
        for axis in figure.axes:
            texts += [axis._left_title, axis.xaxis.label, axis.yaxis.label]
        boxes = [text.get_window_extent() for text in texts if text.get_text()]
        for number, box in enumerate(boxes):
            assert not any(box.overlaps(other) for other in boxes[:number])
            assert figure.bbox.x0 <= box.x0
            assert box.x1 <= figure.bbox.x1


def test_a_partial_result_says_so(tmp_path):
    mesh = fem.generate.duct(nx=10, ny=3)
    partial = fem.solve(mesh, backend="numpy", maxiter=2, solver="cg")
    assert "NOT CONVERGED" in plot_solution(partial, tmp_path / "u.svg").read_text()


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_a_picture_is_the_same_bytes_each_time(annulus, tmp_path, suffix):
    # Names inside SVG are random unless Matplotlib is told otherwise.
    if suffix == ".svg" and tuple(map(int, version("matplotlib").split(".")[:2])) < (3, 10):
        pytest.skip("Matplotlib names clip paths by their address before 3.10")
    first, second = (plot_solution(annulus, tmp_path / f"{name}{suffix}").read_bytes() for name in "ab")
    assert first == second


def test_the_figure_leaves_no_global_state(annulus, tmp_path):
    import sys

    plot_solution(annulus, tmp_path / "u.png")
    assert "matplotlib.pyplot" not in sys.modules


def test_refusals(annulus, tmp_path, monkeypatch):
    with pytest.raises(fem.FemError, match=r"end in \.png or \.svg, not '\.jpg'"):
        plot_solution(annulus, tmp_path / "u.jpg")
    with pytest.raises(fem.OptionError, match="can't plot vorticity; fields: potential, speed, velocity, pressure"):
        plot_solution(annulus, tmp_path / "u.png", ["potential", "vorticity"])
    with pytest.raises(fem.OptionError, match="can't plot nothing"):
        plot_solution(annulus, tmp_path / "u.png", [])
    with pytest.raises(OSError, match="No such file"):
        plot_solution(annulus, tmp_path / "no" / "u.png")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(fem.FemError, match="pip install matplotlib"):
        check_plot(Path("u.png"))


def test_a_run_that_diverged_is_drawn(annulus, tmp_path):
    nothing = {name: np.full_like(getattr(annulus, name), np.nan) for name in ("u", "velocity", "speed", "pressure")}
    replace(annulus, **nothing).plot(tmp_path / "u.png", FIELDS[:-1])


@pytest.mark.slow
def test_a_large_mesh_is_drawn_quickly(tmp_path):
    # 1.36 million nodes take less than 2 s on one core, and no more space than few.
    mesh = fem.with_boundaries(fem.generate.y_tube(nodes=1_358_000))
    u = 9 * (1 - mesh.x / mesh.x.max())
    zeros = np.zeros(mesh.n_elements)
    small = solved(fem.generate.duct(nx=2, ny=1))
    velocity = np.stack([zeros + 1, zeros], axis=1)
    solution = replace(small, mesh=mesh, u=u, velocity=velocity, speed=mesh.x[mesh.quad8[:, 0]] + 1, pressure=zeros)
    start = time.perf_counter()
    path = plot_solution(solution, tmp_path / "u.svg")
    assert time.perf_counter() - start < 10
    assert path.stat().st_size < 1_000_000


def test_what_is_drawn_by_default():
    import inspect

    assert inspect.signature(fem.Solution.plot).parameters["fields"].default == DEFAULT
