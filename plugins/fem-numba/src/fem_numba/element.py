"""Element matrices and fields, for `LANES` elements at once: the innermost loop runs over elements.

The map of an element is x(ξ, η) = Σ c_m φ_m with φ = 1, ξ, η, ξ², ξη, η², ξ²η, ξη². Two things make this basis cheap.
Its coefficients are sums and differences of nodal values (`coefficients`, with the scales left out). And with ξ and η
in units of a Gauss point's coordinate √(3/5), the 3x3 points lie at -1, 0 and 1, where ξ³ = ξ and ξ⁴ = ξ²: of the
metric M = w k det J J⁻¹J⁻ᵀ only the nine moments Σ M ξᵃηᵇ (a, b = 0, 1, 2) are needed. So

    K̂_mn = Σ_q (∂φ_m)ᵀ M ∂φ_n   is a sum of a few moments,   and   Ke = Tᵀ K̂ T   takes it to the nodes,

where T is `coefficients` again. That is some 580 operations for the 36 entries, and 9 divisions; a product of metrics
with a table takes 2,500.

Arrays are flat, with rows of LANES numbers, so the compiler sees that no two rows overlap. Blocks are always full, and
an element's operations don't depend on the other elements of the block.
"""

import math

from fem_core.types import Floats

from fem_numba.jit import inlined

#: Elements in a block; the innermost loops run over them.
LANES = 32

S = math.sqrt(3 / 5)  # coordinate of the Gauss points
W = (5 / 9, 8 / 9)  # weights of the outer points and the middle one
# in scaled coordinates ∂/∂ξ' = S ∂/∂ξ; the weights contain the metric's 1/S²
W00, W01, W11 = W[0] * W[0] / S**2, W[0] * W[1] / S**2, W[1] * W[1] / S**2

# Coefficients c = scale · (sum of nodal values); A: ξ, η; B: ξ², ξη, η²; C: ξ²η, ξη².
A, B, C = S / 2, S**2 / 4, S**3 / 4
A2, B2, C2 = 1 / math.sqrt(12), 1 / 12, 1 / math.sqrt(432)  # the same of the 2x2 points, S = 1/√3


@inlined
def at_nodes(v: Floats, e: int) -> tuple[float, ...]:
    """The 8 nodal values of element e of the block."""
    L = LANES
    return v[e], v[L + e], v[2 * L + e], v[3 * L + e], v[4 * L + e], v[5 * L + e], v[6 * L + e], v[7 * L + e]


@inlined
def coefficients(v: Floats, e: int) -> tuple[float, ...]:
    """Unscaled coefficients of ξ, η, ξ², ξη, η², ξ²η, ξη² on element e; those of the map are A, B and C times these."""
    a0, a1, a2, a3, a4, a5, a6, a7 = at_nodes(v, e)
    south, north = a0 + a1, a2 + a3
    east_south, east_north = a1 - a0, a2 - a3
    corners = south + north
    ξ, η = a5 - a7, a6 - a4
    return (
        ξ,
        η,
        corners - 2 * (a4 + a6),
        east_north - east_south,
        corners - 2 * (a5 + a7),
        (north - south) - 2 * η,
        (east_south + east_north) - 2 * ξ,
    )


@inlined
def nodal(c1: float, c2: float, c3: float, c4: float, c5: float, c6: float, c7: float) -> tuple[float, ...]:
    """The transpose of `coefficients`: from a row of K̂ (in the unscaled basis) to the nodes."""
    even = c3 + c5
    p, m, g, h = even + c4, even - c4, c7 + c6, c7 - c6
    ξ, η = c1 - 2 * c7, c2 - 2 * c6
    return p - g, m + h, p + g, m - h, -η - 2 * c3, ξ - 2 * c5, η - 2 * c3, -ξ - 2 * c5


