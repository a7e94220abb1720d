"""Hypothesis strategies: valid meshes of all kinds, and problems on them."""

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from hypothesis import strategies as st

from fem_core.generate import y_tube
from fem_core.generate.structured import Block, assemble, halved
from fem_core.mesh import quad8 as q8
from fem_core.mesh.geometry import det_jacobian, validate_mesh
from fem_core.mesh.mesh import Boundary, Mesh
from fem_core.problem import Dirichlet, Fluid, Problem, Robin
from fem_core.types import Array, Floats, Value

#: The least ratio of the smallest to the largest det J of a distorted element.
_LEAST_RATIO = 0.1


@dataclass(frozen=True, eq=False)
class Case:
    """A mesh and a problem on it."""

    mesh: Mesh
    problem: Problem


@st.composite
def meshes(draw: st.DrawFn, max_side: int = 6) -> Mesh:
    """Valid meshes with the boundaries `inlet`, `outlet` and `walls`, and with `part`, `again` and `points`.

    Graded, bent, stretched, rotated, scaled and moved; fans with up to 12 elements around a node; one part or several;
    corners and mid-sides displaced; elements starting at any corner; nodes and elements renumbered; with orphan nodes.
    From one element to max_side².
    """
    nx, ny = draw(st.integers(1, max_side)), draw(st.integers(1, max_side))
    shape: Literal["flat", "bent", "fan"] = draw(st.sampled_from(["flat", "flat", "bent", "fan"]))
    grading = draw(st.sampled_from([1.0, 2.0, 5.0]))
    distortion = draw(st.sampled_from([0.0, 0.5, 1.0]))
    aspect = draw(st.sampled_from([1.0, 1.0, 30.0, 300.0]))
    scale = draw(st.sampled_from([1.0, 1e-3, 1e3, 1e-8]))
    shift = draw(st.sampled_from([0.0, 3.0, 0.0, 1e5]))
    rotation = draw(st.sampled_from([0.0, 0.7]))
    pieces = draw(st.sampled_from([1, 1, 1, 2, 3]))
    renumber, turn = draw(st.booleans()), draw(st.booleans())
    orphans = draw(st.sampled_from([0, 0, 1, 5]))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))

    mesh = _fan(2 + 2 * max(nx, ny)) if shape == "fan" else _grid(nx, ny, grading)
    if shape == "bent":
        θ, r = 0.6 * mesh.x, 1 + mesh.y
        mesh = replace(mesh, x=r * np.sin(θ), y=r * np.cos(θ))
    mesh = _distorted(mesh, rng, distortion)
    if pieces > 1:
        mesh = in_pieces(mesh, pieces)
    c, s = np.cos(rotation), np.sin(rotation)
    x, y = mesh.x * aspect, mesh.y
    mesh = replace(mesh, x=scale * (c * x - s * y + shift), y=scale * (s * x + c * y - shift))
    mesh = with_more_boundaries(mesh, rng)
    if turn:
        mesh = turned(mesh, rng)
    if orphans:
        mesh = with_orphans(mesh, orphans, rng)
    if renumber:
        mesh = renumbered(mesh, rng)
    return validate_mesh(mesh)


#: What can be held on the boundaries of a drawn mesh. In each of them every part of the mesh has a level.
_HELD: tuple[tuple[str, ...], ...] = (
    ("Robin inlet", "Dirichlet outlet"),
    ("Robin inlet", "Dirichlet outlet", "Robin walls"),
    ("Robin inlet", "Dirichlet walls", "Dirichlet outlet"),
    ("Robin walls", "Robin part", "Robin walls", "Dirichlet outlet"),  # two conditions on an edge, and one twice
    ("Dirichlet outlet",),  # no flow through any boundary
    ("Dirichlet outlet", "Robin outlet", "Dirichlet points"),  # nodes without edges, and an edge with both kinds
    ("Dirichlet points", "Robin again", "Dirichlet inlet"),
    ("Robin+ outlet", "Robin inlet"),  # p > 0 holds the level, and no node is fixed
)


