"""Small meshes that the generators of `fem_core` don't make, and integrals over meshes, for tests."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from fem_core.mesh import quad8 as q8
from fem_core.mesh.geometry import det_jacobian
from fem_core.mesh.mesh import Boundary, Mesh
from fem_core.types import Floats, Ints
from hypothesis import strategies as st

#: (x, y) of the logical points (s, t).
Plane = Callable[[Floats, Floats], tuple[Floats, Floats]]

#: Corners, then mid-sides, in a lattice of half steps, as (row, column).
_LATTICE = ((0, 0), (0, 2), (2, 2), (2, 0), (0, 1), (1, 2), (2, 1), (1, 0))


def lattice(x: Floats, y: Floats, names: Mapping[str, str] | None = None) -> Mesh:
    """The mesh of the points (2m + 1, 2n + 1), rows upwards; `names` takes bottom, right, top, left to a boundary."""
    rows, columns = x.shape
    at = np.arange(x.size).reshape(x.shape)
    at[1::2, 1::2] = -1
    used = at >= 0
    new = np.cumsum(used.ravel()).reshape(x.shape) - 1
    quad8 = np.stack([new[i : rows - 2 + i : 2, j : columns - 2 + j : 2].ravel() for i, j in _LATTICE], axis=1)
    if rows == 2 or columns == 2:
        raise ValueError("a lattice has 2m + 1 rows and 2n + 1 columns")
    sides = {"bottom": new[0], "right": new[:, -1], "top": new[-1, ::-1], "left": new[::-1, 0]}
    merged: dict[str, list[Ints]] = {}
    for side, name in (names or {"left": "inlet", "right": "outlet", "bottom": "walls", "top": "walls"}).items():
        nodes = sides[side]
        merged.setdefault(name, []).append(np.stack([nodes[:-1:2], nodes[1::2], nodes[2::2]], axis=1))
    boundaries = {name: Boundary.from_edges(np.concatenate(edges)) for name, edges in merged.items()}
    return Mesh(x[used], y[used], quad8, boundaries)


def straight(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Half-step points (2m + 1, 2n + 1) with mid-sides half-way between the corners (m + 1, n + 1)."""

    def halved(a: Floats) -> Floats:
        full = np.empty(np.multiply(a.shape, 2) - 1)
        full[::2, ::2] = a
        full[1::2, ::2] = 0.5 * (a[1:] + a[:-1])
        full[:, 1::2] = 0.5 * (full[:, 2::2] + full[:, :-2:2])
        return full

    return halved(x), halved(y)


def squares(n: int, m: int | None = None, width: float = 1.0, height: float = 1.0, **given) -> Mesh:
    """n x m equal rectangles."""
    s, t = np.linspace(0, width, 2 * n + 1), np.linspace(0, height, 2 * (m or n) + 1)
    return lattice(*np.meshgrid(s, t), **given)


def trapezoids(n: int, **given) -> Mesh:
    """n x n equal trapezoids in the unit square, n even: the sequence of Arnold, Boffi and Falk (2002).

    Their sides are 3/4 and 5/4 of h on every mesh, so they do not become parallelograms as n grows.
    """
    s = np.linspace(0, 1, n + 1)
    x, y = np.meshgrid(s, s)
    y[1::2, ::2] -= 1 / (4 * n)
    y[1::2, 1::2] += 1 / (4 * n)
    return lattice(*straight(x, y), **given)


def bisected(times: int, amplitude: float = 0.25, seed: int = 3, **given) -> Mesh:
    """A distorted mesh of 4 x 4 straight elements, each cut in four `times` times: they become parallelograms."""
    s = np.linspace(0, 1, 5)
    x, y = np.meshgrid(s, s)
    move = np.random.default_rng(seed).uniform(-amplitude / 4, amplitude / 4, (2, 3, 3))
    x[1:-1, 1:-1] += move[0]
    y[1:-1, 1:-1] += move[1]
    for _ in range(times):
        x, y = straight(x, y)
    return lattice(*straight(x, y), **given)


def distorted(
    n: int, m: int, *, seed: int = 0, width: float = 1.0, height: float = 1.0,
    move: float = 0.2, curve: float = 0.1, plane: Plane | None = None, **given
) -> Mesh:  # fmt: skip
    """n x m elements, inner corners moved by `move` and inner mid-sides by `curve` of an element's size at most.

    The sides of the rectangle stay straight and evenly divided; `plane` then maps everything.
    """
    rng = np.random.default_rng(seed)
    s, t = np.linspace(0, width, n + 1), np.linspace(0, height, m + 1)
    corners = np.stack(np.meshgrid(s, t))
    size = np.array([width / n, height / m])[:, None, None]
    corners[:, 1:-1, 1:-1] += size * rng.uniform(-move, move, (2, m + 1, n + 1))[:, 1:-1, 1:-1]
    points = np.stack(straight(*corners))
    inner = np.zeros(points.shape[1:], dtype=bool)
    inner[1:-1, 1:-1] = True
    inner[::2, ::2] = False
    points += size * rng.uniform(-curve, curve, points.shape) * inner
    x, y = plane(*points) if plane else points
    return lattice(x, y, **given)


def moved(mesh: Mesh, *, angle: float = 0.0, scale: float = 1.0, shift: tuple[float, float] = (0.0, 0.0)) -> Mesh:
    """`mesh` turned about the origin, scaled, then shifted."""
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    return replace(mesh, x=c * mesh.x - s * mesh.y + shift[0], y=s * mesh.x + c * mesh.y + shift[1])