@inlined
def derivatives(c1: float, c2: float, c3: float, c4: float, c5: float, c6: float, c7: float) -> tuple[float, ...]:
    """∂/∂ξ, then ∂/∂η, at the points (ξ, η) = (-1, -1), (0, -1), (1, -1), (-1, 0), … of scaled coordinates."""
    c1, c2, c4, c6, c7 = A * c1, A * c2, B * c4, C * c6, C * c7
    c3, c5 = 2 * B * c3, 2 * B * c5
    d6, d7 = 2 * c6, 2 * c7
    # ∂ξ = c1 + c4 η + c7 η² + ξ (2 c3 + 2 c6 η)
    e = c1 + c7
    s, n, ts, tn = e - c4, e + c4, c3 - d6, c3 + d6
    # ∂η = c2 + c4 ξ + c6 ξ² + η (2 c5 + 2 c7 ξ)
    f = c2 + c6
    w, o, tw, to = f - c4, f + c4, c5 - d7, c5 + d7
    return (
        s - ts, s, s + ts, c1 - c3, c1, c1 + c3, n - tn, n, n + tn,
        w - tw, c2 - c5, o - to, w, c2, o, w + tw, c2 + c5, o + to,
    )  # fmt: skip


@inlined
def metric(w: float, x_ξ: float, x_η: float, y_ξ: float, y_η: float) -> tuple[float, ...]:
    """M11, M12 and M22 of w det J J⁻¹J⁻ᵀ."""
    det = x_ξ * y_η - x_η * y_ξ
    g = w / det
    return g * (x_η * x_η + y_η * y_η), -(g * (x_ξ * x_η + y_ξ * y_η)), g * (x_ξ * x_ξ + y_ξ * y_ξ)


@inlined
def moments(
    f0: float, f1: float, f2: float, f3: float, f4: float, f5: float, f6: float, f7: float, f8: float
) -> tuple[float, ...]:
    """Σ f ξᵃηᵇ over the points -1, 0, 1 in both directions: ab = 00, 10, 20, 01, 11, 21, 02, 12, 22."""
    e0, e1, e2 = f0 + f2, f3 + f5, f6 + f8
    d0, d1, d2 = f2 - f0, f5 - f3, f8 - f6
    s0, s1, s2 = e0 + f1, e1 + f4, e2 + f7
    s, d, e = s0 + s2, d0 + d2, e0 + e2
    return s + s1, d + d1, e + e1, s2 - s0, d2 - d0, e2 - e0, s, d, e


@inlined
def put_column(K: Floats, e: int, j: int, column: tuple[float, ...]) -> None:
    """Store entries (i, j) and (j, i) of element e for i <= j.

    Call it with a constant j: then the compiler unrolls the loop, and the loop over elements is vectorised.
    """
    L = LANES
    for i in range(j + 1):
        K[(8 * i + j) * L + e] = K[(8 * j + i) * L + e] = column[i]


