"""The kit's score: the share of wrong modules that it catches. `python tests/mutation --help`."""

import os
import sys
from pathlib import Path

# Before NumPy is imported: forked processes must not share a library's threads.
for library in ("OMP", "OPENBLAS", "MKL"):
    os.environ[f"{library}_NUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

if __name__ == "__main__":
    from mutation.score import main

    sys.exit(main())
