// Element matrices and vectors, and their sums: each entry of the matrix gathers its terms.
//
// Bytes moved, for M elements, N nodes and nnz entries (x, y and gathered numbers counted once):
//     element_stiffness   328 M + 16 N          quad8, x, y → Ke
//     sum_entries         288 M + 256 M + 12 nnz  Ke, source → values
#include "common.cuh"
#include "element.cuh"

constexpr double S = 0.7745966692414834; // √(3/5), coordinate of the 3x3 Gauss points

// Weight of Gauss point (i, j).
__device__ constexpr double weight(int i, int j)
{
    return (i == 1 ? 8. / 9 : 5. / 9) * (j == 1 ? 8. / 9 : 5. / 9);
}

// Moments Σ f ξᵖηᵠ, p and q = 0, 1, 2, of f at the points ξ, η = -1, 0, 1. In two steps, to need few registers: the
// moments in ξ of a row of points (constant η) are taken as soon as it is known, and the moments in η at the end.
__device__ inline void moments(const double f[3], double m[3])
{
    m[2] = f[0] + f[2];
    m[1] = f[2] - f[0];
    m[0] = m[2] + f[1];
}

__device__ inline void moments_in_eta(double m[3][3])
{
    UNROLL
    for (int p = 0; p < 3; ++p) {
        const double f[3] = {m[0][p], m[1][p], m[2][p]};
        double along[3];
        moments(f, along);
        m[0][p] = along[0];
        m[1][p] = along[1];
        m[2][p] = along[2];
    }
}

// Σ f ξᵖηᵠ for p and q up to 4.
__device__ inline double moment(const double m[3][3], int p, int q)
{
    return m[q > 2 ? q - 2 : q][p > 2 ? p - 2 : p];
}

// Ke = ∫ k ∇N_a·∇N_b dΩ by 3x3 Gauss points, the 36 entries a <= b; k of element e is k[k_stride e]. n = M.
//
// With the metric M = w k det J · J⁻¹J⁻ᵀ = [F G; G H] at each point,
//     K̂_mn = Σ (∂φ_m)ᵀ M ∂φ_n   is a sum of moments of F, G and H,   and   Ke = Tᵀ K̂ T.
extern "C" __global__ void __launch_bounds__(BLOCK)
    element_stiffness(int n, const double *__restrict__ x, const double *__restrict__ y,
                      const int *__restrict__ quad8, const double *__restrict__ k, int k_stride,
                      double *__restrict__ Ke)
{
    const int e = thread();
    if (e >= n)
        return;
    double F[3][3], G[3][3], H[3][3]; // first by row of points and moment in ξ, then the moments by q and p
    {
        double cx[8], cy[8];
        read(x, quad8 + 8 * e, S, cx);
        read(y, quad8 + 8 * e, S, cy);
        const double k_e = k[k_stride * e] / (S * S); // ∂/∂ξ in scaled coordinates is S times that in true ones
        UNROLL
        for (int j = 0; j < 3; ++j) {
            double f[3], g[3], h[3];
            UNROLL
            for (int i = 0; i < 3; ++i) {
                const double xi = i - 1, eta = j - 1;
                const double x_xi = d_xi(cx, xi, eta), x_eta = d_eta(cx, xi, eta);
                const double y_xi = d_xi(cy, xi, eta), y_eta = d_eta(cy, xi, eta);
                const double w = weight(i, j) * k_e / (x_xi * y_eta - x_eta * y_xi);
                f[i] = w * (x_eta * x_eta + y_eta * y_eta);
                g[i] = -w * (x_xi * x_eta + y_xi * y_eta);
                h[i] = w * (x_xi * x_xi + y_xi * y_xi);
            }
            moments(f, F[j]);
            moments(g, G[j]);
            moments(h, H[j]);
        }
        moments_in_eta(F);
        moments_in_eta(G);
        moments_in_eta(H);
    }
    double K[8][8]; // K̂ T
    UNROLL
    for (int l = 1; l < 8; ++l) { // the constant φ_0 has no gradient
        double row[8] = {0};
        UNROLL
        for (int m = 1; m < 8; ++m) {
            // ∂φ = (P ξ^(P-1) η^Q, Q ξ^P η^(Q-1))
            const int p = P[l] + P[m], q = Q[l] + Q[m];
            const int f = P[l] * P[m], g = P[l] * Q[m] + Q[l] * P[m], h = Q[l] * Q[m];
            if (f > 0)
                row[m] += f * moment(F, p - 2, q);
            if (g > 0)
                row[m] += g * moment(G, p - 1, q - 1);
            if (h > 0)
                row[m] += h * moment(H, p, q - 2);
            row[m] *= scale(l, S) * scale(m, S);
        }
        to_nodes(row, K[l]);
    }
    int entry = 0;
    UNROLL
    for (int a = 0; a < 8; ++a) {
        double column[8] = {0}, row[8];
        UNROLL
        for (int l = 1; l < 8; ++l)
            column[l] = K[l][a];
        to_nodes(column, row);
        UNROLL
        for (int b = a; b < 8; ++b)
            Ke[entry++ * n + e] = row[b];
    }
}

