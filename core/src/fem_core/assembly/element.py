"""Element matrices and vectors, for many elements at once.

With the reference gradients ∂N and the Jacobian J = ∂(x,y)/∂(ξ,η), the stiffness integrand is
∇N_iᵀ ∇N_j det J = ∂N_iᵀ M ∂N_j with the symmetric 2x2 metric M = det J · J⁻¹J⁻ᵀ. So Ke is a product of
the nine metrics (27 numbers) with one constant table (27, 64): the element's geometry enters by four
inner products with the nodes' coordinates, and no gradient in x and y is ever formed.

An element's result must not depend on the elements in the same call. BLAS doesn't guarantee this
for matrices of different heights, so every product is made of slabs of exactly `GRAIN` rows (the
last is filled up). A caller who computes a part of a mesh starts it at a multiple of `GRAIN`.
"""

import numpy as np

from fem_core.mesh import quad8 as q8
from fem_core.types import Floats

#: Elements in a slab; ranges of elements start at multiples of it.
GRAIN = 32


def _gradient_table(dn: Floats) -> Floats:
    """(8, 2q): column d·q + p takes nodal values to ∂/∂ξ (d=0) or ∂/∂η (d=1) at point p."""
    return np.ascontiguousarray(dn.transpose(2, 1, 0).reshape(8, -1))


def _stiffness_table() -> Floats:
    """(27, 64): row m·9 + p holds ∂N_i ∂N_j at point p for the metric's entries 11, 12 and 22."""
    ξ, η = q8.DN_3X3[:, 0], q8.DN_3X3[:, 1]
    products = [
        np.einsum("pi,pj->pij", ξ, ξ),
        np.einsum("pi,pj->pij", ξ, η) + np.einsum("pi,pj->pij", η, ξ),
        np.einsum("pi,pj->pij", η, η),
    ]
    return np.ascontiguousarray(np.stack(products).reshape(27, 64))


_D9 = _gradient_table(q8.DN_3X3)
_D4 = _gradient_table(q8.DN_2X2)
_A = _stiffness_table()
_N = np.ascontiguousarray(q8.N_3X3.T)


def _product(a: Floats, table: Floats, out: Floats | None = None) -> Floats:
    """a @ table for a of (n, m), n a multiple of GRAIN, slab by slab."""
    n, m = a.shape
    slabs = a.reshape(n // GRAIN, GRAIN, m)
    if out is not None:
        out = out.reshape(n // GRAIN, GRAIN, -1)
    return np.matmul(slabs, table, out=out).reshape(n, -1)


def _fill_up(a: Floats) -> Floats:
    """`a` with its last row repeated up to a multiple of GRAIN rows."""
    short = -len(a) % GRAIN
    return np.concatenate([a, np.repeat(a[-1:], short, axis=0)]) if short else a


def _jacobian(x: Floats, y: Floats, table: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """x_ξ, x_η, y_ξ, y_η at the points of `table`, each (n, points)."""
    half = table.shape[1] // 2
    x_d, y_d = _product(x, table), _product(y, table)
    return x_d[:, :half], x_d[:, half:], y_d[:, :half], y_d[:, half:]


def element_stiffness(x: Floats, y: Floats, k: Floats | float, out: Floats | None = None) -> Floats:
    """Stiffness matrices Ke = ∫ k ∇N_i·∇N_j dΩ by 3x3 Gauss points, (n, 8, 8).

    Parameters
    ----------
    x, y : (n, 8)
        Coordinates of the elements' nodes in metres; the caller must ensure that det J > 0.
    k : (n,) or float
        Conductivity.
    out : (n, 8, 8), optional
        C-contiguous array to fill.
    """
    n = len(x)
    x, y, k = _fill_up(x), _fill_up(y), _fill_up(np.broadcast_to(np.asarray(k, dtype=np.float64), (n,)))
    x_ξ, x_η, y_ξ, y_η = _jacobian(x, y, _D9)
    w = (q8.WEIGHTS_3X3 * k[:, None]) / (x_ξ * y_η - x_η * y_ξ)
    M = np.empty((len(x), 3, 9))
    M[:, 0] = w * (x_η * x_η + y_η * y_η)
    M[:, 1] = -w * (x_ξ * x_η + y_ξ * y_η)
    M[:, 2] = w * (x_ξ * x_ξ + y_ξ * y_ξ)
    direct = out is not None and len(x) == n
    Ke = _product(M.reshape(-1, 27), _A, out if direct else None).reshape(-1, 8, 8)
    if direct or out is None:
        return Ke[:n]
    out[...] = Ke[:n]
    return out


def element_load(x: Floats, y: Floats, s: Floats) -> Floats:
    """Load vectors fe = ∫ s N_i dΩ by 3x3 Gauss points, s interpolated from the nodes: (n, 8).

    Parameters
    ----------
    x, y, s : (n, 8)
        Coordinates in metres and source at the elements' nodes.
    """
    n = len(x)
    x, y, s = _fill_up(x), _fill_up(y), _fill_up(s)
    x_ξ, x_η, y_ξ, y_η = _jacobian(x, y, _D9)
    w = q8.WEIGHTS_3X3 * (x_ξ * y_η - x_η * y_ξ)
    return _product(w * _product(s, _N), q8.N_3X3)[:n]


def element_derived(x: Floats, y: Floats, u: Floats) -> tuple[Floats, Floats]:
    """Velocity v = -∇u and speed |∇u|, each the mean over the 2x2 Gauss points: (n, 2), (n,).

    The speed is the mean of the magnitudes, not the magnitude of the mean.

    Parameters
    ----------
    x, y, u : (n, 8)
        Coordinates in metres and potential at the elements' nodes.
    """
    n = len(x)
    x, y, u = _fill_up(x), _fill_up(y), _fill_up(u)
    x_ξ, x_η, y_ξ, y_η = _jacobian(x, y, _D4)
    u_ξ, u_η = np.split(_product(u, _D4), 2, axis=1)
    det = x_ξ * y_η - x_η * y_ξ
    u_x = (y_η * u_ξ - y_ξ * u_η) / det
    u_y = (x_ξ * u_η - x_η * u_ξ) / det
    velocity = np.stack([-_mean4(u_x), -_mean4(u_y)], axis=1)
    return velocity[:n], _mean4(np.sqrt(u_x * u_x + u_y * u_y))[:n]


def _mean4(a: Floats) -> Floats:
    """Mean over the four points, summed in their order."""
    mean: Floats = 0.25 * (a[:, 0] + a[:, 1] + a[:, 2] + a[:, 3])
    return mean


def robin_edges(x: Floats, y: Floats, p: Floats, gamma: Floats) -> tuple[Floats, Floats]:
    """∫ p N_i N_j ds and ∫ γ N_i ds over quadratic edges by 3 Gauss points: (n, 3, 3), (n, 3).

    Parameters
    ----------
    x, y, p, gamma : (n, 3)
        Coordinates in metres and coefficients at the nodes (a, mid, b) of each edge.
    """
    N, dN = q8.EDGE_N, q8.EDGE_DN
    ds = q8.EDGE_WEIGHTS * np.hypot(np.einsum("ni,pi->np", x, dN), np.einsum("ni,pi->np", y, dN))
    matrix = np.einsum("np,np,pi,pj->nij", ds, np.einsum("ni,pi->np", p, N), N, N, optimize=True)
    load = np.einsum("np,np,pi->ni", ds, np.einsum("ni,pi->np", gamma, N), N, optimize=True)
    return matrix, load
