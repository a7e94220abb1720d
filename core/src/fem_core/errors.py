"""The errors a caller can meet, each one line that says what, where and the way out."""


class FemError(Exception):
    """Base class of all errors that `fem_core` reports."""


class OutputError(FemError, OSError):
    """A file can't be written: its name is that of a device, a pipe or a folder, or it is read-only."""


class MeshError(FemError):
    """The mesh can't be read or isn't a valid mesh of 8-node quadrilaterals."""


class ProblemError(FemError):
    """The problem with these conditions and coefficients can't be solved on this mesh."""


class BackendError(FemError):
    """A backend failed or broke its contract; the message names the backend and the stage."""


class BackendUnavailable(BackendError):
    """The requested backend can't run here; the message gives the reason."""


class DeviceMissing(BackendUnavailable):
    """The machine has no device of the kind that the backend needs; `auto` reports a note, not a warning."""


class WorkerLost(BackendError):
    """A worker of a backend ended unexpectedly; the message names the backend, the stage and the batch."""


class DeviceError(BackendError):
    """A device failed or its memory is full; with fallback=True the run is repeated without this backend."""

    #: The backend that it happened to.
    provider: str | None = None


class SolveError(FemError):
    """The linear system can't be solved with the requested method."""


class Cancelled(FemError):
    """The run was stopped through its `CancelToken`."""


class OptionError(FemError, ValueError):
    """An option has an unknown name or a wrong value; the message lists what is accepted."""