// values[s] = the sum of Ke[source] over s, in order; 0 where there is none. n = nnz.
extern "C" __global__ void sum_entries(int n, const int *__restrict__ source_start, const int *__restrict__ source,
                                       const double *__restrict__ Ke, double *__restrict__ values)
{
    const int t = thread();
    if (t >= n)
        return;
    double sum = 0;
    for (int s = source_start[t]; s < source_start[t + 1]; ++s)
        sum += Ke[source[s]];
    values[t] = sum;
}

// fe = ∫ s N_a dΩ by 3x3 Gauss points, s interpolated from its values source_s[8 e + a] at the nodes. n = M.
extern "C" __global__ void __launch_bounds__(BLOCK)
    element_load(int n, const double *__restrict__ x, const double *__restrict__ y, const int *__restrict__ quad8,
                 const double *__restrict__ source_s, double *__restrict__ fe)
{
    const int e = thread();
    if (e >= n)
        return;
    double F[3][3];
    {
        double cx[8], cy[8], cs[8];
        read(x, quad8 + 8 * e, S, cx);
        read(y, quad8 + 8 * e, S, cy);
        to_basis(source_s + 8 * e, S, cs);
        UNROLL
        for (int j = 0; j < 3; ++j) {
            double f[3];
            UNROLL
            for (int i = 0; i < 3; ++i) {
                const double xi = i - 1, eta = j - 1;
                const double det = d_xi(cx, xi, eta) * d_eta(cy, xi, eta) - d_eta(cx, xi, eta) * d_xi(cy, xi, eta);
                const double s = (cs[0] + cs[1] * xi + cs[3] * xi * xi) + eta * (cs[2] + cs[4] * xi + cs[6] * xi * xi) +
                                 eta * eta * (cs[5] + cs[7] * xi);
                f[i] = weight(i, j) / (S * S) * det * s;
            }
            moments(f, F[j]);
        }
        moments_in_eta(F);
    }
    double c[8], a[8];
    UNROLL
    for (int m = 0; m < 8; ++m)
        c[m] = scale(m, S) * moment(F, P[m], Q[m]);
    to_nodes(c, a);
    UNROLL
    for (int i = 0; i < 8; ++i)
        fe[8 * e + i] = a[i];
}

// rhs[i] = the sum of fe over the places of node i, in order. n = N.
extern "C" __global__ void sum_loads(int n, const int *start, const int *place, const double *fe, double *rhs)
{
    const int i = thread();
    if (i >= n)
        return;
    double sum = 0;
    for (int s = start[i]; s < start[i + 1]; ++s)
        sum += fe[place[s]];
    rhs[i] = sum;
}

// All entries of all element matrices, t = 64 e + 8 a + b, then 0 on each orphan's diagonal: the published way, for
// comparison. n = 64 M + number of orphans.
extern "C" __global__ void coo_entries(int n, const int *quad8, const double *Ke, int M, const int *orphans, int *rows,
                                       int *columns, double *values)
{
    const int t = thread();
    if (t >= n)
        return;
    if (t >= 64 * M) {
        rows[t] = columns[t] = orphans[t - 64 * M];
        values[t] = 0;
        return;
    }
    const int e = t / 64, a = t / 8 % 8, b = t % 8;
    rows[t] = quad8[8 * e + a];
    columns[t] = quad8[8 * e + b];
    values[t] = Ke[packed(a, b) * M + e];
}
