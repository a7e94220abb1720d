"""Tests whether a backend runs here: it solves a small problem in a separate process, with a time limit.

`available()` only reads metadata. A probe opens the backend, starts its pool or device, and compares a
solution with the exact one. A crash or a hang ends the separate process, not the caller.
"""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress

from fem_core.support.launch import python

#: The duct's solution is linear, so every node has the exact value up to the solver's tolerance.
_LENGTH, _ERROR = 3.0, 1e-6
_NX, _NY = 54, 20  # over 1000 elements: with fewer, backends with workers don't start them


def probe(name: str, timeout: float = 60.0) -> str | None:
    """None if the backend solves a small duct in a new process, or the reason why it doesn't.

    Parameters
    ----------
    name : str
        An installed backend; a backend that is only registered in this process isn't known in the new process.
    timeout : float
        Seconds after which the process and its children are killed.
    """
    with subprocess.Popen(
        python("-m", __name__, name),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            return f"its probe didn't end within {timeout:g} s"
        finally:
            _kill(process)
    return _verdict(process.returncode, out, err)


def _verdict(status: int, out: str, err: str) -> str | None:
    """The answer of the process, its last line of JSON; backends may print other lines."""
    for line in reversed(out.splitlines()):
        with suppress(ValueError, TypeError, KeyError):
            reason = json.loads(line)["reason"]
            return None if reason is None else str(reason)
    how = f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
    last = err.strip().splitlines()[-1:] or ["nothing on stderr"]
    return f"its probe ended with {how}: {last[0]}"


def _kill(process: "subprocess.Popen[str]") -> None:
    """Kill the process and the processes that it started, if they still run."""
    with suppress(OSError):
        if sys.platform == "win32":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)


def check(name: str) -> str | None:
    """Solve the duct with `name`, in this process. None, or what is wrong."""
    import numpy as np

    from fem_core import generate
    from fem_core.problem import INFLOW, Problem
    from fem_core.run.opening import open_backend

    mesh = generate.duct(length=_LENGTH, nx=_NX, ny=_NY)
    with open_backend(name, tuned=False) as session:  # so that a pool is started
        (info, _), *_ = session.backends
        solver = "cg" if "cg" in info.solver_methods or not info.solver_methods else info.solver_methods[0]
        solution = session.solve(mesh, Problem.potential_flow(mesh), solver=solver)
    others = {stage: solution.report.providers.get(stage) for stage in info.stages}
    if wrong := [stage for stage, provider in others.items() if provider != name]:
        return f"{', '.join(wrong)} ran on {', '.join(sorted({str(others[stage]) for stage in wrong}))} instead"
    error = float(np.abs(solution.u - INFLOW * (_LENGTH - mesh.x)).max())
    if not error <= _ERROR * INFLOW * _LENGTH:
        return f"its solution of a duct is off by {error:.2g}"
    speed = float(np.abs(solution.speed - INFLOW).max())
    if not speed <= 100 * _ERROR * INFLOW:
        return f"its speed in a duct is off by {speed:.2g}"
    return None


def _main(name: str) -> None:
    from fem_core.errors import FemError

    try:
        reason = check(name)
    except FemError as error:
        reason = str(error)
    except (Exception, SystemExit) as error:
        reason = f"{type(error).__name__}: {error}"
    print(json.dumps({"backend": name, "reason": reason}), flush=True)


if __name__ == "__main__":
    _main(sys.argv[1])
