"""fem-cuda's pool of memory over a device of few bytes."""

import pytest
from fem_core import BackendError
from fem_cuda.memory import DeviceArray, Pool
from hypothesis import given
from hypothesis import strategies as st

ROOM = 100


class Driver:
    """Memory of ROOM bytes; a block is at the number of its allocation."""

    def __init__(self):
        self.blocks, self.last = {}, 0

    def allocate(self, size):
        if sum(self.blocks.values()) + size > ROOM:
            raise MemoryError
        self.last += 1
        self.blocks[self.last] = size
        return self.last

    def release(self, address):
        del self.blocks[address]  # a block is released once


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 40)), max_size=40))
def test_blocks_are_taken_and_given(steps):
    # Nobody gets what another one holds, and memory is only full when what is held leaves no room.
    driver = Driver()
    pool = Pool(driver.allocate, driver.release)
    held = []
    for take, number in steps:
        if not take:
            if held:
                held.pop(number % len(held))
            continue
        used = sum(array.nbytes for array in held)
        try:
            held.append(DeviceArray(pool, number, "u1"))
        except MemoryError:
            assert used + number > ROOM
        addresses = [array.address for array in held if array.nbytes]
        assert len(set(addresses)) == len(addresses)
        assert all(driver.blocks[array.address] == array.nbytes for array in held if array.nbytes)
        assert sum(driver.blocks.values()) == pool.free + sum(array.nbytes for array in held)
    pool.close()
    assert not driver.blocks
    held.clear()  # after the end, which is nothing to the pool
    assert pool.free == 0


def test_an_array_of_a_closed_device_has_no_address():
    driver = Driver()
    pool = Pool(driver.allocate, driver.release)
    array = DeviceArray(pool, 3, "f8")
    pool.close()
    with pytest.raises(BackendError, match="freed when the device was closed"):
        _ = array.address
