"""The pattern of the matrix, and for each of its entries where its contributions are among the element matrices.

A *place* t = 8 e + a is node a of element e. The places of each node are listed (counting sort), and a row's columns
are the nodes of the elements around its node. This runs once per topology, so its speed matters little.
"""

from numba import cuda

from fem_cuda.jit import Counters, Floats, Int, Ints, device, kernel
from fem_cuda.kernels.common import CHUNK, items, position


@device
def packed(a: Int, b: Int) -> Int:
    """Index of entry (a, b) among the 36 of a symmetric element matrix: the upper triangle by rows."""
    low, high = min(a, b), max(a, b)
    return 8 * low - low * (low - 1) // 2 + (high - low)


@device
def insert(values: Ints, first: Int, length: Int, value: Int) -> Int:
    """Insert a value into values[first : first + length], ascending, unless it is there; the new length."""
    at = length
    while at > 0 and values[first + at - 1] > value:
        at -= 1
    if at > 0 and values[first + at - 1] == value:
        return length
    s = length
    while s > at:
        values[first + s] = values[first + s - 1]
        s -= 1
    values[first + at] = value
    return length + 1


@kernel
def count_places(n: Int, quad8: Ints, count: Counters) -> None:
    """count[v] += 1 for the node v of each place. n = 8 M."""
    for t in items(n):
        cuda.atomic.add(count, quad8[t], 1)


@kernel
def list_places(n: Int, quad8: Ints, start: Ints, cursor: Counters, place: Ints) -> None:
    """place[start[v] + cursor[v]++] = t for v = quad8[t], in any order. n = 8 M."""
    for t in items(n):
        v = quad8[t]
        place[start[v] + cuda.atomic.add(cursor, v, 1)] = t


@kernel
def sort_places(n: Int, start: Ints, place: Ints) -> None:
    """Sort the places of each node, ascending. n = N."""
    for i in items(n):
        first = start[i]
        for length in range(start[i + 1] - first):
            insert(place, first, length, place[first + length])  # places differ: the list grows by one each time


@kernel
def list_columns(n: Int, start: Ints, place: Ints, quad8: Ints, room: Ints, length: Ints) -> None:
    """The different nodes of node i's elements, ascending, from room[8 start[i]] on, and their number. n = N.

    An orphan's number is 1, for its diagonal.
    """
    for i in items(n):
        found = 0
        for s in range(start[i], start[i + 1]):
            for b in range(8):
                found = insert(room, 8 * start[i], found, quad8[place[s] // 8 * 8 + b])
        length[i] = max(found, 1)


@kernel
def pack_columns(n: Int, start: Ints, room: Ints, indptr: Ints, indices: Ints) -> None:
    """The rows of list_columns side by side; an orphan's has its diagonal. n = N."""
    for i in items(n):
        if start[i] == start[i + 1]:
            indices[indptr[i]] = i
        else:
            for s in range(indptr[i], indptr[i + 1]):
                indices[s] = room[8 * start[i] + s - indptr[i]]


@kernel
def count_sources(n: Int, start: Ints, place: Ints, quad8: Ints, indptr: Ints, indices: Ints, count: Ints) -> None:
    """For each place 8 e + a of node i and each b: count[s] += 1, s where (i, node b of e) is. n = N.

    Each row belongs to one thread, so nothing is atomic.
    """
    for i in items(n):
        for s in range(start[i], start[i + 1]):
            for b in range(8):
                count[position(indptr, indices, i, quad8[place[s] // 8 * 8 + b])] += 1


@kernel
def list_sources(
    n: Int,
    start: Ints,
    place: Ints,
    quad8: Ints,
    indptr: Ints,
    indices: Ints,
    source_start: Ints,
    cursor: Ints,
    source: Ints,
    M: Int,
) -> None:
    """As count_sources: source[source_start[s] + cursor[s]++] = where (a, b) of e is in Ke. n = N.

    The places ascend, so the elements of each entry do, too.
    """
    for i in items(n):
        for t in range(start[i], start[i + 1]):
            e, a = place[t] // 8, place[t] % 8
            for b in range(8):
                s = position(indptr, indices, i, quad8[8 * e + b])
                source[source_start[s] + cursor[s]] = packed(a, b) * M + e
                cursor[s] += 1


@kernel
def find_slots(n: Int, quad8: Ints, indptr: Ints, indices: Ints, slots: Ints) -> None:
    """slots[64 e + 8 a + b] = where (node a, node b) of element e is. n = 64 M."""
    for t in items(n):
        slots[t] = position(indptr, indices, quad8[t // 8], quad8[t // 64 * 8 + t % 8])


@kernel
def sum_chunks(n: Int, length: Int, values: Ints, sums: Ints) -> None:
    """The sum of each CHUNK values; the last chunk ends at `length`. n = ⌈length / CHUNK⌉."""
    for t in items(n):
        total = 0
        for s in range(t * CHUNK, min(length, (t + 1) * CHUNK)):
            total += values[s]
        sums[t] = total


@kernel
def scan_chunks(n: Int, length: Int, values: Ints, offsets: Ints, starts: Ints) -> None:
    """starts[s] = offsets[t] + the values before s in its chunk t. n = ⌈length / CHUNK⌉."""
    for t in items(n):
        total = offsets[t]
        for s in range(t * CHUNK, min(length, (t + 1) * CHUNK)):
            starts[s] = total
            total += values[s]


# For coo_to_csr; fem-cupy uses cupyx. The entries of a row are its places, listed by the kernels above.


@device
def before(columns: Ints, s: Int, t: Int) -> Int:
    """Whether entry s of a row comes before entry t: by column, then as they were given."""
    return columns[s] < columns[t] or (columns[s] == columns[t] and s < t)


@kernel
def sort_entries(n: Int, start: Ints, place: Ints, columns: Ints, length: Ints) -> None:
    """The entries of each row by column, those of one column as they were given, and the number of columns. n = N."""
    for i in items(n):
        first = start[i]
        found = 0
        for end in range(first, start[i + 1]):
            t = place[end]
            s = end
            while s > first and before(columns, t, place[s - 1]):
                place[s] = place[s - 1]
                s -= 1
            place[s] = t
        for s in range(first, start[i + 1]):
            if s == first or columns[place[s]] != columns[place[s - 1]]:
                found += 1
        length[i] = found


@kernel
def merge_entries(
    n: Int, start: Ints, place: Ints, columns: Ints, values: Floats, indptr: Ints, indices: Ints, merged: Floats
) -> None:
    """Each row's entries of one column added in the order they were given. n = N."""
    for i in items(n):
        at = indptr[i] - 1
        for s in range(start[i], start[i + 1]):
            t = place[s]
            if s == start[i] or columns[t] != columns[place[s - 1]]:
                at += 1
                indices[at] = columns[t]
                merged[at] = values[t]
            else:
                merged[at] += values[t]
