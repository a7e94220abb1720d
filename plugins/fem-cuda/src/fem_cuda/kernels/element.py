"""Functions on an element: from the values at its 8 nodes to coefficients of monomials, and back.

A function with values a_i at the nodes is Σ c_m φ_m with φ = 1, ξ, η, ξ², ξη, η², ξ²η, ξη². Two things make this
basis cheap. Its coefficients are sums and differences of the values. And with ξ and η in units of the Gauss points'
coordinate S, the points lie at -1, (0) and 1, where ξ³ = ξ and ξ⁴ = ξ²: a few moments Σ f ξᵖηᵠ are all that is
needed of a function f at the points.

All values are tuples with constant indices, so they stay in registers.
"""

from typing import Any

from fem_cuda.jit import Float, Floats, Int, Ints, device


@device
def to_basis(a: Any, S: Float) -> Any:
    """c = T a: the coefficients of the function with values a at the nodes."""
    A, B, C = S / 2, S * S / 4, S * S * S / 4
    south, north, east_south, east_north = a[0] + a[1], a[2] + a[3], a[1] - a[0], a[2] - a[3]
    corners = south + north
    xi, eta = a[5] - a[7], a[6] - a[4]
    return (
        0.25 * (2 * ((a[4] + a[6]) + (a[5] + a[7])) - corners),
        A * xi,
        A * eta,
        B * (corners - 2 * (a[4] + a[6])),
        B * (east_north - east_south),
        B * (corners - 2 * (a[5] + a[7])),
        C * ((north - south) - 2 * eta),
        C * ((east_south + east_north) - 2 * xi),
    )


@device
def to_nodes(c: Any) -> Any:
    """a = Tᵀ c for c that are multiplied by the scales 1/4, A, B and C of `to_basis` already."""
    even = c[3] + c[5] - c[0]
    plus, minus = even + c[4], even - c[4]
    total, difference = c[7] + c[6], c[7] - c[6]
    xi, eta = c[1] - 2 * c[7], c[2] - 2 * c[6]
    mid_eta, mid_xi = 2 * (c[0] - c[3]), 2 * (c[0] - c[5])
    return (
        plus - total,
        minus + difference,
        plus + total,
        minus - difference,
        mid_eta - eta,
        mid_xi + xi,
        mid_eta + eta,
        mid_xi - xi,
    )


@device
def d_xi(c: Any, xi: Float, eta: Float) -> Float:
    """∂/∂ξ of Σ c_m φ_m."""
    return (c[1] + c[4] * eta + c[7] * eta * eta) + xi * (2 * c[3] + 2 * c[6] * eta)


@device
def d_eta(c: Any, xi: Float, eta: Float) -> Float:
    """∂/∂η of Σ c_m φ_m."""
    return (c[2] + c[4] * xi + c[6] * xi * xi) + eta * (2 * c[5] + 2 * c[7] * xi)


@device
def eight(values: Any, t: Int) -> Any:
    """values[t] … values[t + 7]."""
    a, b, c, d = values[t], values[t + 1], values[t + 2], values[t + 3]
    return a, b, c, d, values[t + 4], values[t + 5], values[t + 6], values[t + 7]


@device
def read(values: Floats, quad8: Ints, e: Int, S: Float) -> Any:
    """Coefficients of the function with these values at the nodes of element e."""
    i, j, k, l, m, n, o, p = eight(quad8, 8 * e)
    a, b, c, d = values[i], values[j], values[k], values[l]
    return to_basis((a, b, c, d, values[m], values[n], values[o], values[p]), S)
