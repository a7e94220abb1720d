/* A make-believe CUDA driver of two devices: memory is the host's, and a launch is only told to `launched`.
 *
 * It proves what surrounds the kernels: contexts that are pushed and popped, transfers, memory given back, what a launch
 * is made of, the driver's errors. Built as libcuda.so.1; `fake_fail` and `fake_version` set what comes next.
 */
#define _GNU_SOURCE
#define __CUDA_API_VERSION_INTERNAL
#include <cuda.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEVICES 2
#define MEMORY (1L << 30)
#define DEPTH 64

static CUcontext stack[DEPTH];
static int depth, version = 13030;
static long used, allocations;
static CUresult failure;
static char launched[4096];

long fake_allocations(void) { return allocations; }
int fake_depth(void) { return depth; }
const char *fake_launched(void) { return launched; }
void fake_fail(int number) { failure = number; }
void fake_version(int number) { version = number; }

#define CALL(name, ...) CUresult name(__VA_ARGS__)
#define DONE return CUDA_SUCCESS

CALL(cuInit, unsigned flags) { DONE; }
CALL(cuDriverGetVersion, int *found) { *found = version; DONE; }
CALL(cuGetErrorName, CUresult error, const char **name) { *name = "CUDA_ERROR_ILLEGAL_ADDRESS"; DONE; }
CALL(cuGetErrorString, CUresult error, const char **text) { *text = "make-believe"; DONE; }

/* devices and contexts: the context of device d is 0x1000 + 16 d */
CALL(cuDeviceGetCount, int *count) { *count = DEVICES; DONE; }
CALL(cuDeviceGet, CUdevice *device, int ordinal) { *device = ordinal; DONE; }
CALL(cuDeviceGetName, char *name, int length, CUdevice d) { snprintf(name, length, "Make-believe %d", d); DONE; }
CALL(cuDeviceGetUuid, CUuuid *uuid, CUdevice device) { memset(uuid, device, sizeof *uuid); DONE; }
CALL(cuDeviceTotalMem_v2, size_t *total, CUdevice device) { *total = MEMORY; DONE; }
CALL(cuDeviceGetAttribute, int *value, CUdevice_attribute attribute, CUdevice device)
{
    *value = attribute == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR   ? 9
             : attribute == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR ? 0
             : attribute == CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT     ? 10
                                                                         : 1;
    DONE;
}
CALL(cuDevicePrimaryCtxRetain, CUcontext *context, CUdevice device)
{
    *context = (CUcontext)(0x1000L + 16 * device);
    DONE;
}
CALL(cuDevicePrimaryCtxRelease_v2, CUdevice device) { DONE; }
CALL(cuCtxPushCurrent_v2, CUcontext context)
{
    if (depth == DEPTH)
        return CUDA_ERROR_OUT_OF_MEMORY;
    stack[depth++] = context;
    DONE;
}
CALL(cuCtxPopCurrent_v2, CUcontext *context)
{
    if (!depth)
        return CUDA_ERROR_INVALID_CONTEXT;
    *context = stack[--depth];
    DONE;
}
CALL(cuCtxSetCurrent, CUcontext context) /* in place of the one on top; none takes that away */
{
    depth -= depth > 0;
    return context ? cuCtxPushCurrent_v2(context) : CUDA_SUCCESS;
}
CALL(cuCtxGetCurrent, CUcontext *context) { *context = depth ? stack[depth - 1] : NULL; DONE; }
CALL(cuCtxGetDevice, CUdevice *device)
{
    if (!depth)
        return CUDA_ERROR_INVALID_CONTEXT;
    *device = ((long)stack[depth - 1] - 0x1000) / 16;
    DONE;
}
CALL(cuCtxSynchronize, void) { DONE; }
CALL(cuCtxGetApiVersion, CUcontext context, unsigned *found) { *found = version; DONE; }

