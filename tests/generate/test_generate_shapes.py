"""Channels, junctions and the cylinder: valid, of the right size, on their curves, for any accepted parameters."""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pytest
from fem_core import Mesh, MeshError, generate, validate_mesh
from fem_core.mesh import det_jacobian
from fem_core.mesh import quad8 as q8
from fem_core.types import Floats
from hypothesis import given, settings
from hypothesis import strategies as st
from meshes import gauss
from scipy.spatial import cKDTree

#: Points x + iy, in metres.
Curve = Any


class Shape(NamedTuple):
    """What is known of a shape without looking at its mesh."""

    some: Callable[..., Mapping[str, float]]
    """Parameters from the whole of what is accepted."""
    area: Callable[..., float]
    """In m²."""
    walls: Callable[..., list[Curve]]
    """Lines through many points, or exact polygons: two walls from the inlet to the outlet, then any others."""


def walk(start: complex, pieces: list[tuple[float, float]], left: float = 0.0) -> Curve:
    """The line that starts with heading 0 and goes on by (length, turn), seen from `left`: summed step by step."""
    steps = 4000
    turns = np.concatenate([np.full(steps, turn / steps) for _, turn in pieces])
    lengths = np.concatenate([np.full(steps, length / steps) for length, _ in pieces])
    end = np.concatenate([[0.0], np.cumsum(turns)])
    middle = 0.5 * (end[1:] + end[:-1])
    chord = np.sinc(turns / 2 / np.pi)
    at = start + np.concatenate([[0.0], np.cumsum(lengths * chord * np.exp(1j * middle))])
    return at + left * 1j * np.exp(1j * end)


def both(start: complex, pieces: list[tuple[float, float]], width: float) -> list[Curve]:
    return [walk(start, pieces, side * width / 2) for side in (-1, 1)]


def mirrored(wall: Curve) -> list[Curve]:
    return [wall, wall.conj()]


def ramp(rise: float, angle: float, radius: float) -> list[tuple[float, float]]:
    straight = (abs(rise) - 2 * radius * (1 - math.cos(angle))) / math.sin(angle)
    turn = math.copysign(angle, rise)
    return [(radius * angle, turn), (straight, 0.0), (radius * angle, -turn)]


def reach(rise: float, angle: float, radius: float) -> float:
    """Length along x of a ramp."""
    _, (straight, _), _ = ramp(rise, angle, radius)
    return 2 * radius * math.sin(angle) + straight * math.cos(angle)


def step(x: Floats) -> Floats:
    """ξ³ (10 - 15ξ + 6ξ²) on [0, 1], as 1 less its image."""
    z = 1 - np.clip(x, 0, 1)
    return 1 - z**3 * (10 - 15 * z + 6 * z**2)


def smooth_walls(
    inlet_width, outlet_width, length, inlet_length, outlet_length, offset=0.0
) -> tuple[list[Curve], float]:
    """Both walls, and the area ∫ w dL."""
    x = np.linspace(0, inlet_length + length + outlet_length, 40_001)
    S = step((x - inlet_length) / length)
    w = inlet_width + (outlet_width - inlet_width) * S
    centre = x + 1j * offset * S
    tangent = np.gradient(centre, x)
    tangent /= abs(tangent)
    area = float(np.sum(0.5 * (w[1:] + w[:-1]) * abs(np.diff(centre))))
    return [centre + side * 0.5j * w * tangent for side in (-1, 1)], area


def scale(least: float = 0.1, most: float = 10.0) -> st.SearchStrategy[float]:
    return st.floats(least, most)


@st.composite
def elbows(draw) -> dict[str, float]:
    w = draw(scale())
    return {
        "width": w, "radius": w * draw(st.floats(0.7501, 5)), "angle": draw(st.floats(0.01, math.pi)),
        "inlet_length": w * draw(st.floats(0.01, 25)), "outlet_length": w * draw(st.floats(0.01, 25)),
    }  # fmt: skip


def elbow_pieces(width, radius, angle, inlet_length, outlet_length) -> list[tuple[float, float]]:
    return [(inlet_length, 0), (radius * angle, angle), (outlet_length, 0)]


@st.composite
def s_bends(draw) -> dict[str, float]:
    given = draw(elbows())
    middle = given["width"] * draw(st.just(0.0) | st.floats(0.01, 3))
    return {**given, "angle": draw(st.floats(0.01, math.pi / 2)), "middle_length": middle}


