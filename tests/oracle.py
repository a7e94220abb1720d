"""The formulas of `docs/numerics.md` in 50-digit arithmetic: what every element matrix, load and field should be.

It shares no code with `fem_core`: shape functions, Gauss points and edge terms are written here again, in mpmath. So
a mistake in the baseline, which judges all backends, shows here.
"""

from functools import cache
from itertools import product
from typing import Any

import numpy as np
from mpmath import MPContext

mp: Any = MPContext()  # of its own: no other user of mpmath sees 50 digits
mp.dps = 50

#: Corners 0-3 counter-clockwise, then the mid-sides of (0, 1), (1, 2), (2, 3), (3, 0).
NODES = ((-1, -1), (1, -1), (1, 1), (-1, 1), (0, -1), (1, 0), (0, 1), (-1, 0))

half, quarter = mp.mpf(1) / 2, mp.mpf(1) / 4

#: Points and weights of Gauss-Legendre on [-1, 1].
GAUSS = {
    2: ((-1 / mp.sqrt(3), mp.mpf(1)), (1 / mp.sqrt(3), mp.mpf(1))),
    3: (
        (-mp.sqrt(mp.mpf(3) / 5), mp.mpf(5) / 9),
        (mp.mpf(0), mp.mpf(8) / 9),
        (mp.sqrt(mp.mpf(3) / 5), mp.mpf(5) / 9),
    ),
}


def exact(a):
    """An array of binary64 numbers in 50 digits, nothing lost."""
    return [exact(one) for one in a] if np.ndim(a) else mp.mpf(float(a))


def shape(ξ, η):
    """N_i at (ξ, η)."""
    found = []
    for ξi, ηi in NODES:
        if ξi and ηi:
            found.append(quarter * (1 + ξ * ξi) * (1 + η * ηi) * (ξ * ξi + η * ηi - 1))
        elif ηi:
            found.append(half * (1 - ξ * ξ) * (1 + η * ηi))
        else:
            found.append(half * (1 + ξ * ξi) * (1 - η * η))
    return found


def slopes(ξ, η):
    """∂N_i/∂ξ and ∂N_i/∂η at (ξ, η), each by the product rule."""
    dξ, dη = [], []
    for ξi, ηi in NODES:
        if ξi and ηi:
            a, b, c = 1 + ξ * ξi, 1 + η * ηi, ξ * ξi + η * ηi - 1
            dξ.append(quarter * b * (ξi * c + a * ξi))
            dη.append(quarter * a * (ηi * c + b * ηi))
        elif ηi:
            dξ.append(-ξ * (1 + η * ηi))
            dη.append(half * (1 - ξ * ξ) * ηi)
        else:
            dξ.append(half * ξi * (1 - η * η))
            dη.append(-η * (1 + ξ * ξi))
    return dξ, dη


def edge_shape(t):
    """N of (a, mid, b) at t in [-1, 1], and dN/dt."""
    return [half * t * (t - 1), 1 - t * t, half * t * (t + 1)], [t - half, -2 * t, t + half]


@cache
def rule(order):
    """(weight, N, ∂N/∂ξ, ∂N/∂η) at each of order x order points."""
    return [(a * b, shape(ξ, η), *slopes(ξ, η)) for (ξ, a), (η, b) in product(GAUSS[order], repeat=2)]


def dot(a, b):
    """Σ aᵢ bᵢ."""
    return mp.fdot(a, b)


def _points(x, y, order):
    """(weight, N, det J, ∂N/∂x, ∂N/∂y) at each point of one element."""
    for w, N, dξ, dη in rule(order):
        x_ξ, x_η, y_ξ, y_η = dot(dξ, x), dot(dη, x), dot(dξ, y), dot(dη, y)
        det = x_ξ * y_η - x_η * y_ξ
        dx = [(y_η * a - y_ξ * b) / det for a, b in zip(dξ, dη, strict=True)]
        dy = [(x_ξ * b - x_η * a) / det for a, b in zip(dξ, dη, strict=True)]
        yield w, N, det, dx, dy


def stiffness(x, y, k):
    """∫ k ∇N_i·∇N_j dΩ of one element, 8 rows."""
    x, y, k = exact(x), exact(y), exact(k)
    Ke = [[mp.mpf(0)] * 8 for _ in range(8)]
    for w, _, det, dx, dy in _points(x, y, 3):
        part = w * k * det
        for i in range(8):
            for j in range(i + 1):
                Ke[i][j] += part * (dx[i] * dx[j] + dy[i] * dy[j])
    return [[Ke[max(i, j)][min(i, j)] for j in range(8)] for i in range(8)]


def load(x, y, s):
    """∫ s N_i dΩ of one element for the nodal values s."""
    x, y, s = exact(x), exact(y), exact(s)
    fe = [mp.mpf(0)] * 8
    for w, N, det, _, _ in _points(x, y, 3):
        part = w * det * dot(N, s)
        fe = [f + part * n for f, n in zip(fe, N, strict=True)]
    return fe


def derived(x, y, u):
    """[v_x, v_y, speed] of one element: the means of -∇u and of |∇u| over the 2x2 points."""
    x, y, u = exact(x), exact(y), exact(u)
    gradients = [(dot(dx, u), dot(dy, u)) for _, _, _, dx, dy in _points(x, y, 2)]
    v_x, v_y = (-sum(part) / 4 for part in zip(*gradients, strict=True))
    return [v_x, v_y, sum(mp.sqrt(a * a + b * b) for a, b in gradients) / 4]


def robin(x, y, p, gamma):
    """∫ p N_i N_j ds (3 rows) and ∫ γ N_i ds of one edge (a, mid, b)."""
    x, y, p, gamma = exact(x), exact(y), exact(p), exact(gamma)
    matrix, load = [[mp.mpf(0)] * 3 for _ in range(3)], [mp.mpf(0)] * 3
    for t, w in GAUSS[3]:
        N, dN = edge_shape(t)
        ds = w * mp.sqrt(dot(dN, x) ** 2 + dot(dN, y) ** 2)
        for i in range(3):
            load[i] += ds * dot(N, gamma) * N[i]
            for j in range(3):
                matrix[i][j] += ds * dot(N, p) * N[i] * N[j]
    return matrix, load


def errors(found, wanted):
    """|found - wanted| entry by entry, each difference taken in 50 digits."""
    if np.ndim(found):
        return np.array([errors(f, w) for f, w in zip(found, wanted, strict=True)])
    return float(abs(mp.mpf(float(found)) - wanted))
