"""How much device memory each stage needs, computed before it starts."""

from fem_core.device.errors import out_of_memory
from fem_core.device.runtime import Runtime

#: Bytes of an int32 and of a float64.
_I, _F = 4, 8


class Ledger:
    """Compares the memory that stages need with the free memory.

    Attributes
    ----------
    predicted : dict of stage to bytes
        In addition to the memory that was in use before.
    peak : int
        The most bytes that were in use, predictions included.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self.predicted: dict[str, int] = {}
        self.peak = 0

    def require(self, stage: str, wanted: int) -> None:
        """Record what a stage needs. Raises DeviceMemoryError if less is free."""
        free, total = self._runtime.free_memory()
        self.predicted[stage] = wanted
        if wanted > free:
            raise out_of_memory(stage, wanted, (free, total))
        self.peak = max(self.peak, total - free + wanted)


# N nodes, M elements, Z entries of the matrix. Before Z is known, it is taken as 64 entries per element.


def mesh_bytes(N: int, M: int) -> int:
    """x, y and quad8."""
    return 2 * _F * N + 8 * _I * M


def pattern_bytes(N: int, M: int, Z: int, sources: bool) -> int:
    """The arrays of a pattern, and the temporary ones of its columns or its sources, whichever are larger."""
    kept = 2 * _I * (N + 1) + 8 * _I * M + _I * Z
    columns = 64 * _I * M + 2 * _I * (N + 1)
    scan = 2 * _I * ((max(N, Z) + 1) // 256 + 1)
    return kept + max(columns, sources * (64 * _I * M + 3 * _I * (Z + 1))) + scan


def assembly_bytes(N: int, M: int, Z: int, source: bool, coo: bool) -> int:
    """Values, right-hand side, and Ke or the load's terms. `coo` needs three copies of all entries for the sort."""
    entries = 3 * (2 * _I + _F) * (64 * M + N) if coo else 0
    k, Ke, load = _F * M, 36 * _F * M, source * 16 * _F * M
    return _F * Z + 2 * _F * N + max(k + Ke + entries, load)


def conditions_bytes(N: int, Z: int, edges: int) -> int:
    """New values and right-hand side, lift, flags and list of held nodes; edges with coefficients and places."""
    return _F * Z + 2 * _F * N + 2 * _I * N + 3 * (4 * _I + 2 * _F) * edges


def system_bytes(N: int, Z: int) -> int:
    """A system that is uploaded from the host."""
    return (_I + _F) * Z + _I * (N + 1) + 2 * _F * N + _I * N


def cg_bytes(N: int, Z: int) -> int:
    """A, and the vectors of conjugate gradients."""
    return _F * Z + 10 * _F * N + _F * (N // 256 + 1)


def derived_bytes(M: int) -> int:
    """Velocity, speed and pressure."""
    return 4 * _F * M