def s_bend_pieces(width, radius, angle, inlet_length, outlet_length, middle_length) -> list[tuple[float, float]]:
    there, back = (radius * angle, angle), (radius * angle, -angle)
    return [(inlet_length, 0), there, (middle_length, 0), back, (outlet_length, 0)]


@st.composite
def s_ducts(draw) -> dict[str, float]:
    w = draw(scale())
    out = w * draw(st.floats(0.1, 10))
    widest = max(w, out)
    length = widest * draw(st.floats(0.5, 6))
    most = min(0.7 * length, 0.3 * length**2 / widest)
    return {
        "inlet_width": w, "outlet_width": out, "length": length, "offset": draw(st.floats(-most, most)),
        "inlet_length": w * draw(st.floats(0.01, 23)), "outlet_length": out * draw(st.floats(0.01, 23)),
    }  # fmt: skip


@st.composite
def nozzles(draw) -> dict[str, float]:
    w = draw(scale())
    out = w * draw(st.floats(0.05, 1))
    return {
        "inlet_width": w, "outlet_width": out, "length": w * draw(st.floats(0.5, 5)),
        "inlet_length": w * draw(st.floats(0.01, 23)), "outlet_length": out * draw(st.floats(0.01, 23)),
    }  # fmt: skip


@st.composite
def venturis(draw) -> dict[str, float]:
    w = draw(scale())
    throat = w * draw(st.floats(0.05, 0.95))
    angles = draw(st.tuples(*2 * [st.floats(0.02, 1.0)]))
    most = (w - throat) / (4 * (1 - math.cos(max(angles))))
    return {
        "width": w, "throat": throat, "throat_length": throat * draw(st.floats(0.01, 23)),
        "convergence": angles[0], "divergence": angles[1], "radius": most * draw(st.floats(0.01, 1)),
        "inlet_length": w * draw(st.floats(0.01, 23)), "outlet_length": w * draw(st.floats(0.01, 23)),
    }  # fmt: skip


def venturi_pieces(
    width, throat, throat_length, convergence, divergence, radius, inlet_length, outlet_length
) -> list[tuple[float, float]]:
    rise = (width - throat) / 2
    down, up = ramp(-rise, convergence, radius), ramp(rise, divergence, radius)
    return [(inlet_length, 0), *down, (throat_length, 0), *up, (outlet_length, 0)]


def venturi_area(width, throat, throat_length, convergence, divergence, radius, inlet_length, outlet_length) -> float:
    # A ramp has the same shape seen from both its ends, so its mean width is the mean of its ends' widths.
    rise = (width - throat) / 2
    ramps = reach(rise, convergence, radius) + reach(rise, divergence, radius)
    return width * (inlet_length + outlet_length) + throat * throat_length + ramps * (width + throat) / 2


@st.composite
def diffusers(draw) -> dict[str, float]:
    w = draw(scale())
    out = w * draw(st.floats(1.02, 10))
    angle = draw(st.floats(0.05, 1.0))
    most = (out - w) / (4 * (1 - math.cos(angle)))
    return {
        "inlet_width": w, "outlet_width": out, "angle": angle, "radius": most * draw(st.floats(0.01, 1)),
        "inlet_length": w * draw(st.floats(0.01, 23)), "outlet_length": out * draw(st.floats(0.01, 23)),
    }  # fmt: skip


def diffuser_pieces(inlet_width, outlet_width, angle, radius, inlet_length, outlet_length) -> list[tuple[float, float]]:
    return [(inlet_length, 0), *ramp((outlet_width - inlet_width) / 2, angle, radius), (outlet_length, 0)]


def diffuser_area(inlet_width, outlet_width, angle, radius, inlet_length, outlet_length) -> float:
    between = reach((outlet_width - inlet_width) / 2, angle, radius) * (inlet_width + outlet_width) / 2
    return inlet_width * inlet_length + between + outlet_width * outlet_length


@st.composite
def steps(draw) -> dict[str, float]:
    h = draw(scale())
    return {
        "height": h, "step": h * draw(st.floats(0.05, 5)),
        "upstream": h * draw(st.floats(0.01, 25)), "downstream": h * draw(st.floats(0.01, 210)),
    }  # fmt: skip


def step_walls(height, step, upstream, downstream) -> list[Curve]:
    lower = np.array([-upstream, 0, -1j * step, downstream - 1j * step])
    return [lower, np.array([-upstream, downstream]) + 1j * height]


