// The pattern of the matrix, and for each of its entries where its contributions are among the element matrices.
//
// A *place* t = 8 e + a is node a of element e. The places of each node are listed (counting sort), and a row's
// columns are the nodes of the elements around its node. It runs once per topology.
#include "common.cuh"

// Insert a value into list[0 … length - 1], ascending, unless it is there; the new length.
__device__ inline int insert(int *list, int length, int value)
{
    int at = length;
    while (at > 0 && list[at - 1] > value)
        --at;
    if (at > 0 && list[at - 1] == value)
        return length;
    for (int s = length; s > at; --s)
        list[s] = list[s - 1];
    list[at] = value;
    return length + 1;
}

// count[v] += 1 for the node v of each place. n = 8 M.
extern "C" __global__ void count_places(int n, const int *quad8, int *count)
{
    const int t = thread();
    if (t < n)
        atomicAdd(&count[quad8[t]], 1);
}

// place[start[v] + cursor[v]++] = t for v = quad8[t], in any order. n = 8 M.
extern "C" __global__ void list_places(int n, const int *quad8, const int *start, int *cursor, int *place)
{
    const int t = thread();
    if (t >= n)
        return;
    const int v = quad8[t];
    place[start[v] + atomicAdd(&cursor[v], 1)] = t;
}

// Sort the places of each node, ascending. n = N.
extern "C" __global__ void sort_places(int n, const int *start, int *place)
{
    const int i = thread();
    if (i >= n)
        return;
    int *list = place + start[i];
    for (int length = 0; length < start[i + 1] - start[i]; ++length)
        insert(list, length, list[length]); // places differ: the list grows by one each time
}

// The different nodes of node i's elements, ascending, from room[8 start[i]] on, and their number. n = N.
// An orphan's number is 1, for its diagonal.
extern "C" __global__ void list_columns(int n, const int *start, const int *place, const int *quad8, int *room,
                                        int *length)
{
    const int i = thread();
    if (i >= n)
        return;
    int *columns = room + 8 * start[i];
    int found = 0;
    for (int s = start[i]; s < start[i + 1]; ++s)
        for (int b = 0; b < 8; ++b)
            found = insert(columns, found, quad8[place[s] / 8 * 8 + b]);
    length[i] = found > 0 ? found : 1;
}

// The rows of list_columns side by side; an orphan's has its diagonal. n = N.
extern "C" __global__ void pack_columns(int n, const int *start, const int *room, const int *indptr, int *indices)
{
    const int i = thread();
    if (i >= n)
        return;
    if (start[i] == start[i + 1])
        indices[indptr[i]] = i;
    else
        for (int s = indptr[i]; s < indptr[i + 1]; ++s)
            indices[s] = room[8 * start[i] + s - indptr[i]];
}

// For each place 8 e + a of node i and each b: count[s] += 1, s where (i, node b of e) is. n = N.
// Each row belongs to one thread, so nothing is atomic.
extern "C" __global__ void count_sources(int n, const int *start, const int *place, const int *quad8,
                                         const int *indptr, const int *indices, int *count)
{
    const int i = thread();
    if (i >= n)
        return;
    for (int s = start[i]; s < start[i + 1]; ++s)
        for (int b = 0; b < 8; ++b)
            count[position(indptr, indices, i, quad8[place[s] / 8 * 8 + b])] += 1;
}

// As count_sources: source[source_start[s] + cursor[s]++] = where (a, b) of e is in Ke. n = N.
// The places ascend, so the elements of each entry do, too.
extern "C" __global__ void list_sources(int n, const int *start, const int *place, const int *quad8,
                                        const int *indptr, const int *indices, const int *source_start, int *cursor,
                                        int *source, int M)
{
    const int i = thread();
    if (i >= n)
        return;
    for (int t = start[i]; t < start[i + 1]; ++t) {
        const int e = place[t] / 8, a = place[t] % 8;
        for (int b = 0; b < 8; ++b) {
            const int s = position(indptr, indices, i, quad8[8 * e + b]);
            source[source_start[s] + cursor[s]++] = packed(a, b) * M + e;
        }
    }
}

// slots[64 e + 8 a + b] = where (node a, node b) of element e is. n = 64 M.
extern "C" __global__ void find_slots(int n, const int *quad8, const int *indptr, const int *indices, int *slots)
{
    const int t = thread();
    if (t < n)
        slots[t] = position(indptr, indices, quad8[t / 8], quad8[t / 64 * 8 + t % 8]);
}

// The sum of each CHUNK values; the last chunk ends at `length`. n = ⌈length / CHUNK⌉.
extern "C" __global__ void sum_chunks(int n, int length, const int *values, int *sums)
{
    const int t = thread();
    if (t >= n)
        return;
    int sum = 0;
    for (int s = t * CHUNK; s < length && s < (t + 1) * CHUNK; ++s)
        sum += values[s];
    sums[t] = sum;
}

// starts[s] = offsets[t] + the values before s in its chunk t. n = ⌈length / CHUNK⌉.
extern "C" __global__ void scan_chunks(int n, int length, const int *values, const int *offsets, int *starts)
{
    const int t = thread();
    if (t >= n)
        return;
    int sum = offsets[t];
    for (int s = t * CHUNK; s < length && s < (t + 1) * CHUNK; ++s) {
        starts[s] = sum;
        sum += values[s];
    }
}
