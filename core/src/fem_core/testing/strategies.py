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
    """Valid meshes with the boundaries `inlet`, `outlet` and `walls`.

    Graded, bent, rotated, scaled and moved; corners and mid-sides displaced; elements starting at any
    corner; nodes and elements renumbered; with orphan nodes. From one element to max_side².
    """
    nx, ny = draw(st.integers(1, max_side)), draw(st.integers(1, max_side))
    shape: Literal["flat", "bent"] = draw(st.sampled_from(["flat", "bent"]))
    grading = draw(st.sampled_from([1.0, 2.0, 5.0]))
    distortion = draw(st.sampled_from([0.0, 0.5, 1.0]))
    scale = draw(st.sampled_from([1.0, 1e-3, 1e3]))
    shift = draw(st.sampled_from([0.0, 3.0]))
    rotation = draw(st.sampled_from([0.0, 0.7]))
    renumber, turn = draw(st.booleans()), draw(st.booleans())
    orphans = draw(st.sampled_from([0, 0, 1, 5]))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))

    mesh = _grid(nx, ny, grading)
    if shape == "bent":
        θ, r = 0.6 * mesh.x, 1 + mesh.y
        mesh = replace(mesh, x=r * np.sin(θ), y=r * np.cos(θ))
    mesh = _distorted(mesh, rng, distortion)
    c, s = np.cos(rotation), np.sin(rotation)
    x, y = scale * (c * mesh.x - s * mesh.y + shift), scale * (s * mesh.x + c * mesh.y - shift)
    mesh = replace(mesh, x=x, y=y)
    if turn:
        mesh = turned(mesh, rng)
    if orphans:
        mesh = with_orphans(mesh, orphans, rng)
    if renumber:
        mesh = renumbered(mesh, rng)
    return validate_mesh(mesh)


@st.composite
def problems(draw: st.DrawFn, mesh: Mesh) -> Problem:
    """Problems on `mesh` with all conditions and coefficients, as constants, arrays and functions."""
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    conductivity: float | Floats = draw(st.sampled_from([1.0, 1.0, 0.2, 50.0]))
    if draw(st.booleans()):
        conductivity = 10 ** rng.uniform(-1, 1, mesh.n_elements)
    per_element = rng.normal(size=mesh.n_elements)
    source: Value = draw(st.sampled_from([0.0, 0.0, 1.5, "element", "node", "function"]))  # type: ignore[assignment]
    if source == "element":
        source = per_element
    elif source == "node":
        source = rng.normal(size=mesh.n_nodes)
    elif source == "function":
        source = _wave
    conditions: list[Robin | Dirichlet] = [
        Robin("inlet", gamma=draw(_values(mesh, rng)), p=draw(_values(mesh, rng, positive=True))),
        Dirichlet("outlet", draw(_values(mesh, rng))),
    ]
    if draw(st.booleans()):
        conditions.append(Robin("walls", gamma=draw(_values(mesh, rng)), p=draw(_values(mesh, rng, positive=True))))
    if draw(st.integers(0, 3)) == 0:
        conditions.insert(1, Dirichlet("walls", draw(_values(mesh, rng))))
    treatment: Literal["penalty", "eliminate"] = draw(st.sampled_from(["penalty", "eliminate"]))
    fluid = draw(st.sampled_from([Fluid(), Fluid(p0=0.0, rho=1000.0)]))
    return Problem(tuple(conditions), conductivity, source, treatment, fluid).on(mesh)


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
    conditions = (Robin("inlet", 2.5, 0.3), Robin("walls", _wave, 0.1), Dirichlet("outlet", 7.0))
    return Case(mesh, Problem(conditions, conductivity, _wave).on(mesh))


def many_elements(elements: int = 23_000) -> Case:
    """A case with some 23,000 elements, for faults that only large meshes show; too many for the baseline."""
    mesh = y_tube(nodes=min(70_000, 3 * elements))
    rng = np.random.default_rng(0)
    conductivity = 10 ** rng.uniform(-1, 1, mesh.n_elements)
    return Case(mesh, Problem.potential_flow(mesh, conductivity=conductivity, source=_wave))


def _values(mesh: Mesh, rng: np.random.Generator, positive: bool = False) -> st.SearchStrategy[Value]:
    # A quadratic edge through positive values may dip below zero; between 1 and 2 it doesn't.
    array = rng.uniform(1, 2, mesh.n_nodes) if positive else rng.uniform(-1, 1, mesh.n_nodes)
    options: list[Value] = [0.0, 2.5, array, _ripple if positive else _wave]
    return st.sampled_from(options)


def _wave(x: Floats, y: Floats) -> Floats:
    return np.asarray(np.sin(x + 2 * y) + 0.3)


def _ripple(x: Floats, y: Floats) -> Floats:
    return np.asarray(1.5 + 0.5 * np.sin(x + 2 * y))


def _grid(nx: int, ny: int, grading: float) -> Mesh:
    """A graded grid of nx by ny rectangles on 2 x 1."""
    block = Block(("a", "b", "c", "d"), 2 * _graded(nx, grading), _graded(ny, grading), lambda x, y: (x, y))
    return assemble([block], {"inlet": [("a", "d")], "outlet": [("b", "c")]}, "drawn mesh")


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