@inlined
def stiffness(x: Floats, y: Floats, k: Floats, K: Floats) -> None:
    """Ke = ∫ k ∇N_i·∇N_j dΩ by 3x3 Gauss points.

    Parameters
    ----------
    x, y : (8 LANES,)
        Coordinates of the nodes: those of node i of all elements from i LANES on.
    k : (LANES,)
        Conductivity.
    K : (64 LANES,)
        Output: entry (i, j) of all elements from (8 i + j) LANES on.
    """
    for e in range(LANES):
        dx, dy = derivatives(*coefficients(x, e)), derivatives(*coefficients(y, e))
        w0, w1, w2 = W00 * k[e], W01 * k[e], W11 * k[e]
        f0, g0, h0 = metric(w0, dx[0], dx[9], dy[0], dy[9])
        f1, g1, h1 = metric(w1, dx[1], dx[10], dy[1], dy[10])
        f2, g2, h2 = metric(w0, dx[2], dx[11], dy[2], dy[11])
        f3, g3, h3 = metric(w1, dx[3], dx[12], dy[3], dy[12])
        f4, g4, h4 = metric(w2, dx[4], dx[13], dy[4], dy[13])
        f5, g5, h5 = metric(w1, dx[5], dx[14], dy[5], dy[14])
        f6, g6, h6 = metric(w0, dx[6], dx[15], dy[6], dy[15])
        f7, g7, h7 = metric(w1, dx[7], dx[16], dy[7], dy[16])
        f8, g8, h8 = metric(w0, dx[8], dx[17], dy[8], dy[17])
        a00, a10, a20, a01, a11, a21, a02, a12, a22 = moments(f0, f1, f2, f3, f4, f5, f6, f7, f8)
        b00, b10, b20, b01, b11, b21, b02, b12, b22 = moments(g0, g1, g2, g3, g4, g5, g6, g7, g8)
        c00, c10, c20, c01, c11, c21, c02, c12, c22 = moments(h0, h1, h2, h3, h4, h5, h6, h7, h8)
        # K̂ in the order ξ, η, ξ², ξη, η², ξ²η, ξη²
        k11, k12, k22 = A * A * a00, A * A * b00, A * A * c00
        k13, k14, k15 = 2 * A * B * a10, A * B * (a01 + b10), 2 * A * B * b01
        k23, k24, k25 = 2 * A * B * b10, A * B * (b01 + c10), 2 * A * B * c01
        k16, k17 = A * C * (2 * a11 + b20), A * C * (a02 + 2 * b11)
        k26, k27 = A * C * (2 * b11 + c20), A * C * (b02 + 2 * c11)
        k33, k34, k35 = 4 * B * B * a20, 2 * B * B * (a11 + b20), 4 * B * B * b11
        k44, k45, k55 = B * B * (a02 + 2 * b11 + c20), 2 * B * B * (b02 + c11), 4 * B * B * c02
        k36, k37 = 2 * B * C * (2 * a21 + b10), 2 * B * C * (a12 + 2 * b21)
        k46, k47 = B * C * (2 * a12 + 3 * b21 + c10), B * C * (a01 + 3 * b12 + 2 * c21)
        k56, k57 = 2 * B * C * (2 * b12 + c21), 2 * B * C * (b01 + 2 * c12)
        k66, k67 = C * C * (4 * a22 + 4 * b11 + c20), C * C * (2 * a11 + 5 * b22 + 2 * c11)
        k77 = C * C * (a02 + 4 * b11 + 4 * c22)
        # K̂ T, a row of K̂ at a time
        r1 = nodal(k11, k12, k13, k14, k15, k16, k17)
        r2 = nodal(k12, k22, k23, k24, k25, k26, k27)
        r3 = nodal(k13, k23, k33, k34, k35, k36, k37)
        r4 = nodal(k14, k24, k34, k44, k45, k46, k47)
        r5 = nodal(k15, k25, k35, k45, k55, k56, k57)
        r6 = nodal(k16, k26, k36, k46, k56, k66, k67)
        r7 = nodal(k17, k27, k37, k47, k57, k67, k77)
        # Tᵀ K̂ T, a column at a time
        put_column(K, e, 0, nodal(r1[0], r2[0], r3[0], r4[0], r5[0], r6[0], r7[0]))
        put_column(K, e, 1, nodal(r1[1], r2[1], r3[1], r4[1], r5[1], r6[1], r7[1]))
        put_column(K, e, 2, nodal(r1[2], r2[2], r3[2], r4[2], r5[2], r6[2], r7[2]))
        put_column(K, e, 3, nodal(r1[3], r2[3], r3[3], r4[3], r5[3], r6[3], r7[3]))
        put_column(K, e, 4, nodal(r1[4], r2[4], r3[4], r4[4], r5[4], r6[4], r7[4]))
        put_column(K, e, 5, nodal(r1[5], r2[5], r3[5], r4[5], r5[5], r6[5], r7[5]))
        put_column(K, e, 6, nodal(r1[6], r2[6], r3[6], r4[6], r5[6], r6[6], r7[6]))
        put_column(K, e, 7, nodal(r1[7], r2[7], r3[7], r4[7], r5[7], r6[7], r7[7]))


