"""Element matrices and vectors, and their sums: each entry of the matrix gathers its terms.

Bytes moved, for M elements, N nodes and nnz entries (x, y and gathered numbers counted once):
    element_stiffness   328 M + 16 N            quad8, x, y → Ke
    sum_entries         288 M + 256 M + 12 nnz  Ke, source → values
"""

import math
from typing import Any

from fem_cuda.jit import Float, Floats, Int, Ints, device, kernel
from fem_cuda.kernels.common import items
from fem_cuda.kernels.element import d_eta, d_xi, eight, read, to_basis, to_nodes
from fem_cuda.kernels.sparsity import packed

S = math.sqrt(3 / 5)  # coordinate of the 3x3 Gauss points
W_END, W_MIDDLE = 5 / 9, 8 / 9  # their weights
A, B, C = S / 2, S**2 / 4, S**3 / 4  # scales of the coefficients of degree 1, 2 and 3


@device
def moments(f: Any) -> Any:
    """Moments Σ f ξᵖ, p = 0, 1, 2, of f at the points ξ = -1, 0, 1."""
    even = f[0] + f[2]
    return even + f[1], f[2] - f[0], even


@device
def moments_in_eta(m: Any) -> Any:
    """Moments F[p][q] = Σ f ξᵖηᵠ from the moments in ξ of each row of points (constant η).

    In two steps, to need few registers: the moments of a row are taken as soon as it is known.
    """
    return (
        moments((m[0][0], m[1][0], m[2][0])),
        moments((m[0][1], m[1][1], m[2][1])),
        moments((m[0][2], m[1][2], m[2][2])),
    )


@device
def metric(cx: Any, cy: Any, w: Float, xi: Float, eta: Float) -> Any:
    """F, G and H at a point: the metric w det J · J⁻¹J⁻ᵀ = [F G; G H]."""
    x_xi, x_eta = d_xi(cx, xi, eta), d_eta(cx, xi, eta)
    y_xi, y_eta = d_xi(cy, xi, eta), d_eta(cy, xi, eta)
    w /= x_xi * y_eta - x_eta * y_xi
    return w * (x_eta * x_eta + y_eta * y_eta), -w * (x_xi * x_eta + y_xi * y_eta), w * (x_xi * x_xi + y_xi * y_xi)


@device
def metric_row(cx: Any, cy: Any, w: Float, eta: Float) -> Any:
    """Moments in ξ of F, G and H along a row of points."""
    f0, g0, h0 = metric(cx, cy, W_END * w, -1.0, eta)
    f1, g1, h1 = metric(cx, cy, W_MIDDLE * w, 0.0, eta)
    f2, g2, h2 = metric(cx, cy, W_END * w, 1.0, eta)
    return moments((f0, f1, f2)), moments((g0, g1, g2)), moments((h0, h1, h2))


@device
def put_row(Ke: Floats, n: Int, e: Int, a: Int, row: Any) -> None:
    """Store the entries of row a from its diagonal on. a is a constant, so the compiler unrolls the loop."""
    for b in range(a, 8):
        Ke[packed(a, b) * n + e] = row[b]


