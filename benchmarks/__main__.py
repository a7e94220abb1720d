"""Benchmarks by name, all by default: `python benchmarks [NAME …] [--json FILE] [--repeats N]`.

Each module here has a function `run(repeats) -> dict` that prints a table and returns its figures. BLAS
and OpenMP run with one thread, so figures are per thread. Numba uses all cores.
"""

import argparse
import importlib
import os
from pathlib import Path

from fem_core.tools.bench import ONE_THREAD

_OTHERS = ("meshes", "device_record")  # shared by all, and a separate program
NAMES = sorted(path.stem for path in Path(__file__).parent.glob("[a-z]*.py") if path.stem not in _OTHERS)


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(NAMES)}")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures and the machine to FILE")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(NAMES):
        parser.error(f"there is no benchmark {', '.join(unknown)}; benchmarks: {', '.join(NAMES)}")
    from fem_core.tools.bench import write_json

    results = {}
    for name in arguments.names or NAMES:
        print(f"== {name}")
        results[name] = importlib.import_module(name).run(arguments.repeats)
    if arguments.json:
        write_json(arguments.json, results)


if __name__ == "__main__":
    ONE_THREAD = {name: value for name, value in ONE_THREAD.items() if name != "NUMBA_NUM_THREADS"}
    if any(name not in os.environ for name in ONE_THREAD):
        # BLAS reads these variables at NumPy's import, which is over: start again
        import subprocess
        import sys

        environment = {**os.environ, **ONE_THREAD}
        sys.exit(subprocess.run([sys.executable, *sys.argv], env=environment, check=False).returncode)
    os.environ["FEM_TUNE"] = "off"  # figures for the declared defaults
    main()
