// All kernels, to be launched by name. KERNELS is a list K(name) K(name) … of them.
#include "cuda_on_host.h"

#include "assembly.cu"
#include "conditions.cu"
#include "derived.cu"
#include "multigrid.cu"
#include "solve.cu"
#include "sparsity.cu"

#include <utility>

static void **arguments; // each points to the value of one argument, as cuLaunchKernel takes them

template <class... T, std::size_t... i>
static void call(void (*kernel)(T...), std::index_sequence<i...>)
{
    kernel(*static_cast<T *>(arguments[i])...);
}

template <class... T>
static void call(void (*kernel)(T...))
{
    call(kernel, std::index_sequence_for<T...>());
}

// 0, or 1 if threads waited for each other in vain, 2 if there is no such kernel.
extern "C" int launch(const char *name, unsigned blocks, unsigned order, void **given)
{
    arguments = given;
#define K(kernel)                 \
    if (!strcmp(name, #kernel)) { \
        return !run_grid([] { call(kernel); }, blocks, order); \
    }
    KERNELS
    return 2;
}
