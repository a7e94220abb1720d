// The multigrid cycle in single precision. narrow and widen convert from and to the solver's double precision.
#include "common.cuh"

// out = M x, M of n rows.
extern "C" __global__ void multiply_f4(int n, const int *indptr, const int *indices, const float *values,
                                       const float *x, float *out)
{
    const int i = thread() / LANES;
    const float sum = row_product(i, n, indptr, indices, values, x);
    if (i < n && threadIdx.x % LANES == 0)
        out[i] = sum;
}

// r -= M x, M of n rows.
extern "C" __global__ void subtract_product_f4(int n, const int *indptr, const int *indices, const float *values,
                                               const float *x, float *r)
{
    const int i = thread() / LANES;
    const float sum = row_product(i, n, indptr, indices, values, x);
    if (i < n && threadIdx.x % LANES == 0)
        r[i] -= sum;
}

// δ = β δ + α z, x += δ; if β is 0, δ isn't read: it may be undefined.
extern "C" __global__ void chebyshev(int n, double alpha, double beta, const float *z, float *delta, float *x)
{
    const int i = thread();
    if (i >= n)
        return;
    float step = float(alpha) * z[i];
    if (beta != 0)
        step += float(beta) * delta[i];
    delta[i] = step;
    x[i] += step;
}

// z = (L D Lᵀ)⁻¹ r at the nodes of each line, L with 1 on its diagonal and l[k] below node k's. n lines.
extern "C" __global__ void solve_lines(int n, const int *line_start, const int *nodes, const float *d, const float *l,
                                       const float *r, float *z)
{
    const int line = thread();
    if (line >= n)
        return;
    const int first = line_start[line], stop = line_start[line + 1];
    float before = 0;
    for (int k = first; k < stop; ++k) { // L y = r
        before = r[nodes[k]] - (k > first ? l[k - 1] * before : 0);
        z[nodes[k]] = before;
    }
    for (int k = stop - 1; k >= first; --k) { // D Lᵀ z = y
        before = z[nodes[k]] / d[k] - (k < stop - 1 ? l[k] * before : 0);
        z[nodes[k]] = before;
    }
}

// x += e.
extern "C" __global__ void add_f4(int n, const float *e, float *x)
{
    const int i = thread();
    if (i < n)
        x[i] += e[i];
}

// out = B x, B (n, n) by rows, a warp's each.
extern "C" __global__ void multiply_dense(int n, const float *B, const float *x, float *out)
{
    const int i = thread() / WARP;
    float sum = 0;
    if (i < n)
        for (int j = threadIdx.x % WARP; j < n; j += WARP)
            sum += B[(long long)i * n + j] * x[j];
    sum = sum_lanes<WARP>(sum);
    if (i < n && threadIdx.x % WARP == 0)
        out[i] = sum;
}

// s = d r factor, in single precision.
extern "C" __global__ void narrow(int n, const double *d, const double *r, double factor, float *s)
{
    const int i = thread();
    if (i < n)
        s[i] = float(d[i] * r[i] * factor);
}

// z = d x factor.
extern "C" __global__ void widen(int n, const double *d, const float *x, double factor, double *z)
{
    const int i = thread();
    if (i < n)
        z[i] = d[i] * x[i] * factor;
}

// b += α a.
extern "C" __global__ void axpy(int n, double alpha, const double *a, double *b)
{
    const int i = thread();
    if (i < n)
        b[i] += alpha * a[i];
}

// p = z + β p.
extern "C" __global__ void xpby(int n, const double *z, double beta, double *p)
{
    const int i = thread();
    if (i < n)
        p[i] = z[i] + beta * p[i];
}
