"""Post-processing: velocity, speed and pressure of each element."""

import math
from typing import Any

from fem_cuda.jit import Float, Floats, Int, Ints, device, kernel
from fem_cuda.kernels.common import items
from fem_cuda.kernels.element import d_eta, d_xi, read

S = math.sqrt(1 / 3)  # coordinate of the 2x2 Gauss points


@device
def gradient(cx: Any, cy: Any, cu: Any, xi: Float, eta: Float) -> Any:
    """∇u and |∇u| at a point."""
    x_xi, x_eta = d_xi(cx, xi, eta), d_eta(cx, xi, eta)
    y_xi, y_eta = d_xi(cy, xi, eta), d_eta(cy, xi, eta)
    u_xi, u_eta = d_xi(cu, xi, eta), d_eta(cu, xi, eta)
    det = x_xi * y_eta - x_eta * y_xi  # the scales of ∂u and det J cancel in ∇u
    u_x = (y_eta * u_xi - y_xi * u_eta) / det
    u_y = (x_xi * u_eta - x_eta * u_xi) / det
    return u_x, u_y, math.sqrt(u_x * u_x + u_y * u_y)


@kernel
def element_derived(
    n: Int,
    x: Floats,
    y: Floats,
    quad8: Ints,
    u: Floats,
    p0: Float,
    half_rho: Float,
    velocity: Floats,
    speed: Floats,
    pressure: Floats,
) -> None:
    """v = -∇u at velocity[2 e] and [2 e + 1], |∇u|, each the mean over the 2x2 Gauss points, and p0 - ½ρ speed². n = M.

    Moves 32 M + 24 N bytes in and 32 M out.
    """
    for e in items(n):
        cx, cy, cu = read(x, quad8, e, S), read(y, quad8, e, S), read(u, quad8, e, S)
        x0, y0, v0 = gradient(cx, cy, cu, -1.0, -1.0)
        x1, y1, v1 = gradient(cx, cy, cu, 1.0, -1.0)
        x2, y2, v2 = gradient(cx, cy, cu, -1.0, 1.0)
        x3, y3, v3 = gradient(cx, cy, cu, 1.0, 1.0)
        v = (v0 + v1 + v2 + v3) / 4
        velocity[2 * e] = -(x0 + x1 + x2 + x3) / 4
        velocity[2 * e + 1] = -(y0 + y1 + y2 + y3) / 4
        speed[e] = v
        pressure[e] = p0 - half_rho * v * v
