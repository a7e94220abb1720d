"""Element matrices and fields, for `LANES` elements at once: the innermost loop runs over elements.

The map of an element is x(ξ, η) = Σ c_m φ_m with φ = 1, ξ, η, ξ², ξη, η², ξ²η, ξη². Two things make this basis cheap.
Its coefficients are sums and differences of nodal values (`coefficients`, with the scales left out). And with ξ and η
in units of a Gauss point's coordinate √(3/5), the 3x3 points lie at -1, 0 and 1, where ξ³ = ξ and ξ⁴ = ξ²: of the
metric M = w k det J J⁻¹J⁻ᵀ only the nine moments Σ M ξᵃηᵇ (a, b = 0, 1, 2) are needed. So

    K̂_mn = Σ_q (∂φ_m)ᵀ M ∂φ_n   is a sum of a few moments,   and   Ke = Tᵀ K̂ T   takes it to the nodes,

where T is `coefficients` again. That is some 580 operations for the 36 entries, and 9 divisions; a product of metrics
with a table takes 2,500.

Arrays are flat and their rows LANES long, which lets the compiler see that no two overlap. Blocks are always full: an
element's operations don't depend on the elements beside it.
"""

import math

from fem_core.types import Floats

from fem_numba.jit import inlined

#: Elements in a block; the innermost loops run over them.
LANES = 32

S = math.sqrt(3 / 5)  # coordinate of the Gauss points
W = (5 / 9, 8 / 9)  # weights of the outer points and the middle one
# ∂/∂ξ' = S ∂/∂ξ in scaled coordinates: the metric's 1/S² is put into the weights
W00, W01, W11 = W[0] * W[0] / S**2, W[0] * W[1] / S**2, W[1] * W[1] / S**2

# Coefficients c = scale · (sum of nodal values); A: ξ, η; B: ξ², ξη, η²; C: ξ²η, ξη².
A, B, C = S / 2, S**2 / 4, S**3 / 4
A2, B2, C2 = 1 / math.sqrt(12), 1 / 12, 1 / math.sqrt(432)  # the same of the 2x2 points, S = 1/√3


