// Functions for several stages. A kernel is launched with the threads of its n items: one thread, LANES threads or a
// warp for each item (see source.py, which also defines BLOCK and LANES).
//
// Floating-point numbers are always added in a fixed order: every run gives the same bits.
#pragma once

#ifndef UNROLL
#define UNROLL _Pragma("unroll")
#endif

constexpr int WARP = 32;
constexpr int CHUNK = 256; // values of an item of sum_chunks, scan_chunks and dot_chunks

// Number of this thread in the grid.
__device__ inline int thread()
{
    return blockIdx.x * blockDim.x + threadIdx.x;
}

// Sum over WIDTH neighbouring threads, in all of them. All threads of the warp must call it.
template <int WIDTH, class Real>
__device__ inline Real sum_lanes(Real a)
{
    for (int step = WIDTH / 2; step > 0; step /= 2)
        a += __shfl_xor_sync(0xffffffff, a, step);
    return a;
}

// Row i of a CSR matrix times x, in all of the LANES threads that take a row together; 0 beyond the n rows.
//
// A thread loads AHEAD entries before it uses the first: most rows are shorter than LANES * AHEAD, so they wait for
// memory once. The matrix is read once: its cache lines may be evicted first and leave the L2 cache to x.
template <class Real>
__device__ inline Real row_product(int i, int n, const int *indptr, const int *indices, const Real *values,
                                   const Real *x)
{
    constexpr int AHEAD = 24 / LANES;
    Real sum = 0;
    if (i < n) {
        const int end = indptr[i + 1];
        for (int first = indptr[i] + threadIdx.x % LANES; first < end; first += AHEAD * LANES) {
            Real a[AHEAD], b[AHEAD];
            UNROLL
            for (int j = 0; j < AHEAD; ++j) {
                const int s = first + j * LANES;
                a[j] = s < end ? __ldcs(&values[s]) : 0;
                b[j] = s < end ? x[__ldcs(&indices[s])] : 0;
            }
            UNROLL
            for (int j = 0; j < AHEAD; ++j)
                sum += a[j] * b[j];
        }
    }
    return sum_lanes<LANES>(sum);
}

// Where entry (row, column) is in the CSR values, by bisection.
__device__ inline int position(const int *indptr, const int *indices, int row, int column)
{
    int low = indptr[row], high = indptr[row + 1];
    while (low < high) {
        const int middle = (low + high) / 2;
        if (indices[middle] < column)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

// Index of entry (a, b) among the 36 of a symmetric element matrix: the upper triangle by rows.
__device__ inline int packed(int a, int b)
{
    const int low = a < b ? a : b, high = a < b ? b : a;
    return 8 * low - low * (low - 1) / 2 + (high - low);
}
