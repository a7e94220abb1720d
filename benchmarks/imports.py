"""Seconds to import the core and to print the help, beside importing scipy.sparse; new interpreters in turn."""

import subprocess
import sys
from functools import partial

from fem_core.tools.bench import side_by_side

_COMMANDS = {
    "python": ["-c", ""],
    "import scipy.sparse": ["-c", "import scipy.sparse"],
    "import fem_core": ["-c", "import fem_core"],
    "fem --help": ["-m", "fem_core", "--help"],
    "fem backends": ["-m", "fem_core", "backends"],
}


def run(repeats: int) -> dict[str, object]:
    cases = {
        name: partial(subprocess.run, [sys.executable, *command], check=True, capture_output=True)
        for name, command in _COMMANDS.items()
    }
    timings = side_by_side(cases, max(repeats, 11))
    for name, timing in timings.items():
        print(f"{name:32} {1e3 * timing.median:8.0f} ms")
    bare = timings["python"].median
    ratio = (timings["import fem_core"].median - bare) / (timings["import scipy.sparse"].median - bare)
    print(f"{'ratio, interpreter taken off':32} {ratio:8.2f}")
    return {"timings": timings, "ratio": ratio}
