// Conjugate gradients on the equilibrated matrix A = D K D, D = diag(K)^-½: its diagonal is 1, Jacobi's preconditioner
// the identity.
//
// A step is three kernels. They move, in bytes for each of N rows and nnz entries:
//     cg_direction    24 N            r, p → p
//     cg_product      12 nnz + 20 N   A, indices, indptr, p → q
//     cg_step         48 N            p, q, x, r → x, r
#include "common.cuh"

// ---- the equilibrated system

// d_i = K_ii^-½; where K_ii isn't positive and finite, d_i = 0 and bad[0] += 1. n = N.
extern "C" __global__ void inverse_root_diagonal(int n, const int *indptr, const int *indices, const double *values,
                                                 double *d, int *bad)
{
    const int i = thread();
    if (i >= n)
        return;
    const double diagonal = values[position(indptr, indices, i, i)];
    const bool good = diagonal > 0 && isfinite(diagonal);
    d[i] = good ? 1 / sqrt(diagonal) : 0;
    if (!good)
        atomicAdd(bad, 1);
}

// A_ij = d_i K_ij d_j. n = N.
extern "C" __global__ void scale_matrix(int n, const int *indptr, const int *indices, const double *values,
                                        const double *d, double *A)
{
    const int i = thread() / LANES;
    if (i >= n)
        return;
    for (int s = indptr[i] + threadIdx.x % LANES; s < indptr[i + 1]; s += LANES)
        A[s] = d[i] * values[s] * d[indices[s]];
}

// out_i = a_i b_i.
extern "C" __global__ void product(int n, const double *a, const double *b, double *out)
{
    const int i = thread();
    if (i < n)
        out[i] = a[i] * b[i];
}

// out = b - A x. n = N.
extern "C" __global__ void residual(int n, const int *indptr, const int *indices, const double *A, const double *x,
                                    const double *b, double *out)
{
    const int i = thread() / LANES;
    const double sum = row_product(i, n, indptr, indices, A, x);
    if (i < n && threadIdx.x % LANES == 0)
        out[i] = b[i] - sum;
}

// out = A x. n = N.
extern "C" __global__ void multiply(int n, const int *indptr, const int *indices, const double *A, const double *x,
                                    double *out)
{
    const int i = thread() / LANES;
    const double sum = row_product(i, n, indptr, indices, A, x);
    if (i < n && threadIdx.x % LANES == 0)
        out[i] = sum;
}

// out = 0 at fixed nodes. n = number of fixed nodes.
extern "C" __global__ void put_zero(int n, const int *fixed, double *out)
{
    const int t = thread();
    if (t < n)
        out[fixed[t]] = 0;
}

// u = ĝ + D x. n = N.
extern "C" __global__ void potential(int n, const double *lift, const double *d, const double *x, double *u)
{
    const int i = thread();
    if (i < n)
        u[i] = lift[i] + d[i] * x[i];
}

// a·b of each CHUNK entries, a warp's each; the last chunk ends at `length`. n = ⌈length / CHUNK⌉.
extern "C" __global__ void dot_chunks(int n, int length, const double *a, const double *b, double *sums)
{
    const int t = thread() / WARP;
    double sum = 0;
    if (t < n)
        for (int s = t * CHUNK + threadIdx.x % WARP; s < length && s < (t + 1) * CHUNK; s += WARP)
            sum += a[s] * b[s];
    sum = sum_lanes<WARP>(sum);
    if (t < n && threadIdx.x % WARP == 0)
        sums[t] = sum;
}

// ---- conjugate gradients: a grid of any number of blocks loops over the n rows

// The entries of `state`, and the values of its status.
enum { RR, BEFORE, PAP, TARGET, ITERATION, LIMIT, STATUS };
enum { RUNNING, CONVERGED, NOT_FINITE, LIMIT_REACHED, INDEFINITE };

// Before each step: SciPy's stopping rule, then the other reasons to stop.
__device__ inline void check(double *state)
{
    if (sqrt(state[RR]) < state[TARGET])
        state[STATUS] = CONVERGED;
    else if (!isfinite(state[RR]))
        state[STATUS] = NOT_FINITE;
    else if (state[ITERATION] >= state[LIMIT])
        state[STATUS] = LIMIT_REACHED;
}