@inlined
def coefficients(
    a0: float, a1: float, a2: float, a3: float, a4: float, a5: float, a6: float, a7: float
) -> tuple[float, ...]:
    """Unscaled coefficients of ξ, η, ξ², ξη, η², ξ²η, ξη²; those of the map are A, B and C times these."""
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
    """M11, M12 and M22 of w det J J⁻¹J⁻ᵀ, and det J."""
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
def stiffness(x: Floats, y: Floats, k: Floats, K: Floats) -> None:
    """Ke = ∫ k ∇N_i·∇N_j dΩ by 3x3 Gauss points.

    Parameters
    ----------
    x, y : (8 LANES,)
        Coordinates of the nodes: those of node i of all elements from i LANES on.
    k : (LANES,)
        Conductivity.
    K : (64 LANES,)
        To be filled: entry (i, j) of all elements from (8 i + j) LANES on.
    """
    L = LANES
    for e in range(L):
        p1, p2, p3, p4, p5, p6, p7 = coefficients(
            x[0 * L + e],
            x[1 * L + e],
            x[2 * L + e],
            x[3 * L + e],
            x[4 * L + e],
            x[5 * L + e],
            x[6 * L + e],
            x[7 * L + e],
        )
        q1, q2, q3, q4, q5, q6, q7 = coefficients(
            y[0 * L + e],
            y[1 * L + e],
            y[2 * L + e],
            y[3 * L + e],
            y[4 * L + e],
            y[5 * L + e],
            y[6 * L + e],
            y[7 * L + e],
        )
        (
            u0, u1, u2, u3, u4, u5, u6, u7, u8, v0, v1, v2, v3, v4, v5, v6, v7, v8,
        ) = derivatives(p1, p2, p3, p4, p5, p6, p7)  # fmt: skip
        (
            s0, s1, s2, s3, s4, s5, s6, s7, s8, t0, t1, t2, t3, t4, t5, t6, t7, t8,
        ) = derivatives(q1, q2, q3, q4, q5, q6, q7)  # fmt: skip
        w0, w1, w2 = W00 * k[e], W01 * k[e], W11 * k[e]
        f0, g0, h0 = metric(w0, u0, v0, s0, t0)
        f1, g1, h1 = metric(w1, u1, v1, s1, t1)
        f2, g2, h2 = metric(w0, u2, v2, s2, t2)
        f3, g3, h3 = metric(w1, u3, v3, s3, t3)
        f4, g4, h4 = metric(w2, u4, v4, s4, t4)
        f5, g5, h5 = metric(w1, u5, v5, s5, t5)
        f6, g6, h6 = metric(w0, u6, v6, s6, t6)
        f7, g7, h7 = metric(w1, u7, v7, s7, t7)
        f8, g8, h8 = metric(w0, u8, v8, s8, t8)
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
        r10, r11, r12, r13, r14, r15, r16, r17 = nodal(k11, k12, k13, k14, k15, k16, k17)
        r20, r21, r22, r23, r24, r25, r26, r27 = nodal(k12, k22, k23, k24, k25, k26, k27)
        r30, r31, r32, r33, r34, r35, r36, r37 = nodal(k13, k23, k33, k34, k35, k36, k37)
        r40, r41, r42, r43, r44, r45, r46, r47 = nodal(k14, k24, k34, k44, k45, k46, k47)
        r50, r51, r52, r53, r54, r55, r56, r57 = nodal(k15, k25, k35, k45, k55, k56, k57)
        r60, r61, r62, r63, r64, r65, r66, r67 = nodal(k16, k26, k36, k46, k56, k66, k67)
        r70, r71, r72, r73, r74, r75, r76, r77 = nodal(k17, k27, k37, k47, k57, k67, k77)
        # Tᵀ K̂ T, a column at a time
        n0, n1, n2, n3, n4, n5, n6, n7 = nodal(r10, r20, r30, r40, r50, r60, r70)
        K[0 * L + e] = n0
        n0, n1, n2, n3, n4, n5, n6, n7 = nodal(r11, r21, r31, r41, r51, r61, r71)
        K[1 * L + e] = n0
        K[8 * L + e] = n0
        K[9 * L + e] = n1
        n0, n1, n2, n3, n4, n5, n6, n7 = nodal(r12, r22, r32, r42, r52, r62, r72)
        K[2 * L + e] = n0
        K[16 * L + e] = n0
        K[10 * L + e] = n1
        K[17 * L + e] = n1
        K[18 * L + e] = n2
        n0, n1, n2, n3, n4, n5, n6, n7 = nodal(r13, r23, r33, r43, r53, r63, r73)
        K[3 * L + e] = n0
        K[24 * L + e] = n0
        K[11 * L + e] = n1
        K[25 * L + e] = n1
        K[19 * L + e] = n2
        K[26 * L + e] = n2
        K[27 * L + e] = n3
        n0, n1, n2, n3, n4, n5, n6, n7 = nodal(r14, r24, r34, r44, r54, r64, r74)
        K[4 * L + e] = n0
        K[32 * L + e] = n0
        K[12 * L + e] = n1
        K[33 * L + e] = n1
        K[20 * L + e] = n2
        K[34 * L + e] = n2
        K[28 * L + e] = n3
        K[35 * L + e] = n3
        K[36 * L + e] = n4
        n0, n1, n2, n3, n4, n5, n6, n7 = nodal(r15, r25, r35, r45, r55, r65, r75)
        K[5 * L + e] = n0
        K[40 * L + e] = n0
        K[13 * L + e] = n1
        K[41 * L + e] = n1
        K[21 * L + e] = n2
        K[42 * L + e] = n2
        K[29 * L + e] = n3
        K[43 * L + e] = n3
        K[37 * L + e] = n4
        K[44 * L + e] = n4
        K[45 * L + e] = n5
        n0, n1, n2, n3, n4, n5, n6, n7 = nodal(r16, r26, r36, r46, r56, r66, r76)
        K[6 * L + e] = n0
        K[48 * L + e] = n0
        K[14 * L + e] = n1
        K[49 * L + e] = n1
        K[22 * L + e] = n2
        K[50 * L + e] = n2
        K[30 * L + e] = n3
        K[51 * L + e] = n3
        K[38 * L + e] = n4
        K[52 * L + e] = n4
        K[46 * L + e] = n5
        K[53 * L + e] = n5
        K[54 * L + e] = n6
        n0, n1, n2, n3, n4, n5, n6, n7 = nodal(r17, r27, r37, r47, r57, r67, r77)
        K[7 * L + e] = n0
        K[56 * L + e] = n0
        K[15 * L + e] = n1
        K[57 * L + e] = n1
        K[23 * L + e] = n2
        K[58 * L + e] = n2
        K[31 * L + e] = n3
        K[59 * L + e] = n3
        K[39 * L + e] = n4
        K[60 * L + e] = n4
        K[47 * L + e] = n5
        K[61 * L + e] = n5
        K[55 * L + e] = n6
        K[62 * L + e] = n6
        K[63 * L + e] = n7