@kernel
def element_stiffness(n: Int, x: Floats, y: Floats, quad8: Ints, k: Floats, k_stride: Int, Ke: Floats) -> None:
    """Ke = ∫ k ∇N_a·∇N_b dΩ by 3x3 Gauss points, the 36 entries a <= b; k of element e is k[k_stride e]. n = M.

    With the metric M = w k det J · J⁻¹J⁻ᵀ = [F G; G H] at each point,
        K̂_mn = Σ (∂φ_m)ᵀ M ∂φ_n   is a sum of moments of F, G and H,   and   Ke = Tᵀ K̂ T.
    """
    for e in items(n):
        cx, cy = read(x, quad8, e, S), read(y, quad8, e, S)
        w = k[k_stride * e] * (1 / S**2)  # ∂/∂ξ in scaled coordinates is S times that in true ones
        F0, G0, H0 = metric_row(cx, cy, W_END * w, -1.0)
        F1, G1, H1 = metric_row(cx, cy, W_MIDDLE * w, 0.0)
        F2, G2, H2 = metric_row(cx, cy, W_END * w, 1.0)
        F, G, H = moments_in_eta((F0, F1, F2)), moments_in_eta((G0, G1, G2)), moments_in_eta((H0, H1, H2))
        # K̂; the constant φ_0 has no gradient
        k11, k12, k22 = A * A * F[0][0], A * A * G[0][0], A * A * H[0][0]
        k13, k14, k15 = 2 * A * B * F[1][0], A * B * (F[0][1] + G[1][0]), 2 * A * B * G[0][1]
        k23, k24, k25 = 2 * A * B * G[1][0], A * B * (G[0][1] + H[1][0]), 2 * A * B * H[0][1]
        k16, k17 = A * C * (2 * F[1][1] + G[2][0]), A * C * (F[0][2] + 2 * G[1][1])
        k26, k27 = A * C * (2 * G[1][1] + H[2][0]), A * C * (G[0][2] + 2 * H[1][1])
        k33, k34, k35 = 4 * B * B * F[2][0], 2 * B * B * (F[1][1] + G[2][0]), 4 * B * B * G[1][1]
        k44, k45, k55 = B * B * (F[0][2] + 2 * G[1][1] + H[2][0]), 2 * B * B * (G[0][2] + H[1][1]), 4 * B * B * H[0][2]
        k36, k37 = 2 * B * C * (2 * F[2][1] + G[1][0]), 2 * B * C * (F[1][2] + 2 * G[2][1])
        k46, k47 = B * C * (2 * F[1][2] + 3 * G[2][1] + H[1][0]), B * C * (F[0][1] + 3 * G[1][2] + 2 * H[2][1])
        k56, k57 = 2 * B * C * (2 * G[1][2] + H[2][1]), 2 * B * C * (G[0][1] + 2 * H[1][2])
        k66, k67 = C * C * (4 * F[2][2] + 4 * G[1][1] + H[2][0]), C * C * (2 * F[1][1] + 5 * G[2][2] + 2 * H[1][1])
        k77 = C * C * (F[0][2] + 4 * G[1][1] + 4 * H[2][2])
        # K̂ T
        r1 = to_nodes((0.0, k11, k12, k13, k14, k15, k16, k17))
        r2 = to_nodes((0.0, k12, k22, k23, k24, k25, k26, k27))
        r3 = to_nodes((0.0, k13, k23, k33, k34, k35, k36, k37))
        r4 = to_nodes((0.0, k14, k24, k34, k44, k45, k46, k47))
        r5 = to_nodes((0.0, k15, k25, k35, k45, k55, k56, k57))
        r6 = to_nodes((0.0, k16, k26, k36, k46, k56, k66, k67))
        r7 = to_nodes((0.0, k17, k27, k37, k47, k57, k67, k77))
        # Tᵀ K̂ T
        put_row(Ke, n, e, 0, to_nodes((0.0, r1[0], r2[0], r3[0], r4[0], r5[0], r6[0], r7[0])))
        put_row(Ke, n, e, 1, to_nodes((0.0, r1[1], r2[1], r3[1], r4[1], r5[1], r6[1], r7[1])))
        put_row(Ke, n, e, 2, to_nodes((0.0, r1[2], r2[2], r3[2], r4[2], r5[2], r6[2], r7[2])))
        put_row(Ke, n, e, 3, to_nodes((0.0, r1[3], r2[3], r3[3], r4[3], r5[3], r6[3], r7[3])))
        put_row(Ke, n, e, 4, to_nodes((0.0, r1[4], r2[4], r3[4], r4[4], r5[4], r6[4], r7[4])))
        put_row(Ke, n, e, 5, to_nodes((0.0, r1[5], r2[5], r3[5], r4[5], r5[5], r6[5], r7[5])))
        put_row(Ke, n, e, 6, to_nodes((0.0, r1[6], r2[6], r3[6], r4[6], r5[6], r6[6], r7[6])))
        put_row(Ke, n, e, 7, to_nodes((0.0, r1[7], r2[7], r3[7], r4[7], r5[7], r6[7], r7[7])))