@st.composite
def junctions(draw) -> dict[str, float]:
    w = draw(scale())
    branch = w * draw(st.floats(0.1, 5))
    return {
        "width": w, "branch_width": branch, "angle": draw(st.floats(0.6, 2.5)),
        "upstream": w * draw(st.floats(0.01, 25)), "downstream": w * draw(st.floats(0.01, 25)),
        "branch_length": branch * draw(st.floats(1.5, 8)),
    }  # fmt: skip


def junction_walls(width, branch_width, angle, upstream, downstream, branch_length) -> list[Curve]:
    along = np.exp(1j * angle)
    mouth = branch_width / math.sin(angle) / 2
    low, high, tip = -0.5j * width, 0.5j * width, 0.5j * width + branch_length * along
    ends = -mouth - upstream, mouth + downstream
    side = 0.5j * branch_width * along
    left, right = (
        np.array([ends[0] + high, -mouth + high, tip + side]),
        np.array([tip - side, mouth + high, ends[1] + high]),
    )
    return [np.array(ends) + low, left, right]


@st.composite
def cylinders(draw) -> dict[str, float]:
    h = draw(scale())
    d = h * draw(st.floats(0.0101, 0.599))
    most = min(h / 4, h / 2 - 0.75 * d)
    return {
        "height": h, "diameter": d, "offset": 0.999 * most * draw(st.floats(-1, 1)),
        "upstream": d / 2 + h * draw(st.floats(0.251, 4)), "downstream": d / 2 + h * draw(st.floats(0.251, 4)),
    }  # fmt: skip


def cylinder_walls(height, diameter, offset, upstream, downstream) -> list[Curve]:
    ends = np.array([-upstream, downstream])
    circle = diameter / 2 * np.exp(1j * np.linspace(0, 2 * math.pi, 20_001))
    return [ends + 1j * (side * height / 2 - offset) for side in (-1, 1)] + [circle]


SHAPES = {
    "elbow": Shape(
        elbows(),
        lambda **p: p["width"] * sum(length for length, _ in elbow_pieces(**p)),
        lambda **p: both(0j, elbow_pieces(**p), p["width"]),
    ),
    "s-bend": Shape(
        s_bends(),
        lambda **p: p["width"] * sum(length for length, _ in s_bend_pieces(**p)),
        lambda **p: both(0j, s_bend_pieces(**p), p["width"]),
    ),
    "s-duct": Shape(
        s_ducts(),
        lambda **p: smooth_walls(**p)[1],
        lambda **p: smooth_walls(**p)[0],
    ),
    "nozzle": Shape(
        nozzles(),
        lambda inlet_width, outlet_width, length, inlet_length, outlet_length: (
            inlet_width * inlet_length + length * (inlet_width + outlet_width) / 2 + outlet_width * outlet_length
        ),
        lambda **p: smooth_walls(**p)[0],
    ),
    "venturi": Shape(
        venturis(),
        venturi_area,
        lambda **p: mirrored(walk(0.5j * p["width"], venturi_pieces(**p))),
    ),
    "diffuser": Shape(
        diffusers(),
        diffuser_area,
        lambda **p: mirrored(walk(0.5j * p["inlet_width"], diffuser_pieces(**p))),
    ),
    "backward-step": Shape(
        steps(),
        lambda height, step, upstream, downstream: height * upstream + (height + step) * downstream,
        step_walls,
    ),
    "t-junction": Shape(
        junctions(),
        lambda width, branch_width, angle, upstream, downstream, branch_length: (
            width * (upstream + branch_width / math.sin(angle) + downstream) + branch_width * branch_length
        ),
        junction_walls,
    ),
    "cylinder": Shape(
        cylinders(),
        lambda height, diameter, offset, upstream, downstream: (
            height * (upstream + downstream) - math.pi * diameter**2 / 4
        ),
        cylinder_walls,
    ),
}  # fmt: skip
shapes = pytest.mark.parametrize("name", SHAPES)
NEW = pytest.mark.parametrize(("name", "shape"), SHAPES.items(), ids=SHAPES)


def area(mesh: Mesh) -> float:
    return float(gauss(mesh, 3)[2].sum())


def length(mesh: Mesh, *boundaries: str) -> float:
    """Of the quadratic edges of some boundaries, in metres."""
    points, weights = np.polynomial.legendre.leggauss(5)
    dN = np.stack([points - 0.5, -2 * points, points + 0.5])
    return sum(
        float((abs((mesh.x + 1j * mesh.y)[mesh.boundaries[name].edges] @ dN) @ weights).sum()) for name in boundaries
    )