// Sum over the threads of a block, in its first thread.
__device__ inline double sum_block(double a)
{
    __shared__ double sums[BLOCK / WARP];
    a = sum_lanes<WARP>(a);
    if (threadIdx.x % WARP == 0)
        sums[threadIdx.x / WARP] = a;
    __syncthreads();
    double total = 0;
    for (int w = 0; w < BLOCK / WARP; ++w)
        total += sums[w];
    __syncthreads(); // before `sums` is written again
    return total;
}

// Sum over all threads of the grid. Each block writes its sum. The block that finishes last adds them up, always in the
// same order; its first thread has the sum, and only this block gets true.
__device__ inline bool sum_grid(double a, double *sums, unsigned *ticket, double *total)
{
    __shared__ bool last;
    a = sum_block(a);
    if (threadIdx.x == 0) {
        sums[blockIdx.x] = a;
        __threadfence();                                          // the sum is seen before the ticket
        last = atomicInc(ticket, gridDim.x - 1) == gridDim.x - 1; // after the last, the ticket is 0 again
    }
    __syncthreads();
    if (!last)
        return false;
    __threadfence(); // the ticket is seen before the others' sums
    constexpr int AHEAD = 8; // loaded before the first is used: the other blocks are done, so this only waits
    double mine = 0;
    for (int first = threadIdx.x; first < int(gridDim.x); first += AHEAD * BLOCK) {
        double found[AHEAD];
        UNROLL
        for (int j = 0; j < AHEAD; ++j) {
            const int block = first + j * BLOCK;
            found[j] = block < int(gridDim.x) ? __ldcg(&sums[block]) : 0; // the L1 cache may have older ones
        }
        UNROLL
        for (int j = 0; j < AHEAD; ++j)
            mine += found[j];
    }
    *total = sum_block(mine);
    return threadIdx.x == 0;
}

// The check before the first step of a batch; cg_step does it for the next ones. One thread.
extern "C" __global__ void cg_check(double *state)
{
    if (thread() == 0 && state[STATUS] == RUNNING)
        check(state);
}

// p = r + (‖r‖² / ‖r‖² of the step before) p.
extern "C" __global__ void cg_direction(int n, const double *r, double *p, const double *state)
{
    if (state[STATUS] != RUNNING)
        return;
    const double beta = state[RR] / state[BEFORE];
    for (int i = thread(); i < n; i += gridDim.x * BLOCK)
        p[i] = r[i] + beta * p[i];
}

// q = A p, and p·q.
extern "C" __global__ void cg_product(int n, const int *__restrict__ indptr, const int *__restrict__ indices,
                                      const double *__restrict__ A, const double *__restrict__ p,
                                      double *__restrict__ q, double *state, double *sums, unsigned *ticket)
{
    if (state[STATUS] != RUNNING)
        return;
    double pq = 0;
    // All threads of a block loop equally often, because they meet in row_product.
    for (int first = blockIdx.x * (BLOCK / LANES); first < n; first += gridDim.x * (BLOCK / LANES)) {
        const int i = first + threadIdx.x / LANES;
        const double sum = row_product(i, n, indptr, indices, A, p);
        if (i < n && threadIdx.x % LANES == 0) {
            q[i] = sum;
            pq += p[i] * sum;
        }
    }
    if (sum_grid(pq, sums, ticket, &pq)) {
        state[PAP] = pq;
        if (pq <= 0)
            state[STATUS] = INDEFINITE;
    }
}

// x += α p, r -= α q with α = ‖r‖² / p·q; ‖r‖², and whether there is a next step.
extern "C" __global__ void cg_step(int n, const double *p, const double *q, double *x, double *r, double *state,
                                   double *sums, unsigned *ticket)
{
    if (state[STATUS] != RUNNING)
        return;
    const double alpha = state[RR] / state[PAP];
    double rr = 0;
    for (int i = thread(); i < n; i += gridDim.x * BLOCK) {
        const double there = x[i] + alpha * p[i], rest = r[i] - alpha * q[i]; // both are loaded before the
        x[i] = there;                                                         // first is written
        r[i] = rest;
        rr += rest * rest;
    }
    if (sum_grid(rr, sums, ticket, &rr)) {
        state[BEFORE] = state[RR];
        state[RR] = rr;
        state[ITERATION] += 1;
        check(state);
    }
}
