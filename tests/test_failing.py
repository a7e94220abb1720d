"""Runs of `fem` in which one call of the system fails: a sample of what `nox -s faults` does as a whole."""

import pytest
from failing import CASES, KINDS, Driver, Place, Table, compiled, samples, steps


@pytest.fixture(scope="module")
def drivers(tmp_path_factory):
    """Gives the driver of a case; each case has a place of its own."""
    folder = tmp_path_factory.mktemp("failing")
    library = compiled(folder)
    if library is None:
        pytest.skip("needs Linux with glibc and the C compiler cc")
    (folder / "samples").mkdir()
    samples(folder / "samples")
    found: dict[str, Driver] = {}

    def driver(name):
        if name not in found:
            found[name] = Driver(Place(library, folder / "samples", folder / str(len(found))), CASES[name])
        return found[name]

    return driver


@pytest.mark.parametrize(
    ("case", "kind", "n"),
    [
        ("numpy", "write", 1),  # of the file in memory
        ("numpy", "write", 130),  # of the result
        ("numpy", "open", 12),
        ("numpy", "import", 60),
        ("numpy", "map", 2),  # of the thread that reads the mesh
        ("numpy", "allocate", 2),
        ("numpy", "allocate", 15),  # in SuperLU
        ("numpy", "start", 2),
        ("threads", "start", 3),
        ("mp-shm", "pipe", 30),
        ("mp-shm", "pipe", 100),
        ("mp-shm", "start", 4),
        ("mp-shm, again", "pipe", 60),
        ("png", "write", 3),
    ],
)
def test_a_failure_is_told_and_leaves_nothing(drivers, case, kind, n):
    ended, faults = drivers(case).failing(kind, n)
    assert ended.failed, f"a run makes fewer than {n} calls"
    assert not faults, f"{ended.failed}: status {ended.status}, {ended.stderr}"


def test_what_is_wrong_is_found(drivers):
    # The driver itself: a run that leaves a file, says nothing of its failure, and claims to have written.
    driver = drivers("numpy")
    ended, _ = driver.failing("write", 1)
    driver.output.write_bytes(b"half a result")
    ended.status, ended.stderr = 0, "Traceback (most recent call last):"
    faults = list(driver._faults("write", ended))
    assert [fault.split(":")[0] for fault in faults] == [
        "output unreadable", "neither the old nor the new output", "status 0 without the result", "foreign lines",
    ]  # fmt: skip
    ended.status, ended.stderr = 2, "fem: error: something"
    assert "the cause isn't named" in list(driver._faults("write", ended))
    ended.status = None
    assert "not ended" in next(driver._faults("write", ended))


def test_steps_and_table():
    assert steps(3, 10) == [1, 2, 3]
    assert steps(100, 4) == [1, 34, 67, 100]
    assert next(iter(KINDS)) == "write"  # as in failing.c
    table = Table()
    table.done(CASES["numpy"], "write", 4, 100)
    assert "| numpy | 4 of 100 |" in str(table)