@kernel
def sum_entries(n: Int, source_start: Ints, source: Ints, Ke: Floats, values: Floats) -> None:
    """values[s] = the sum of Ke[source] over s, in order; 0 where there is none. n = nnz."""
    for t in items(n):
        total = 0.0
        for s in range(source_start[t], source_start[t + 1]):
            total += Ke[source[s]]
        values[t] = total


@device
def source_row(cx: Any, cy: Any, cs: Any, w: Float, eta: Float) -> Any:
    """Moments in ξ of w det J s along a row of points."""
    even, odd = cs[0] + eta * cs[2] + eta * eta * cs[5], cs[1] + eta * cs[4] + eta * eta * cs[7]
    bend = cs[3] + eta * cs[6]
    f0 = W_END * (d_xi(cx, -1.0, eta) * d_eta(cy, -1.0, eta) - d_eta(cx, -1.0, eta) * d_xi(cy, -1.0, eta))
    f1 = W_MIDDLE * (d_xi(cx, 0.0, eta) * d_eta(cy, 0.0, eta) - d_eta(cx, 0.0, eta) * d_xi(cy, 0.0, eta))
    f2 = W_END * (d_xi(cx, 1.0, eta) * d_eta(cy, 1.0, eta) - d_eta(cx, 1.0, eta) * d_xi(cy, 1.0, eta))
    return moments((w * f0 * (even - odd + bend), w * f1 * even, w * f2 * (even + odd + bend)))


@kernel
def element_load(n: Int, x: Floats, y: Floats, quad8: Ints, source_s: Floats, fe: Floats) -> None:
    """fe = ∫ s N_a dΩ by 3x3 Gauss points, s interpolated from its values source_s[8 e + a] at the nodes. n = M."""
    for e in items(n):
        t = 8 * e
        cx, cy = read(x, quad8, e, S), read(y, quad8, e, S)
        cs = to_basis(eight(source_s, t), S)
        F0 = source_row(cx, cy, cs, W_END / S**2, -1.0)
        F1 = source_row(cx, cy, cs, W_MIDDLE / S**2, 0.0)
        F2 = source_row(cx, cy, cs, W_END / S**2, 1.0)
        F = moments_in_eta((F0, F1, F2))
        a = to_nodes(
            (0.25 * F[0][0], A * F[1][0], A * F[0][1], B * F[2][0], B * F[1][1], B * F[0][2], C * F[2][1], C * F[1][2])
        )
        fe[t], fe[t + 1], fe[t + 2], fe[t + 3] = a[0], a[1], a[2], a[3]
        fe[t + 4], fe[t + 5], fe[t + 6], fe[t + 7] = a[4], a[5], a[6], a[7]


@kernel
def sum_loads(n: Int, start: Ints, place: Ints, fe: Floats, rhs: Floats) -> None:
    """rhs[i] = the sum of fe over the places of node i, in order. n = N."""
    for i in items(n):
        total = 0.0
        for s in range(start[i], start[i + 1]):
            total += fe[place[s]]
        rhs[i] = total


@kernel
def coo_entries(
    n: Int, quad8: Ints, Ke: Floats, M: Int, orphans: Ints, rows: Ints, columns: Ints, values: Floats
) -> None:
    """All entries of all element matrices, t = 64 e + 8 a + b, then 0 on each orphan's diagonal.

    The published way, for comparison. n = 64 M + orphans.
    """
    for t in items(n):
        e, a, b = t // 64, t // 8 % 8, t % 8
        if e < M:
            rows[t] = quad8[8 * e + a]
            columns[t] = quad8[8 * e + b]
            values[t] = Ke[packed(a, b) * M + e]
        else:
            rows[t] = columns[t] = orphans[t - 64 * M]
            values[t] = 0