@inlined
def load(x: Floats, y: Floats, s: Floats, f: Floats) -> None:
    """fe = ∫ s N_i dΩ by 3x3 Gauss points, s interpolated from the nodes; all (8 LANES,), `f` is filled."""
    L = LANES
    for e in range(L):
        p1, p2, p3, p4, p5, p6, p7 = coefficients(
            x[e], x[L + e], x[2 * L + e], x[3 * L + e], x[4 * L + e], x[5 * L + e], x[6 * L + e], x[7 * L + e]
        )
        q1, q2, q3, q4, q5, q6, q7 = coefficients(
            y[e], y[L + e], y[2 * L + e], y[3 * L + e], y[4 * L + e], y[5 * L + e], y[6 * L + e], y[7 * L + e]
        )
        a, b, c, d = s[e], s[L + e], s[2 * L + e], s[3 * L + e]
        g, h, i, j = s[4 * L + e], s[5 * L + e], s[6 * L + e], s[7 * L + e]
        s1, s2, s3, s4, s5, s6, s7 = coefficients(a, b, c, d, g, h, i, j)
        s0 = 0.25 * (2 * (g + h + i + j) - (a + b + c + d))
        (
            u0, u1, u2, u3, u4, u5, u6, u7, u8, v0, v1, v2, v3, v4, v5, v6, v7, v8,
        ) = derivatives(p1, p2, p3, p4, p5, p6, p7)  # fmt: skip
        (
            w0, w1, w2, w3, w4, w5, w6, w7, w8, z0, z1, z2, z3, z4, z5, z6, z7, z8,
        ) = derivatives(q1, q2, q3, q4, q5, q6, q7)  # fmt: skip
        # s = s0 + ξ s1 + η s2 + ξ² s3 + ξη s4 + η² s5 + ξ²η s6 + ξη² s7 at the points, in rows of constant η
        s1, s2, s3, s4, s5, s6, s7 = A * s1, A * s2, B * s3, B * s4, B * s5, C * s6, C * s7
        south, north = s0 - s2 + s5, s0 + s2 + s5
        odd_south, odd, odd_north = s1 - s4 + s7, s1, s1 + s4 + s7
        even_south, even, even_north = south + s3 - s6, s0 + s3, north + s3 + s6
        m00, m10, m20, m01, m11, m21, m02, m12, _ = moments(
            W00 * (u0 * z0 - v0 * w0) * (even_south - odd_south),
            W01 * (u1 * z1 - v1 * w1) * south,
            W00 * (u2 * z2 - v2 * w2) * (even_south + odd_south),
            W01 * (u3 * z3 - v3 * w3) * (even - odd),
            W11 * (u4 * z4 - v4 * w4) * s0,
            W01 * (u5 * z5 - v5 * w5) * (even + odd),
            W00 * (u6 * z6 - v6 * w6) * (even_north - odd_north),
            W01 * (u7 * z7 - v7 * w7) * north,
            W00 * (u8 * z8 - v8 * w8) * (even_north + odd_north),
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
    """-∇u in x and y, and |∇u|, each the mean over the 2x2 Gauss points; (8 LANES,), and `v` (3 LANES,) is filled."""
    L = LANES
    for e in range(L):
        p1, p2, p3, p4, p5, p6, p7 = coefficients(
            x[e], x[L + e], x[2 * L + e], x[3 * L + e], x[4 * L + e], x[5 * L + e], x[6 * L + e], x[7 * L + e]
        )
        q1, q2, q3, q4, q5, q6, q7 = coefficients(
            y[e], y[L + e], y[2 * L + e], y[3 * L + e], y[4 * L + e], y[5 * L + e], y[6 * L + e], y[7 * L + e]
        )
        r1, r2, r3, r4, r5, r6, r7 = coefficients(
            u[e], u[L + e], u[2 * L + e], u[3 * L + e], u[4 * L + e], u[5 * L + e], u[6 * L + e], u[7 * L + e]
        )
        a0, a1, a2, a3, b0, b1, b2, b3 = corner_derivatives(p1, p2, p3, p4, p5, p6, p7)
        c0, c1, c2, c3, d0, d1, d2, d3 = corner_derivatives(q1, q2, q3, q4, q5, q6, q7)
        g0, g1, g2, g3, h0, h1, h2, h3 = corner_derivatives(r1, r2, r3, r4, r5, r6, r7)
        x0, y0, s0 = gradient(a0, b0, c0, d0, g0, h0)
        x1, y1, s1 = gradient(a1, b1, c1, d1, g1, h1)
        x2, y2, s2 = gradient(a2, b2, c2, d2, g2, h2)
        x3, y3, s3 = gradient(a3, b3, c3, d3, g3, h3)
        v[e] = 0.25 * (x0 + x1 + x2 + x3)
        v[L + e] = 0.25 * (y0 + y1 + y2 + y3)
        v[2 * L + e] = 0.25 * (s0 + s1 + s2 + s3)
