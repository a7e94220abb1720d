"""`fem`, with failing.c counting from here: `python armed.py [--imports] ARGUMENTS`."""

import ctypes
import signal
import sys

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background; OpenBLAS raises it
    begin = ctypes.CDLL(None).fem_failing_begin
    if sys.argv[1:2] == ["--imports"]:
        del sys.argv[1]
        begin()
    from fem_core.cli import main

    begin()
    main()