/* memory: its size stands before it */
CALL(cuMemGetInfo_v2, size_t *free, size_t *total) { *total = MEMORY, *free = MEMORY - used; DONE; }
CALL(cuMemAlloc_v2, CUdeviceptr *address, size_t size)
{
    if (used + (long)size > MEMORY)
        return CUDA_ERROR_OUT_OF_MEMORY;
    long *block = malloc(size + 16);
    *block = size, used += size, allocations++;
    *address = (CUdeviceptr)(block + 2);
    DONE;
}
CALL(cuMemFree_v2, CUdeviceptr address)
{
    long *block = (long *)address - 2;
    used -= *block, allocations--;
    free(block);
    DONE;
}
CALL(cuMemHostAlloc, void **address, size_t size, unsigned flags) { *address = malloc(size); DONE; }
CALL(cuMemFreeHost, void *address) { free(address); DONE; }
CALL(cuMemcpyAsync, CUdeviceptr to, CUdeviceptr from, size_t size, CUstream stream)
{
    memcpy((void *)to, (void *)from, size);
    DONE;
}
CALL(cuMemsetD8Async, CUdeviceptr to, unsigned char value, size_t size, CUstream stream)
{
    memset((void *)to, value, size);
    DONE;
}

/* streams and events */
CALL(cuStreamCreate, CUstream *stream, unsigned flags) { *stream = (CUstream)0x77; DONE; }
CALL(cuStreamSynchronize, CUstream stream) { return failure; }
CALL(cuStreamDestroy_v2, CUstream stream) { DONE; }
CALL(cuStreamGetCtx, CUstream stream, CUcontext *context) { return cuCtxGetCurrent(context); }
CALL(cuEventCreate, CUevent *event, unsigned flags) { *event = (CUevent)0x88; DONE; }
CALL(cuEventRecord, CUevent event, CUstream stream) { DONE; }
CALL(cuEventSynchronize, CUevent event) { DONE; }
CALL(cuEventDestroy_v2, CUevent event) { DONE; }
CALL(cuEventElapsedTime, float *milliseconds, CUevent start, CUevent stop) { *milliseconds = 1.5; DONE; }

/* kernels: a handle is the name */
CALL(cuLibraryLoadData, CUlibrary *library, const void *code, CUjit_option *o, void **ov, unsigned n,
     CUlibraryOption *l, void **lv, unsigned m)
{
    if (memcmp(code, "\177ELF", 4))
        return CUDA_ERROR_INVALID_IMAGE;
    *library = (CUlibrary)0x99;
    DONE;
}
CALL(cuLibraryUnload, CUlibrary library) { DONE; }
CALL(cuLibraryGetKernel, CUkernel *kernel, CUlibrary library, const char *name)
{
    *kernel = (CUkernel)strdup(name);
    DONE;
}
CALL(cuKernelGetFunction, CUfunction *function, CUkernel kernel) { *function = (CUfunction)kernel; DONE; }
CALL(cuKernelGetLibrary, CUlibrary *library, CUkernel kernel) { *library = (CUlibrary)0x99; DONE; }
CALL(cuOccupancyMaxActiveBlocksPerMultiprocessor, int *blocks, CUfunction f, int block, size_t shared)
{
    *blocks = 4;
    DONE;
}
CALL(cuLaunchKernelEx, const CUlaunchConfig *config, CUfunction kernel, void **parameters, void **extra)
{
    int together = 0;
    for (unsigned i = 0; i < config->numAttrs; i++)
        if (config->attrs[i].id == CU_LAUNCH_ATTRIBUTE_COOPERATIVE)
            together = config->attrs[i].value.cooperative;
    snprintf(launched, sizeof launched, "%s grid=%u block=%u together=%d n=%d", (char *)kernel, config->gridDimX,
             config->blockDimX, together, *(int *)parameters[0]);
    DONE;
}

/* where the libraries get all of these */
CALL(cuGetProcAddress_v2, const char *name, void **function, int wanted, cuuint64_t flags,
     CUdriverProcAddressQueryResult *status)
{
    char second[200];
    Dl_info here;
    dladdr((void *)cuInit, &here);
    void *self = dlopen(here.dli_fname, RTLD_NOW | RTLD_NOLOAD);
    snprintf(second, sizeof second, "%s_v2", name);
    *function = dlsym(self, second);
    if (!*function)
        *function = dlsym(self, name);
    if (status)
        *status = *function ? CU_GET_PROC_ADDRESS_SUCCESS : CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
    return *function ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
}
