"""What the fork server imports: the worker's modules, once for all workers. It ends after all who use it.

A killed parent leaves its segments and the folder of the server's socket; the server deletes them when it ends.
"""

import atexit
import os

import fem_mp_shm.worker  # noqa: F401  # a server that has it starts workers that have it
from fem_mp_shm.names import sweep_after

atexit.register(sweep_after, os.getppid())