@st.composite
def problems(draw: st.DrawFn, mesh: Mesh) -> Problem:
    """Problems on `mesh` with all conditions and coefficients, as constants, arrays and functions."""
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    conductivity: float | Array = draw(st.sampled_from([1.0, 1.0, 0.2, 50.0, 1e-7, 1e7]))
    varied = draw(st.sampled_from(["no", "little", "by decades", "one", "whole"]))
    if varied in ("little", "by decades"):
        decades = 1 if varied == "little" else 7
        conductivity = 10 ** rng.uniform(-decades, decades, mesh.n_elements)
    elif varied == "one":  # only one element differs
        conductivity = np.where(np.arange(mesh.n_elements) == rng.integers(mesh.n_elements), 3.0, 2.0)
    elif varied == "whole":  # integers, and not contiguous
        conductivity = rng.integers(1, 9, 2 * mesh.n_elements)[::2]
    source = draw(_sources(mesh, rng))
    large = draw(st.sampled_from([1.0, 1.0, 1.0, 1e8, 1e-8]))
    conditions: list[Robin | Dirichlet] = []
    for held in draw(st.sampled_from(_HELD)):
        kind, _, boundary = held.partition(" ")
        if boundary not in mesh.boundaries:  # a mesh of the caller's
            continue
        if kind == "Dirichlet":
            conditions.append(Dirichlet(boundary, draw(_values(mesh, rng, factor=large))))
        else:
            p = 0.7 if kind == "Robin+" else draw(_values(mesh, rng, positive=True))
            conditions.append(Robin(boundary, gamma=draw(_values(mesh, rng, factor=large)), p=p))
    treatment: Literal["penalty", "eliminate"] = draw(st.sampled_from(["penalty", "eliminate"]))
    fluid = draw(st.sampled_from([Fluid(), Fluid(p0=0.0, rho=1000.0), Fluid(p0=-1e3, rho=1e-6)]))
    return Problem(tuple(conditions), conductivity, source, treatment, fluid).on(mesh)


def _sources(mesh: Mesh, rng: np.random.Generator) -> st.SearchStrategy[Value]:
    one = np.zeros(mesh.n_elements)
    one[rng.integers(mesh.n_elements)] = 1e6
    options: list[Value] = [0.0, 0.0, 1.5, wave, one, rng.normal(size=mesh.n_elements), rng.normal(size=mesh.n_nodes)]
    return st.sampled_from(options)


@st.composite
def cases(draw: st.DrawFn, max_side: int = 6) -> Case:
    """A mesh with a problem on it."""
    mesh = draw(meshes(max_side))
    return Case(mesh, draw(problems(mesh)))


