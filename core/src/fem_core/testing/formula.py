"""The kit's own formulas, for all elements at once: the reference on meshes that are too large for the baseline.

They share no kernel and no batch with a backend, so a fault in the core's kernels isn't in both. A test compares them
with the baseline.
"""

from collections.abc import Iterable, Iterator
from weakref import WeakKeyDictionary

import numpy as np

from fem_core.mesh import quad8 as q8
from fem_core.mesh.mesh import Mesh
from fem_core.types import Floats

#: Elements at a time: their gradients fit a cache.
_PART = 1 << 10

#: Elements up to which the gradients are kept: 50 MB.
_KEPT = 40_000


Part = tuple[slice, Floats, Floats, Floats]

#: The parts of meshes that live, by the number of Gauss points.
_known: WeakKeyDictionary[Mesh, dict[int, list[Part]]] = WeakKeyDictionary()


def jacobian(x: Floats, y: Floats, dn: Floats) -> tuple[Floats, Floats, Floats]:
    """Gradients J⁻¹ dN (n, q, 2, 8), det J (n, q), and its error by cancellation in units of ε (n, q).

    x and y are (n, 8), dn is (q, 2, 8). Each entry of J is a sum of terms up to A, so det J = J00 J11 - J01 J10 may be
    wrong by ε times the same expression with A for one factor of each product.
    """
    n, q = len(x), len(dn)
    flat = dn.reshape(2 * q, 8).T
    J = [(a @ flat).reshape(n, q, 2) for a in (x, y)]  # J[c][..., d] = ∂x_c/∂ξ_d
    A = [(np.abs(a) @ np.abs(flat)).reshape(n, q, 2) for a in (x, y)]
    (J00, J10), (J01, J11) = ((a[..., 0], a[..., 1]) for a in J)
    (A00, A10), (A01, A11) = ((a[..., 0], a[..., 1]) for a in A)
    det = J00 * J11 - J01 * J10
    gradient = np.empty((n, q, 2, 8))
    for c, (first, second) in enumerate(((J11, -J01), (-J10, J00))):
        gradient[:, :, c] = (first / det)[..., None] * dn[:, 0] + (second / det)[..., None] * dn[:, 1]
    terms = A00 * np.abs(J11) + np.abs(J00) * A11 + A01 * np.abs(J10) + np.abs(J01) * A10
    return gradient, det, terms / np.abs(det)


def parts(mesh: Mesh, dn: Floats) -> Iterable[Part]:
    """Some elements at a time, and their `jacobian`; it is kept for as long as a mesh lives that isn't large."""

    def computed() -> Iterator[Part]:
        for start in range(0, mesh.n_elements, _PART):
            part = slice(start, start + _PART)
            nodes = mesh.quad8[part]
            yield part, *jacobian(mesh.x[nodes], mesh.y[nodes], dn)

    if mesh.n_elements > _KEPT:
        return computed()
    known = _known.setdefault(mesh, {})
    if len(dn) not in known:
        known[len(dn)] = list(computed())
    return known[len(dn)]


def element_stiffness(mesh: Mesh, k: Floats) -> Floats:
    """Kₑ = k Σ_q w det J Bᵀ B, (n_elements, 8, 8)."""
    Ke = np.empty((mesh.n_elements, 8, 8))
    for part, gradient, det, _ in parts(mesh, q8.DN_3X3):
        B = gradient.reshape(len(det), 18, 8)
        weights = np.repeat(k[part, None] * q8.WEIGHTS_3X3 * det, 2, axis=1)
        Ke[part] = (B * weights[:, :, None]).transpose(0, 2, 1) @ B
    return Ke


def element_load(mesh: Mesh, s: Floats) -> Floats:
    """fₑ = Σ_q w det J (N·s) N, (n_elements, 8), for s (n_elements, 8)."""
    fe = np.empty((mesh.n_elements, 8))
    for part, _, det, _ in parts(mesh, q8.DN_3X3):
        fe[part] = (q8.WEIGHTS_3X3 * det * (s[part] @ q8.N_3X3.T)) @ q8.N_3X3
    return fe


def velocity_and_speed(mesh: Mesh, u: Floats) -> tuple[Floats, Floats]:
    """The means of -∇u and of |∇u| over the 2x2 Gauss points: (n_elements, 2) and (n_elements,)."""
    velocity, speed = np.empty((mesh.n_elements, 2)), np.empty(mesh.n_elements)
    for part, gradient, _, _ in parts(mesh, q8.DN_2X2):
        slope = (gradient @ u[mesh.quad8[part]][:, None, :, None])[..., 0]
        velocity[part] = -slope.mean(axis=1)
        speed[part] = np.hypot(slope[..., 0], slope[..., 1]).mean(axis=1)
    return velocity, speed
