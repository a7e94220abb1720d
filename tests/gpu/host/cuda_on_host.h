// CUDA C on the host: the same sources compiled by a C++ compiler and run block by block, thread by thread.
//
// The threads of a block are fibers: one runs until it waits for the others of its warp (a shuffle) or of its block
// (__syncthreads), then the next. Blocks run one after the other, so that the last one to come is known. What a GPU
// would hang on or leave undefined is an error here: threads that wait for others that have left or wait elsewhere.
#pragma once

#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <random>
#include <vector>

#define __global__
#define __device__
#define __shared__ static
#define __launch_bounds__(threads)
#define UNROLL

using std::isfinite;

struct Index {
    unsigned x;
};
inline Index threadIdx, blockIdx, blockDim, gridDim;

inline int atomicAdd(int *at, int value)
{
    const int before = *at;
    *at += value;
    return before;
}

inline unsigned atomicInc(unsigned *at, unsigned limit)
{
    const unsigned before = *at;
    *at = before >= limit ? 0 : before + 1;
    return before;
}

template <class T>
inline T __ldcs(const T *at)
{
    return *at;
}

inline void __threadfence() {}

enum Waiting { FOR_NOTHING, FOR_WARP, FOR_BLOCK, LEFT };

// A thread of the block, kept from block to block.
struct Fiber {
    ucontext_t context;
    jmp_buf here;
    Waiting waiting;
    bool started;
    unsigned shuffles; // so far: values go into two slots by turns, as some threads read while others go on
    char stack[1 << 16];
};

constexpr unsigned WIDTH = 32; // of a warp
inline Fiber fibers[1024];
inline ucontext_t scheduler;
inline jmp_buf back;
inline double slots[1024 / WIDTH][2][WIDTH];
inline void (*body)();

#ifdef __SANITIZE_ADDRESS__ // which has to see where the stack changes
inline void leave(Fiber &fiber) { swapcontext(&fiber.context, &scheduler); }
inline void enter(Fiber &fiber) { swapcontext(&scheduler, &fiber.context); }
#else // the same without a system call
inline void leave(Fiber &fiber)
{
    if (!_setjmp(fiber.here))
        _longjmp(back, 1);
}
inline void enter(Fiber &fiber)
{
    if (_setjmp(back))
        return;
    if (fiber.started)
        _longjmp(fiber.here, 1);
    fiber.started = true;
    setcontext(&fiber.context);
}
#endif

inline void wait(Waiting reason)
{
    Fiber &fiber = fibers[threadIdx.x];
    fiber.waiting = reason;
    leave(fiber);
}

inline void __syncthreads() { wait(FOR_BLOCK); }

template <class T>
inline T __shfl_xor_sync(unsigned, T value, int mask)
{
    const unsigned warp = threadIdx.x / WIDTH, lane = threadIdx.x % WIDTH;
    const unsigned turn = fibers[threadIdx.x].shuffles++ % 2;
    memcpy(&slots[warp][turn][lane], &value, sizeof value);
    wait(FOR_WARP);
    memcpy(&value, &slots[warp][turn][lane ^ mask], sizeof value);
    return value;
}

inline void live()
{
    for (;;) {
        body();
        wait(LEFT);
    }
}

// Let threads first … stop - 1 run until they wait; what they all wait for. They must agree.
inline bool go_on(unsigned first, unsigned stop, bool backwards, Waiting *reason)
{
    for (unsigned i = first; i < stop; ++i) {
        threadIdx.x = backwards ? first + stop - 1 - i : i;
        enter(fibers[threadIdx.x]);
    }
    *reason = fibers[first].waiting;
    for (unsigned i = first; i < stop; ++i)
        if (fibers[i].waiting != *reason)
            return false;
    return true;
}

// Run a block to its end; false if its threads wait for each other in different places.
inline bool run_block(bool backwards)
{
    for (unsigned i = 0; i < blockDim.x; ++i)
        fibers[i].shuffles = 0;
    Waiting block = FOR_BLOCK;
    while (block == FOR_BLOCK)
        for (unsigned first = 0; first < blockDim.x; first += WIDTH) {
            Waiting warp = FOR_WARP;
            while (warp == FOR_WARP)
                if (!go_on(first, first + WIDTH, backwards, &warp))
                    return false;
            if (first > 0 && warp != block)
                return false;
            block = warp;
        }
    return true;
}

// Run a grid; `order`: 0 as numbered, 1 blocks and threads backwards, else blocks in an order of chance.
inline bool run_grid(void (*kernel)(), unsigned blocks, unsigned threads, unsigned order)
{
    static bool made = false;
    for (unsigned i = 0; i < 1024 && !made; ++i) {
        getcontext(&fibers[i].context);
        fibers[i].context.uc_stack = {fibers[i].stack, 0, sizeof fibers[i].stack};
        makecontext(&fibers[i].context, live, 0);
        fibers[i].started = false;
    }
    made = true;
    body = kernel;
    gridDim.x = blocks;
    blockDim.x = threads;
    std::vector<unsigned> blocks_in_order(blocks);
    std::iota(blocks_in_order.begin(), blocks_in_order.end(), 0u);
    if (order == 1)
        std::reverse(blocks_in_order.begin(), blocks_in_order.end());
    else if (order > 1)
        std::shuffle(blocks_in_order.begin(), blocks_in_order.end(), std::mt19937(order));
    for (unsigned block : blocks_in_order) {
        blockIdx.x = block;
        if (!run_block(order == 1)) {
            made = false; // threads are stuck somewhere: new ones next time
            return false;
        }
    }
    return true;
}