def renumbered(mesh: Mesh, seed: int = 0, orphans: int = 0) -> tuple[Mesh, Ints, Ints]:
    """`mesh` with its nodes and elements in another order and `orphans` more nodes among them.

    Also the new number of each old node, and the old number of each new element.
    """
    rng = np.random.default_rng(seed)
    node = rng.permutation(mesh.n_nodes + orphans)[: mesh.n_nodes]
    element = rng.permutation(mesh.n_elements)
    x, y = rng.uniform(-1, 1, (2, mesh.n_nodes + orphans))
    x[node], y[node] = mesh.x, mesh.y
    boundaries = {name: Boundary(node[b.edges], node[b.nodes]) for name, b in mesh.boundaries.items()}
    return Mesh(x, y, node[mesh.quad8[element]], boundaries), node, element


def two_parts() -> Mesh:
    """Two unit squares of 2 x 2 elements, one after the other, that share no node; boundaries by position."""
    one = squares(2)
    x, y = np.append(one.x, one.x + 2), np.append(one.y, one.y)
    return Mesh(x, y, np.concatenate([one.quad8, one.quad8 + one.n_nodes]))


def gauss(mesh: Mesh, order: int) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """x, y, weight det J (n, q), N (q, 8) and its gradients in x and y (n, q, 2, 8) at order x order points."""
    points, weights = q8.gauss_legendre(order)
    N, dN = q8.shape(*points.T), q8.shape_gradient(*points.T)
    xy = np.stack([mesh.x[mesh.quad8], mesh.y[mesh.quad8]], axis=-1)
    J = np.einsum("qdi,eix->eqdx", dN, xy)
    x, y = np.moveaxis(np.einsum("qi,eix->eqx", N, xy), -1, 0)
    return x, y, weights * np.linalg.det(J), N, np.linalg.solve(J, np.broadcast_to(dN, (len(J), *dN.shape)))


def errors(mesh: Mesh, u: Floats, exact, gradient) -> tuple[float, float, float]:
    """‖u - exact‖ and ‖∇u - gradient‖ in L2, and the latter at the 2x2 Gauss points."""
    x, y, w, N, dN = gauss(mesh, 5)
    nodal = u[mesh.quad8]
    in_u = np.sum(w * (nodal @ N.T - exact(x, y)) ** 2)

    def in_gradient(x: Floats, y: Floats, w: Floats, dN: Floats) -> float:
        ux, uy = np.moveaxis(np.einsum("eqdi,ei->eqd", dN, nodal), -1, 0)
        gx, gy = gradient(x, y)
        return float(np.sqrt(np.sum(w * ((ux - gx) ** 2 + (uy - gy) ** 2))))

    x2, y2, w2, _, dN2 = gauss(mesh, 2)
    return float(np.sqrt(in_u)), in_gradient(x, y, w, dN), in_gradient(x2, y2, w2, dN2)


def absolute_sums(mesh: Mesh, Ke: Floats, values: Floats, slots: Ints) -> Floats:
    """Σ|contributions| of each matrix entry: what a difference between two orders of summation is measured by."""
    return np.bincount(slots.ravel(), np.abs(Ke).ravel(), minlength=len(values))


@st.composite
def small_meshes(draw, most: int = 5, orphans: bool = True) -> Mesh:
    """Valid meshes of 1 to most² elements: distorted, curved, renumbered, with orphan nodes; boundaries named."""
    n, m = draw(st.integers(1, most)), draw(st.integers(1, most))
    seed = draw(st.integers(0, 2**32 - 1))
    width = draw(st.floats(0.1, 10))
    mesh = distorted(n, m, seed=seed, width=width, move=draw(st.floats(0, 0.2)), curve=draw(st.floats(0, 0.1)))
    mesh, _, _ = renumbered(mesh, seed, draw(st.integers(0, 4)) if orphans else 0)
    assert det_jacobian(mesh).min() > 0
    return mesh


def torn_apart(mesh: Mesh, cut: float, shift: float = 0.0) -> Mesh:
    """`mesh` with nodes of their own for the elements whose middle is right of `cut`; boundaries of both sides."""
    right = mesh.x[mesh.quad8[:, :4]].mean(axis=1) > cut
    quad8 = np.where(right[:, None], mesh.quad8 + mesh.n_nodes, mesh.quad8)
    x, y = np.append(mesh.x, mesh.x + shift), np.append(mesh.y, mesh.y)
    apart = Mesh(x, y, quad8)
    exterior, n = apart.matched_edges.exterior, mesh.n_nodes
    boundaries = {}
    for name, boundary in mesh.boundaries.items():
        known = {frozenset(edge) for edge in boundary.edges.tolist()}
        edges = [edge for edge in exterior.tolist() if frozenset(np.mod(edge, n).tolist()) in known]
        boundaries[name] = Boundary.from_edges(np.array(edges).reshape(-1, 3))
    inside = np.array([e for e in exterior.tolist() if not any(e in b.edges.tolist() for b in boundaries.values())])
    boundaries["walls"] = Boundary.from_edges(np.concatenate([boundaries["walls"].edges, inside.reshape(-1, 3)]))
    return replace(apart, boundaries=boundaries)