def distance(points: Curve, line: Curve) -> Floats:
    """From each point to the line through these vertices."""
    at = np.concatenate([[0.0], np.cumsum(abs(np.diff(line)))])
    # With vertices this close, the nearest one is at most two from the segment that a point on the line lies on:
    # beside a corner it may be on the other side.
    line = np.interp(np.union1d(at, np.linspace(0, at[-1], 2001)), at, line)
    line = line[np.append(True, line[1:] != line[:-1])]
    middle, half = 0.5 * (line[1:] + line[:-1]), 0.5 * np.diff(line)
    _, nearest = cKDTree(np.column_stack([line.real, line.imag])).query(np.column_stack([points.real, points.imag]))
    segments = np.clip([nearest + k for k in range(-3, 3)], 0, len(half) - 1)
    along = np.clip(((points - middle[segments]) / half[segments]).real, -1, 1)
    return abs(points - middle[segments] - along * half[segments]).min(axis=0)


def walls_of(mesh: Mesh) -> list[str]:
    return [name for name in mesh.boundaries if name not in ("inlet", "outlet")]


# ── for any parameters ───────────────────────────────────────────────────────────────────────


@NEW
@settings(max_examples=25)
@given(data=st.data())
def test_any_shape_is_valid_and_conforming(name, shape, data):
    # validate_mesh: det J > 0, no coincident nodes, matching mid-sides; one part and its exterior edges: no slit.
    parameters = data.draw(shape.some)
    nodes, grading = data.draw(st.integers(8, 3_000)), data.draw(st.floats(0.1, 10))
    mesh = generate.SHAPES[name](**parameters, nodes=nodes, grading=grading)
    assert validate_mesh(mesh).quad8 is mesh.quad8  # extreme shapes may get a warning
    assert len(mesh.orphan_nodes) == 0
    assert mesh.components[0] == 1
    hole = "cylinder" in mesh.boundaries
    assert mesh.n_nodes == 3 * mesh.n_elements + len(mesh.exterior_edges) + (not hole)


@NEW
@settings(max_examples=6)
@given(data=st.data())
def test_any_shape_has_its_area_and_its_walls(name, shape, data):
    parameters = data.draw(shape.some)
    mesh = generate.SHAPES[name](**parameters, nodes=6_000)
    det = det_jacobian(mesh)
    assert (det.min(axis=1) / det.max(axis=1)).min() > 0.1
    assert area(mesh) == pytest.approx(shape.area(**parameters), rel=2e-4)
    lines = shape.walls(**parameters)
    exact = sum(abs(np.diff(line)).sum() for line in lines)
    assert length(mesh, *walls_of(mesh)) == pytest.approx(exact, rel=1e-3)
    # Every node of a wall, mid-sides too, is on the true curve; half-way along a chord they would be some 1e-4 off.
    nodes = np.concatenate([mesh.boundaries[wall].nodes for wall in walls_of(mesh)])
    points = (mesh.x + 1j * mesh.y)[nodes]
    off = np.min([distance(points, line) for line in lines], axis=0)
    assert off.max() < 1e-6 * mesh.extent


@NEW
@settings(max_examples=6)
@given(data=st.data())
def test_inlet_and_outlet_are_the_straight_ends(name, shape, data):
    # Wherever they point: between the beginnings and between the ends of the walls.
    parameters = data.draw(shape.some)
    mesh = generate.SHAPES[name](**parameters, nodes=800)
    first, second, *more = shape.walls(**parameters)
    ends = {"inlet": [(first[0], second[0])], "outlet": [(first[-1], second[-1])]}
    if name == "t-junction":
        ends["outlet"] = [(second[-1], more[0][0]), (more[0][-1], first[-1])]
    for boundary, lines in ends.items():
        points = (mesh.x + 1j * mesh.y)[mesh.boundaries[boundary].nodes]
        off = np.min([distance(points, np.array(line)) for line in lines], axis=0)
        assert off.max() < 1e-9 * mesh.extent
        assert length(mesh, boundary) == pytest.approx(abs(np.diff(lines)).sum(), rel=1e-9)


# ── sizes and grading ────────────────────────────────────────────────────────────────────────


@shapes
def test_across_counts_the_elements_of_the_inlet(name):
    for across in (1, 2, 7, 12):
        mesh = generate.SHAPES[name](across=across)
        assert len(mesh.boundaries["inlet"].edges) == across


