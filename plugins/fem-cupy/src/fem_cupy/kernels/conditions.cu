// Boundary conditions: edge integrals, lifted values, fixed nodes.
#include "common.cuh"

// For each place 3 edge + i of node v = nodes[t]: ∫ γ N_i ds added to rhs[v], ∫ p N_i N_j ds to row v.
// p and γ are given at the three nodes (a, mid, b) of each edge; edges in order. n = number of nodes.
extern "C" __global__ void add_robin(int n, const int *nodes, const int *edge_start, const int *edge_place,
                                     const int *edges, const double *x, const double *y, const double *p,
                                     const double *gamma, const int *indptr, const int *indices, double *values,
                                     double *rhs)
{
    const int item = thread();
    if (item >= n)
        return;
    const int v = nodes[item];
    for (int s = edge_start[item]; s < edge_start[item + 1]; ++s) {
        const int edge = edge_place[s] / 3, i = edge_place[s] % 3;
        const int *node = edges + 3 * edge;
        double load = 0, row[3] = {0, 0, 0};
        UNROLL
        for (int q = -1; q <= 1; ++q) { // the 3-point Gauss rule
            const double t = q * 0.7745966692414834, weight = q == 0 ? 8. / 9 : 5. / 9; // √(3/5)
            const double N[3] = {t * (t - 1) / 2, 1 - t * t, t * (t + 1) / 2};
            const double dN[3] = {t - 0.5, -2 * t, t + 0.5};
            double dx = 0, dy = 0, p_t = 0, gamma_t = 0;
            for (int j = 0; j < 3; ++j) {
                dx += dN[j] * x[node[j]];
                dy += dN[j] * y[node[j]];
                p_t += N[j] * p[3 * edge + j];
                gamma_t += N[j] * gamma[3 * edge + j];
            }
            const double ds = weight * hypot(dx, dy);
            const double N_i = i == 0 ? N[0] : i == 1 ? N[1] : N[2]; // N[i] would have to be in memory
            load += ds * gamma_t * N_i;
            for (int j = 0; j < 3; ++j)
                row[j] += ds * p_t * N_i * N[j];
        }
        rhs[v] += load;
        for (int j = 0; j < 3; ++j)
            values[position(indptr, indices, v, node[j])] += row[j];
    }
}

// rhs -= K g. n = N.
extern "C" __global__ void subtract_product(int n, const int *indptr, const int *indices, const double *values,
                                            const double *g, double *rhs)
{
    const int i = thread() / LANES;
    const double sum = row_product(i, n, indptr, indices, values, g);
    if (i < n && threadIdx.x % LANES == 0)
        rhs[i] -= sum;
}

// The penalty added to the diagonal of fixed nodes, their rhs made 0. n = number of fixed nodes.
extern "C" __global__ void penalize(int n, const int *fixed, const int *indptr, const int *indices, double *values,
                                    double *rhs, double penalty)
{
    const int t = thread();
    if (t >= n)
        return;
    const int i = fixed[t];
    values[position(indptr, indices, i, i)] += penalty;
    rhs[i] = 0;
}

// Rows and columns of held nodes become the identity's, their rhs 0. n = N.
extern "C" __global__ void eliminate(int n, const int *held, const int *indptr, const int *indices, double *values,
                                     double *rhs)
{
    const int i = thread();
    if (i >= n)
        return;
    for (int s = indptr[i]; s < indptr[i + 1]; ++s)
        if (held[i] || held[indices[s]])
            values[s] = indices[s] == i ? 1 : 0;
    if (held[i])
        rhs[i] = 0;
}
