"""`fem`, with failing.c counting from here: `python armed.py [--imports] ARGUMENTS`."""

import ctypes
import sys

if __name__ == "__main__":
    begin = ctypes.CDLL(None).fem_failing_begin
    if sys.argv[1:2] == ["--imports"]:
        del sys.argv[1]
        begin()
    from fem_core.cli import main

    begin()
    main()
