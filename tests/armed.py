"""What failing.py runs; failing.c counts from where `begin` is called.

armed.py [--imports] ARGUMENTS...                `fem ARGUMENTS`, counted from its start or from the first import
armed.py --again BACKEND SOLVER [OPTION=VALUE]   two solves in one session: only the first is counted
"""

import ctypes
import sys


def again(backend: str, solver: str, *options: str) -> None:
    import fem_core as fem

    given = dict(option.split("=") for option in options)
    with fem.open_backend(backend, **given) as session:
        begin()
        try:
            session.solve("mesh.h5", solver=solver)
        except (fem.FemError, OSError, MemoryError) as error:
            print(f"fem: error: {error or 'not enough memory'}", file=sys.stderr)
        end()
        session.solve("mesh.h5", solver=solver).write("result.h5")


if __name__ == "__main__":
    begin, end = ctypes.CDLL(None).fem_failing_begin, ctypes.CDLL(None).fem_failing_end
    if sys.argv[1] == "--again":
        again(*sys.argv[2:])
    else:
        if sys.argv[1] == "--imports":
            del sys.argv[1]
            begin()
        from fem_core.cli import main

        begin()
        main()
