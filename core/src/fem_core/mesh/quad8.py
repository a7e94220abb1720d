"""The 8-node serendipity quadrilateral on the reference square [-1, 1]².

Node order: corners 0-3 counter-clockwise, mid-sides 4-7 on the edges (0,1), (1,2), (2,3), (3,0)::

    3──6──2      η
    │     │      ↑
    7     5      └─→ ξ
    │     │
    0──4──1

the same as VTK_QUADRATIC_QUAD, gmsh type 16, meshio `quad8` and Abaqus CPS8.
"""

import numpy as np

from fem_core.types import Floats

#: Reference coordinates (ξ, η) of the nodes, (8, 2).
NODES = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1), (0, -1), (1, 0), (0, 1), (-1, 0)], dtype=np.float64)

#: The four edges as local nodes (a, mid, b), counter-clockwise.
EDGES = np.array([(0, 4, 1), (1, 5, 2), (2, 6, 3), (3, 7, 0)], dtype=np.int32)

#: Local node order of the same element walked the other way round.
REVERSED = np.array([0, 3, 2, 1, 7, 6, 5, 4], dtype=np.int32)


def shape(ξ: Floats | float, η: Floats | float) -> Floats:
    """Shape functions N_i(ξ, η), shape (..., 8).

    N_i = ¼ (1+ξξ_i)(1+ηη_i)(ξξ_i+ηη_i-1) at corners, ½ (1-ξ²)(1+ηη_i) and ½ (1+ξξ_i)(1-η²)
    at mid-sides (Zienkiewicz & Taylor, The Finite Element Method, vol. 1, "serendipity family").
    """
    ξ, η = np.asarray(ξ, dtype=np.float64)[..., None], np.asarray(η, dtype=np.float64)[..., None]
    ξi, ηi = NODES[:4].T
    corners = 0.25 * (1 + ξ * ξi) * (1 + η * ηi) * (ξ * ξi + η * ηi - 1)
    mids = [
        0.5 * (1 - ξ**2) * (1 - η),
        0.5 * (1 + ξ) * (1 - η**2),
        0.5 * (1 - ξ**2) * (1 + η),
        0.5 * (1 - ξ) * (1 - η**2),
    ]
    return np.concatenate([corners, *mids], axis=-1)


def shape_gradient(ξ: Floats | float, η: Floats | float) -> Floats:
    """Reference gradients (∂N_i/∂ξ, ∂N_i/∂η), shape (..., 2, 8)."""
    ξ, η = np.asarray(ξ, dtype=np.float64)[..., None], np.asarray(η, dtype=np.float64)[..., None]
    ξi, ηi = NODES[:4].T
    dξ = [
        0.25 * ξi * (1 + η * ηi) * (2 * ξ * ξi + η * ηi),
        -ξ * (1 - η),
        0.5 * (1 - η**2),
        -ξ * (1 + η),
        -0.5 * (1 - η**2),
    ]
    dη = [
        0.25 * ηi * (1 + ξ * ξi) * (ξ * ξi + 2 * η * ηi),
        -0.5 * (1 - ξ**2),
        -η * (1 + ξ),
        0.5 * (1 - ξ**2),
        -η * (1 - ξ),
    ]
    return np.stack([np.concatenate(dξ, axis=-1), np.concatenate(dη, axis=-1)], axis=-2)


def gauss_legendre(order: int) -> tuple[Floats, Floats]:
    """Points (order², 2) and weights (order²,) of the tensor rule on the square, ξ running first."""
    t, w = np.polynomial.legendre.leggauss(order)
    points = np.array([(ξ, η) for η in t for ξ in t])
    return points, np.array([wξ * wη for wη in w for wξ in w])


#: The 3x3 rule of the stiffness matrix and the load, and the 2x2 rule of the velocity.
POINTS_3X3, WEIGHTS_3X3 = gauss_legendre(3)
POINTS_2X2, WEIGHTS_2X2 = gauss_legendre(2)

#: N and its reference gradient at the points of the two rules: (9, 8), (9, 2, 8), (4, 2, 8).
N_3X3 = shape(*POINTS_3X3.T)
DN_3X3 = shape_gradient(*POINTS_3X3.T)
DN_2X2 = shape_gradient(*POINTS_2X2.T)

#: The quadratic edge (a, mid, b) at the 3 Gauss points of [-1, 1]: weights (3,), N (3, 3), dN/dt (3, 3).
_t, EDGE_WEIGHTS = np.polynomial.legendre.leggauss(3)
EDGE_N = np.stack([0.5 * _t * (_t - 1), 1 - _t**2, 0.5 * _t * (_t + 1)], axis=-1)
EDGE_DN = np.stack([_t - 0.5, -2 * _t, _t + 0.5], axis=-1)