@inlined
def load(x: Floats, y: Floats, s: Floats, f: Floats) -> None:
    """fe = ∫ s N_i dΩ by 3x3 Gauss points, s interpolated from the nodes; all (8 LANES,), `f` is the output."""
    L = LANES
    for e in range(L):
        a, b, c, d, g, h, i, j = at_nodes(s, e)
        s1, s2, s3, s4, s5, s6, s7 = coefficients(s, e)
        s0 = 0.25 * (2 * (g + h + i + j) - (a + b + c + d))
        dx, dy = derivatives(*coefficients(x, e)), derivatives(*coefficients(y, e))
        # s = s0 + ξ s1 + η s2 + ξ² s3 + ξη s4 + η² s5 + ξ²η s6 + ξη² s7 at the points, in rows of constant η
        s1, s2, s3, s4, s5, s6, s7 = A * s1, A * s2, B * s3, B * s4, B * s5, C * s6, C * s7
        south, north = s0 - s2 + s5, s0 + s2 + s5
        odd_south, odd, odd_north = s1 - s4 + s7, s1, s1 + s4 + s7
        even_south, even, even_north = south + s3 - s6, s0 + s3, north + s3 + s6
        m00, m10, m20, m01, m11, m21, m02, m12, _ = moments(
            W00 * (dx[0] * dy[9] - dx[9] * dy[0]) * (even_south - odd_south),
            W01 * (dx[1] * dy[10] - dx[10] * dy[1]) * south,
            W00 * (dx[2] * dy[11] - dx[11] * dy[2]) * (even_south + odd_south),
            W01 * (dx[3] * dy[12] - dx[12] * dy[3]) * (even - odd),
            W11 * (dx[4] * dy[13] - dx[13] * dy[4]) * s0,
            W01 * (dx[5] * dy[14] - dx[14] * dy[5]) * (even + odd),
            W00 * (dx[6] * dy[15] - dx[15] * dy[6]) * (even_north - odd_north),
            W01 * (dx[7] * dy[16] - dx[16] * dy[7]) * north,
            W00 * (dx[8] * dy[17] - dx[17] * dy[8]) * (even_north + odd_north),
        )
        n0, n1, n2, n3, n4, n5, n6, n7 = nodal(A * m10, A * m01, B * m20, B * m11, B * m02, C * m21, C * m12)
        corner, middle = -0.25 * m00, 0.5 * m00
        f[e], f[L + e], f[2 * L + e], f[3 * L + e] = n0 + corner, n1 + corner, n2 + corner, n3 + corner
        f[4 * L + e], f[5 * L + e], f[6 * L + e], f[7 * L + e] = n4 + middle, n5 + middle, n6 + middle, n7 + middle


@inlined
def corner_derivatives(
    c1: float, c2: float, c3: float, c4: float, c5: float, c6: float, c7: float
) -> tuple[float, ...]:
    """∂/∂ξ, then ∂/∂η, at the 2x2 points (-1, -1), (1, -1), (-1, 1), (1, 1) of coordinates scaled by 1/√3."""
    c1, c2, c4, c6, c7 = A2 * c1, A2 * c2, B2 * c4, C2 * c6, C2 * c7
    c3, c5 = 2 * B2 * c3, 2 * B2 * c5
    d6, d7 = 2 * c6, 2 * c7
    e, f = c1 + c7, c2 + c6
    s, n, ts, tn = e - c4, e + c4, c3 - d6, c3 + d6
    w, o, tw, to = f - c4, f + c4, c5 - d7, c5 + d7
    return s - ts, s + ts, n - tn, n + tn, w - tw, o - to, w + tw, o + to


@inlined
def gradient(x_ξ: float, x_η: float, y_ξ: float, y_η: float, u_ξ: float, u_η: float) -> tuple[float, float, float]:
    """-∇u and |∇u|."""
    g = 1 / (x_ξ * y_η - x_η * y_ξ)
    u_x, u_y = (y_η * u_ξ - y_ξ * u_η) * g, (x_ξ * u_η - x_η * u_ξ) * g
    return -u_x, -u_y, math.sqrt(u_x * u_x + u_y * u_y)


@inlined
def flow(x: Floats, y: Floats, u: Floats, v: Floats) -> None:
    """-∇u in x and y, and |∇u|, each the mean over the 2x2 Gauss points; (8 LANES,), the output `v` (3 LANES,)."""
    L = LANES
    for e in range(L):
        dx, dy = corner_derivatives(*coefficients(x, e)), corner_derivatives(*coefficients(y, e))
        du = corner_derivatives(*coefficients(u, e))
        x0, y0, s0 = gradient(dx[0], dx[4], dy[0], dy[4], du[0], du[4])
        x1, y1, s1 = gradient(dx[1], dx[5], dy[1], dy[5], du[1], du[5])
        x2, y2, s2 = gradient(dx[2], dx[6], dy[2], dy[6], du[2], du[6])
        x3, y3, s3 = gradient(dx[3], dx[7], dy[3], dy[7], du[3], du[7])
        v[e] = 0.25 * (x0 + x1 + x2 + x3)
        v[L + e] = 0.25 * (y0 + y1 + y2 + y3)
        v[2 * L + e] = 0.25 * (s0 + s1 + s2 + s3)
