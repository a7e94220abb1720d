"""Pictures: what is drawn where, holes and orphan nodes, formats, refusals, speed."""

import time
from dataclasses import replace
from pathlib import Path

import fem_core as fem
import numpy as np
import pytest
from fem_core.plot import _FINEST, _figure, _range, _size, _Triangles, check_plot, plot_solution

matplotlib = pytest.importorskip("matplotlib", reason="pictures need Matplotlib (the extra `plot`)")

from matplotlib.image import imread  # noqa: E402
from matplotlib.quiver import Quiver  # noqa: E402


def area(mesh: fem.Mesh) -> tuple[float, float]:
    """Of the triangles, and the least of any."""
    t = _Triangles(mesh)
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
    triangles = _Triangles(far)
    assert np.abs(triangles.x).max() <= 2 + 1e-9


@pytest.mark.parametrize("n", [1, 30, 60, 500])
def test_points_carry_the_quadratic_field_whatever_the_subdivision(n):
    mesh = fem.generate.duct(nx=n, ny=n)
    triangles = _Triangles(mesh)
    expected_parts = {1: _FINEST, 30: _FINEST, 60: 7, 500: 1}[n]
    assert triangles.parts == expected_parts
    np.testing.assert_allclose(triangles.nodal(mesh.x**2), triangles.x**2, atol=1e-12)
    values = np.arange(mesh.n_elements, dtype=float)
    assert len(triangles.elemental(values)) == len(triangles.x)
    # Every triangle lies in the element whose value it shows.
    middle = triangles.x[triangles.corners].mean(axis=1)
    element = triangles.elemental(values)[triangles.corners[:, 0]].astype(int)
    assert (middle >= mesh.x[mesh.quad8[element]].min(axis=1)).all()
    assert (middle <= mesh.x[mesh.quad8[element]].max(axis=1)).all()