def large_case(seed: int = 0, elements: int = 61 * 33) -> Case:
    """A case like the small ones, but with some 2,000 elements: several batches and blocks, the last one incomplete."""
    rng = np.random.default_rng(seed)
    ny = max(1, round(math.sqrt(elements * 33 / 61)))
    mesh = _distorted(_grid(max(1, elements // ny), ny, 3.0), rng, 1.0)
    mesh = validate_mesh(renumbered(with_orphans(turned(mesh, rng), 40, rng), rng))
    conductivity = 10 ** rng.uniform(-1, 1, mesh.n_elements)
    conditions = (Robin("inlet", 2.5, 0.3), Robin("walls", wave, 0.1), Dirichlet("outlet", 7.0))
    return Case(mesh, Problem(conditions, conductivity, wave).on(mesh))


def special_cases() -> list[Case]:
    """What must not depend on a draw: every set of conditions, and the extremes of shapes and coefficients."""
    rng = np.random.default_rng(0)
    mesh = with_more_boundaries(in_pieces(_distorted(_grid(3, 2, 2.0), rng, 1.0), 2), rng)
    found = []
    for number, held in enumerate(_HELD):
        values = rng.uniform(1, 2, (3, mesh.n_nodes))
        conditions = tuple(
            Dirichlet(boundary, values[0])
            if kind == "Dirichlet"
            else Robin(boundary, values[1], values[2] if kind == "Robin+" or number % 2 else 0.0)
            for kind, boundary in (one.split(" ") for one in held)
        )
        treatment: Literal["penalty", "eliminate"] = "eliminate" if number % 2 else "penalty"
        found.append(Case(mesh, Problem(conditions, 1 + rng.random(mesh.n_elements), wave, treatment).on(mesh)))
    fan = with_more_boundaries(in_pieces(_fan(13), 2), rng)
    thin = with_more_boundaries(replace(_fan(6), y=_fan(6).y / 300), rng)
    tiny = replace(fan, x=1e-8 * fan.x, y=1e-8 * fan.y)
    far = replace(fan, x=fan.x + 1e5, y=fan.y - 1e5)
    conditions = (Robin("inlet", 2.5, 0.3), Robin("again", wave), Dirichlet("outlet", 1e8))
    for number, odd in enumerate((fan, thin, tiny, far)):
        k = 10.0 ** rng.uniform(-7, 7, odd.n_elements)
        found.append(Case(odd, Problem(conditions[number % 2 :], k, rng.normal(size=odd.n_nodes)).on(odd)))
    return found


def many_elements(elements: int = 23_000) -> Case:
    """A case with so many elements, for faults that only large meshes show; too many for the baseline."""
    mesh = y_tube(nodes=3 * elements)
    rng = np.random.default_rng(0)
    conductivity = 10 ** rng.uniform(-1, 1, mesh.n_elements)
    return Case(mesh, Problem.potential_flow(mesh, conductivity=conductivity, source=wave))


def _values(
    mesh: Mesh, rng: np.random.Generator, positive: bool = False, factor: float = 1.0
) -> st.SearchStrategy[Value]:
    # A quadratic edge through positive values may dip below zero; between 1 and 2 it doesn't.
    array = rng.uniform(1, 2, mesh.n_nodes) if positive else rng.uniform(-1, 1, mesh.n_nodes)
    options: list[Value] = [0.0, 2.5 * factor, factor * array, _ripple if positive else wave]
    return st.sampled_from(options)


def wave(x: Floats, y: Floats) -> Floats:
    """A function of the coordinates, with both signs."""
    return np.asarray(np.sin(x + 2 * y) + 0.3)


def _ripple(x: Floats, y: Floats) -> Floats:
    return np.asarray(1.5 + 0.5 * np.sin(x + 2 * y))


def _grid(nx: int, ny: int, grading: float) -> Mesh:
    """A graded grid of nx by ny rectangles on 2 x 1."""
    block = Block(("a", "b", "c", "d"), 2 * _graded(nx, grading), _graded(ny, grading), lambda x, y: (x, y))
    return assemble([block], {"inlet": [("a", "d")], "outlet": [("b", "c")]}, "drawn mesh")


def _fan(sectors: int) -> Mesh:
    """Elements around a node in the middle, as many as `sectors` (at least 4), in a circle of radius 1."""
    ring = np.exp(2j * np.pi * np.arange(2 * sectors) / (2 * sectors))
    ring[::2] *= 0.7
    corner = np.concatenate([[0], ring])
    n = np.arange(sectors)
    before, tip, after = 1 + 2 * n, 2 + 2 * n, 1 + 2 * ((n + 1) % sectors)
    corners = np.stack([0 * n, before, tip, after], axis=1)
    edges, place = np.unique(np.sort(corners[:, [[0, 1], [1, 2], [2, 3], [3, 0]]], axis=2).reshape(-1, 2), axis=0,
                             return_inverse=True)  # fmt: skip
    z = np.concatenate([corner, corner[edges].mean(axis=1)])
    mesh = Mesh(z.real, z.imag, np.hstack([corners, len(corner) + place.reshape(-1, 4)]))
    sides = mesh.exterior_edges
    cut = max(1, len(sides) // 4)
    boundaries = {"inlet": sides[:cut], "outlet": sides[cut : 2 * cut], "walls": sides[2 * cut :]}
    return replace(mesh, boundaries={name: Boundary.from_edges(edges) for name, edges in boundaries.items()})


def in_pieces(mesh: Mesh, pieces: int) -> Mesh:
    """Copies of the mesh side by side that share no node; a boundary has the edges of all of them."""
    step = 1.5 * float(np.ptp(mesh.x))
    shift = mesh.n_nodes * np.arange(pieces)[:, None, None]
    boundaries = {
        name: Boundary((b.edges + shift).reshape(-1, 3), (b.nodes + shift[:, 0]).ravel())
        for name, b in mesh.boundaries.items()
    }
    x = (mesh.x + step * np.arange(pieces)[:, None]).ravel()
    return replace(mesh, x=x, y=np.tile(mesh.y, pieces), quad8=(mesh.quad8 + shift).reshape(-1, 8),
                   boundaries=boundaries)  # fmt: skip


def with_more_boundaries(mesh: Mesh, rng: np.random.Generator) -> Mesh:
    """The mesh with `part` (some edges of the walls), `again` (edges of all boundaries) and `points` (nodes only).

    One of the points is inside the mesh if there is such a node.
    """
    walls, every = mesh.boundaries["walls"].edges, mesh.exterior_edges
    part = walls[: max(1, len(walls) // 2)] if len(walls) else every[:1]
    inside = np.setdiff1d(mesh.quad8, every)
    points = [int(every[0, 1]), *(rng.choice(inside, 1).tolist() if len(inside) else [])]
    more = {
        "part": Boundary.from_edges(part),
        "again": Boundary.from_edges(every[::2]),
        "points": Boundary(np.empty((0, 3), dtype=np.int32), np.array(points, dtype=np.int32)),
    }
    return replace(mesh, boundaries={**mesh.boundaries, **more})


def _graded(n: int, grading: float) -> Floats:
    """Ends and midpoints of n intervals of [0, 1], (2n + 1,); the last is `grading` times as long as the first."""
    lengths = np.geomspace(1, grading, n)
    return halved(np.concatenate([[0], np.cumsum(lengths)]) / lengths.sum())


def _distorted(mesh: Mesh, rng: np.random.Generator, amount: float) -> Mesh:
    """Corners moved by up to 15 %, mid-sides by up to 6 % of the neighbouring edges, as far as det J allows."""
    a, mid, b = mesh.quad8[:, q8.EDGES].reshape(-1, 3).T
    length = np.hypot(mesh.x[b] - mesh.x[a], mesh.y[b] - mesh.y[a])
    size = np.full(mesh.n_nodes, np.inf)
    for nodes in (a, mid, b):
        np.minimum.at(size, nodes, length)
    is_mid = np.zeros(mesh.n_nodes, dtype=bool)
    is_mid[mesh.quad8[:, 4:]] = True
    reach = amount * size * np.where(is_mid, 0.06, 0.15)
    dx, dy = reach * rng.uniform(-1, 1, (2, mesh.n_nodes))
    for _ in range(8 if amount else 0):
        moved = replace(mesh, x=mesh.x + dx, y=mesh.y + dy)
        det = det_jacobian(moved)
        if (det.min(axis=1) > _LEAST_RATIO * det.max(axis=1)).all():
            return moved
        dx, dy = dx / 2, dy / 2
    return mesh


def turned(mesh: Mesh, rng: np.random.Generator) -> Mesh:
    """The same elements, each starting at a random corner."""
    start = rng.integers(0, 4, mesh.n_elements)[:, None]
    corner, quad8 = (np.arange(4) + start) % 4, mesh.quad8
    rows = np.arange(mesh.n_elements)[:, None]
    return replace(mesh, quad8=np.concatenate([quad8[rows, corner], quad8[rows, corner + 4]], axis=1))


def with_orphans(mesh: Mesh, count: int, rng: np.random.Generator) -> Mesh:
    """The mesh with `count` additional nodes that belong to no element, at random places in the numbering."""
    total = mesh.n_nodes + count
    kept = np.sort(rng.permutation(total)[: mesh.n_nodes])
    x, y = rng.normal(size=(2, total))
    x[kept], y[kept] = mesh.x, mesh.y
    return _renamed(mesh, x, y, kept, mesh.quad8)


def renumbered(mesh: Mesh, rng: np.random.Generator) -> Mesh:
    """The same mesh with nodes and elements in another order."""
    name = rng.permutation(mesh.n_nodes)
    x, y = np.empty((2, mesh.n_nodes))
    x[name], y[name] = mesh.x, mesh.y
    return _renamed(mesh, x, y, name, mesh.quad8[rng.permutation(mesh.n_elements)])


def _renamed(mesh: Mesh, x: Floats, y: Floats, name: Array, quad8: Array) -> Mesh:
    boundaries = {key: Boundary(name[b.edges], name[b.nodes]) for key, b in mesh.boundaries.items()}
    return replace(mesh, x=x, y=y, quad8=name[quad8], boundaries=boundaries)
