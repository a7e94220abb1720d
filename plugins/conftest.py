"""Fixtures of the plugins' tests, and which of these run by default."""

import os

from shared_fixtures import *

# The GPU's need compilers and wheels that most people lack: `nox -s cupy` and `nox -s cuda` bring them.
collect_ignore_glob = [] if os.environ.get("FEM_GPU_TESTS") else ["fem-cu*/tests/*.py"]