@pytest.mark.parametrize("n", [1, 3, 60])
def test_lattice_points_lie_in_their_elements(n):
    mesh = fem.generate.duct(nx=n, ny=n)
    point, element = _Triangles(mesh).at_lattice(20, 7)
    assert np.array_equal(np.unique(point), np.arange(140))
    x, y = (point % 20 + 0.5) * 3 / 20, (point // 20 + 0.5) / 7
    for at, nodes in ((x, mesh.x), (y, mesh.y)):
        assert (at > nodes[mesh.quad8[element]].min(axis=1) - 1e-9).all()
        assert (at < nodes[mesh.quad8[element]].max(axis=1) + 1e-9).all()


def quiver(solution: fem.Solution):
    axis = _figure(solution, ["speed"]).axes[0]
    return next(drawn for drawn in axis.collections if isinstance(drawn, Quiver))


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize(("nr", "na"), [(1, 8), (3, 16), (30, 160)])
def test_arrows_stay_inside_apart_and_symmetrical(nr, na, scale):
    ring = fem.generate.annulus(inner=scale, outer=2 * scale, angle=2 * np.pi, nr=nr, na=na)
    arrows = quiver(solved(ring))
    assert len(arrows.XY) > 100
    half = 0.5 * np.stack([arrows.U, arrows.V], axis=1)
    assert 2 * np.hypot(*half.T).max() <= 0.7 * 4 * scale / 20 * (1 + 1e-9)
    for end in (arrows.XY - half, arrows.XY + half):
        radius = np.hypot(*end.T) / scale
        assert (radius > 1.01).all()
        assert (radius < 1.99).all()
    drawn = {tuple(row) for row in np.round(np.hstack([arrows.XY, half]) / scale, 6) + 0.0}
    for mirror in ([-1, 1, -1, 1], [1, -1, 1, -1]):
        assert {tuple(np.array(row) * mirror + 0.0) for row in drawn} == drawn


def test_there_are_no_arrows_without_room():
    assert len(quiver(solved(fem.generate.duct(length=1000, height=1, nx=50, ny=1))).XY) == 0


@pytest.mark.parametrize("elements", [slice(7, 8), slice(None)])
def test_what_is_not_a_number_has_no_arrow(annulus, elements):
    velocity = annulus.velocity.copy()
    velocity[elements] = np.nan
    arrows = quiver(replace(annulus, velocity=velocity))
    assert len(arrows.XY) < len(quiver(annulus).XY)
    assert np.isfinite([arrows.U, arrows.V]).all()


def test_few_extreme_elements_do_not_take_the_colours():
    values = np.append(np.linspace(1, 2, 10_000), 50.0)
    low, high, extend = _range(values, nodal=False)
    assert (low, extend) == (1.0, "max")
    assert high == pytest.approx(2, rel=0.01)


def test_a_constant_field_shows_no_noise():
    low, high, extend = _range(np.full(100, 2.5) + 1e-14 * np.arange(100), nodal=False)
    assert extend == "neither"
    assert high - low > 1e-3
    assert _range(np.zeros(5), nodal=False) == (-1.0, 1.0, "neither")


@pytest.mark.parametrize("aspect", [0.01, 0.5, 1.0, 1.6, 3, 100])
@pytest.mark.parametrize("panels", [1, 2, 3])
def test_figures_have_a_sensible_size(aspect, panels):
    width, height = _size(aspect, panels, across=aspect < 1.5)
    assert 4 <= width <= 20
    assert 2 <= height <= 16


@pytest.mark.parametrize("shape", ["duct", "annulus", "y-tube", "cylinder"])
@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_pictures_of_shapes(shape, suffix, tmp_path):
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
        assert len(text) < 3_000_000


def test_the_hole_is_white(annulus, tmp_path):
    pixels = imread(plot_solution(annulus, tmp_path / "ring.png", fields=["u"]))[..., :3]
    # The ring is symmetrical: the middle of the coloured part of the picture (less the colour bar) is in the hole.
    coloured = (pixels.max(axis=2) - pixels.min(axis=2) > 0.2).any(axis=1)
    rows = np.flatnonzero(coloured)
    row = (rows[0] + rows[-1]) // 2
    line = pixels[row].max(axis=1) - pixels[row].min(axis=1) > 0.2
    columns = np.flatnonzero(line)
    ring = columns[: np.flatnonzero(np.diff(columns) > 1)[-1] + 1]  # without the bar
    assert (pixels[row, (ring[0] + ring[-1]) // 2] == 1).all()


@pytest.mark.parametrize("fields", [["u"], ["speed", "pressure"], ["u", "speed", "pressure"]])
def test_fields_are_chosen(fields, annulus, tmp_path):
    assert plot_solution(annulus, tmp_path / "u.png", fields).stat().st_size > 10_000


def test_a_partial_result_says_so(tmp_path):
    mesh = fem.generate.duct(nx=10, ny=3)
    partial = fem.solve(mesh, backend="numpy", maxiter=2)
    assert "NOT CONVERGED" in plot_solution(partial, tmp_path / "u.svg").read_text()


def test_the_figure_leaves_no_global_state(annulus, tmp_path):
    import sys

    plot_solution(annulus, tmp_path / "u.png")
    assert "matplotlib.pyplot" not in sys.modules


def test_refusals(annulus, tmp_path, monkeypatch):
    with pytest.raises(fem.FemError, match=r"end in \.png or \.svg, not '\.jpg'"):
        plot_solution(annulus, tmp_path / "u.jpg")
    with pytest.raises(fem.OptionError, match="can't plot vorticity; fields: u, speed, pressure"):
        plot_solution(annulus, tmp_path / "u.png", ["u", "vorticity"])
    with pytest.raises(fem.OptionError, match="can't plot nothing"):
        plot_solution(annulus, tmp_path / "u.png", [])
    with pytest.raises(OSError, match="No such file"):
        plot_solution(annulus, tmp_path / "no" / "u.png")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(fem.FemError, match="pip install matplotlib"):
        check_plot(Path("u.png"))


def test_a_large_mesh_is_drawn_quickly(tmp_path):
    mesh = fem.generate.y_tube(nodes=200_000)
    u = 9 * (1 - mesh.x / mesh.x.max())
    zeros = np.zeros(mesh.n_elements)
    small = solved(fem.generate.duct(nx=2, ny=1))
    velocity = np.stack([zeros + 1, zeros], axis=1)
    solution = replace(small, mesh=mesh, u=u, velocity=velocity, speed=mesh.x[mesh.quad8[:, 0]] + 1, pressure=zeros)
    start = time.perf_counter()
    plot_solution(solution, tmp_path / "u.png")
    assert time.perf_counter() - start < 10
