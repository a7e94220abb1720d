// Functions on an element: from the values at its 8 nodes to coefficients of monomials, and back.
//
// A function with values a_i at the nodes is Σ c_m φ_m with φ = 1, ξ, η, ξ², ξη, η², ξ²η, ξη². Two things make this
// basis cheap. Its coefficients are sums and differences of the values. And with ξ and η in units of the Gauss points'
// coordinate S, the points lie at -1, (0) and 1, where ξ³ = ξ and ξ⁴ = ξ²: a few moments Σ f ξᵖηᵠ are all that is
// needed of a function f at the points.
//
// Loops are unrolled and their indices are constants, so all arrays stay in registers.
#pragma once

// φ_m = ξ^P[m] η^Q[m].
__device__ constexpr int P[8] = {0, 1, 0, 2, 1, 0, 2, 1};
__device__ constexpr int Q[8] = {0, 0, 1, 0, 1, 2, 1, 2};

// Factors of the sums in to_basis, in coordinates scaled by S.
__device__ constexpr double scale(int m, double S)
{
    const int degree = P[m] + Q[m];
    return degree == 0 ? 0.25 : degree == 1 ? S / 2 : degree == 2 ? S * S / 4 : S * S * S / 4;
}

// c = T a: the coefficients of the function with values a at the nodes.
__device__ inline void to_basis(const double a[8], double S, double c[8])
{
    const double south = a[0] + a[1], north = a[2] + a[3], east_south = a[1] - a[0], east_north = a[2] - a[3];
    const double corners = south + north;
    c[0] = 2 * ((a[4] + a[6]) + (a[5] + a[7])) - corners;
    c[1] = a[5] - a[7];
    c[2] = a[6] - a[4];
    c[3] = corners - 2 * (a[4] + a[6]);
    c[4] = east_north - east_south;
    c[5] = corners - 2 * (a[5] + a[7]);
    c[6] = (north - south) - 2 * c[2];
    c[7] = (east_south + east_north) - 2 * c[1];
    UNROLL
    for (int m = 0; m < 8; ++m)
        c[m] *= scale(m, S);
}

// a = Tᵀ c for c that are multiplied by `scale` already.
__device__ inline void to_nodes(const double c[8], double a[8])
{
    const double even = c[3] + c[5] - c[0], plus = even + c[4], minus = even - c[4];
    const double sum = c[7] + c[6], difference = c[7] - c[6];
    const double xi = c[1] - 2 * c[7], eta = c[2] - 2 * c[6];
    const double mid_eta = 2 * (c[0] - c[3]), mid_xi = 2 * (c[0] - c[5]);
    a[0] = plus - sum;
    a[1] = minus + difference;
    a[2] = plus + sum;
    a[3] = minus - difference;
    a[4] = mid_eta - eta;
    a[5] = mid_xi + xi;
    a[6] = mid_eta + eta;
    a[7] = mid_xi - xi;
}

// ∂/∂ξ and ∂/∂η of Σ c_m φ_m.
__device__ inline double d_xi(const double c[8], double xi, double eta)
{
    return (c[1] + c[4] * eta + c[7] * eta * eta) + xi * (2 * c[3] + 2 * c[6] * eta);
}

__device__ inline double d_eta(const double c[8], double xi, double eta)
{
    return (c[2] + c[4] * xi + c[6] * xi * xi) + eta * (2 * c[5] + 2 * c[7] * xi);
}

// Coefficients of the function with these values at the nodes of an element.
__device__ inline void read(const double *values, const int *node, double S, double c[8])
{
    double a[8];
    UNROLL
    for (int i = 0; i < 8; ++i)
        a[i] = values[node[i]];
    to_basis(a, S, c);
}
