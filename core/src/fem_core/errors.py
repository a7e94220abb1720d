"""The errors a caller can meet, each one line that says what, where and the way out."""


class FemError(Exception):
    """Anything that `fem_core` refuses or that fails inside it."""


class MeshError(FemError):
    """The mesh can't be read or isn't a valid mesh of 8-node quadrilaterals."""


class ProblemError(FemError):
    """The conditions and coefficients don't make a solvable problem on this mesh."""


class BackendError(FemError):
    """A backend broke its contract or failed; its name and the stage are in the text."""


class BackendUnavailable(BackendError):
    """The backend that was asked for can't run here; the text says why."""


class DeviceMissing(BackendUnavailable):
    """The machine has no device of the kind that the backend needs: `auto` notes it, and warns of nothing."""


class WorkerLost(BackendError):
    """A worker of a backend died; the text names the backend, the stage and the batch."""


class DeviceError(BackendError):
    """A device has no room or failed; where a fallback is allowed, the run is done again without its backend."""

    #: The backend that it happened to.
    provider: str | None = None


class SolveError(FemError):
    """The linear system can't be solved by the method that was asked for."""


class Cancelled(FemError):
    """The run was stopped through its `CancelToken`."""


class OptionError(FemError, ValueError):
    """An option has a name nobody knows or a value nobody takes; the text lists what is accepted."""