@shapes
def test_grading_makes_elements_smaller_where_it_matters(name):
    # At walls, at corners, at the cylinder: the smallest element of the mesh there shrinks, and its number stays.
    even, graded = (generate.SHAPES[name](across=12, grading=g) for g in (1.0, 8.0))
    assert even.n_elements == graded.n_elements
    smallest = [det_jacobian(mesh).min(axis=1) for mesh in (even, graded)]
    assert smallest[1].min() < 0.5 * smallest[0].min()
    at = np.argmin(smallest[1])
    touching = np.isin(graded.quad8[at], np.concatenate([graded.boundaries[wall].nodes for wall in walls_of(graded)]))
    assert touching.any()


@shapes
def test_elements_are_no_needles(name):
    # Near-square in the bulk, with the defaults and at any size.
    for nodes in (500, 3_000, 100_000):
        mesh = generate.SHAPES[name](nodes=nodes)
        ends = mesh.quad8[:, q8.EDGES][:, :, [0, 2]]
        sides = np.hypot(np.diff(mesh.x[ends])[..., 0], np.diff(mesh.y[ends])[..., 0])
        stretch = sides.max(axis=1) / sides.min(axis=1)
        assert np.median(stretch) < 1.5
        assert stretch.max() < 3.5


# ── refusals ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("elbow", {"width": 0.0}, "width must be a positive number, not 0.0"),
        ("elbow", {"radius": 0.5}, "radius must be between 0.75 and 100 (0.75 to 100 widths), not 0.5"),
        ("elbow", {"angle": 90.0}, "angle must be between 0.01 and 3.14159 (radians), not 90.0"),
        ("elbow", {"grading": 0.0}, "grading must be between 0.01 and 100, not 0.0"),
        ("elbow", {"across": 0}, "across must be a positive integer, not 0"),
        ("elbow", {"across": 3, "nodes": 500}, "nodes must be omitted if across is given, not 500"),
        ("s-bend", {"angle": 2.0}, "angle must be between 0.01 and 1.5708"),
        (
            "s-bend",
            {"middle_length": -1.0},
            "middle_length must be between 0.01 and 10000 (0.01 to 10,000 widths, or 0), not -1.0",
        ),
        ("s-duct", {"offset": 3.0}, "offset must be between -2.8 and 2.8 (for this length and these widths), not 3.0"),
        ("s-duct", {"outlet_width": 20.0}, "outlet_width must be between 0.1 and 10"),
        ("s-duct", {"length": 0.1}, "length must be between 0.7 and 1400"),
        ("nozzle", {"outlet_width": 3.0}, "outlet_width must be between 0.1 and 2 (0.05 to 1 inlet widths), not 3.0"),
        ("nozzle", {"length": -1.0}, "length must be between 1 and 2000 (0.5 to 1000 inlet widths), not -1.0"),
        ("diffuser", {"outlet_width": 1.0}, "outlet_width must be between 1.01 and 20"),
        ("diffuser", {"radius": 99.0}, "radius must be between 0 and 16.4"),
        ("venturi", {"throat": 1.0}, "throat must be between 0.05 and 0.99"),
        ("venturi", {"convergence": 10.5}, "convergence must be between 0.02 and 1 (radians), not 10.5"),
        ("venturi", {"throat_length": 0.0}, "throat_length must be between 0.005 and 5000 (0.01 to 10,000 throats)"),
        ("diffuser", {"outlet_length": float("nan")}, "outlet_length must be between 0.02 and 20000"),
        ("elbow", {"inlet_length": 1e9, "across": 10}, "inlet_length must be between 0.01 and 10000"),
        ("elbow", {"across": 10**5}, "100,000 elements across give more than 500,000,000 nodes; use fewer"),
        ("cylinder", {"across": 10**9}, "1,000,000,000 elements across give more than 500,000,000 nodes; use fewer"),
        ("backward-step", {"step": 0.01}, "step must be between 0.05 and 20"),
        ("t-junction", {"angle": 0.1}, "angle must be between 0.6 and 2.5"),
        ("t-junction", {"branch_length": 1.0}, "branch_length must be between 1.2 and 8000"),
        ("cylinder", {"diameter": 3.0}, "diameter must be between 0.04 and 2.4"),
        ("cylinder", {"offset": 1.5}, "offset must be between -1 and 1"),
        ("cylinder", {"upstream": 1.0}, "upstream must be between 1.5 and 40000"),
    ],
)
def test_bad_parameters_are_refused_by_name(name, given, message):
    with pytest.raises(MeshError) as refusal:
        generate.SHAPES[name](**given)
    assert str(refusal.value).startswith(f"{name}: {message}")
