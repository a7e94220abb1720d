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

template <class T>
inline T __ldcg(const T *at)
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
inline Fiber fibers[BLOCK];
inline ucontext_t scheduler;
inline jmp_buf back;
inline double slots[BLOCK / WIDTH][2][WIDTH];
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

inline void make(Fiber &fiber)
{
    getcontext(&fiber.context);
    fiber.context.uc_stack = {fiber.stack, 0, sizeof fiber.stack};
    makecontext(&fiber.context, live, 0);
    fiber.started = false;
}

// The order in which warps and blocks come, and the threads of a warp.
inline struct {
    unsigned kind; // 0 as numbered, 1 backwards, else by chance from this seed
    std::mt19937 chance;

    std::vector<unsigned> of(unsigned count)
    {
        std::vector<unsigned> order(count);
        std::iota(order.begin(), order.end(), 0u);
        if (kind == 1)
            std::reverse(order.begin(), order.end());
        else if (kind > 1)
            std::shuffle(order.begin(), order.end(), chance);
        return order;
    }
} order;

// Let the threads of a warp run until they wait; what they all wait for. They must agree.
inline bool go_on(unsigned warp, Waiting *reason)
{
    for (unsigned i = 0; i < WIDTH; ++i) {
        threadIdx.x = warp * WIDTH + (order.kind == 1 ? WIDTH - 1 - i : i);
        enter(fibers[threadIdx.x]);
    }
    *reason = fibers[warp * WIDTH].waiting;
    for (unsigned i = 0; i < WIDTH; ++i)
        if (fibers[warp * WIDTH + i].waiting != *reason)
            return false;
    return true;
}

// Run a block to its end; false if its threads wait for each other in different places.
inline bool run_block()
{
    for (Fiber &fiber : fibers)
        fiber.shuffles = 0;
    for (;;) {
        for (unsigned warp : order.of(BLOCK / WIDTH)) {
            Waiting reason = FOR_WARP;
            while (reason == FOR_WARP)
                if (!go_on(warp, &reason))
                    return false;
        }
        for (Fiber &fiber : fibers)
            if (fiber.waiting != fibers[0].waiting)
                return false;
        if (fibers[0].waiting == LEFT)
            return true;
    }
}

// Run a grid.
inline bool run_grid(void (*kernel)(), unsigned blocks, unsigned seed)
{
    static bool made = false;
    for (unsigned i = 0; i < BLOCK && !made; ++i)
        make(fibers[i]);
    made = true;
    body = kernel;
    gridDim.x = blocks;
    blockDim.x = BLOCK;
    order = {seed, std::mt19937(seed)};
    for (unsigned block : order.of(blocks)) {
        blockIdx.x = block;
        if (!run_block()) {
            made = false; // threads are stuck somewhere: new ones next time
            return false;
        }
    }
    return true;
}
