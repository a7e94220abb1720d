"""What the machine has: Python, cores, memory, shared memory, libraries with threads."""

import importlib.util
import json
import os
import platform
import re
import shutil
import sys
import sysconfig
from bisect import bisect_right
from pathlib import Path
from typing import Any

from fem_core.assembly.cost import Work
from fem_core.backends.default import DefaultBackend
from fem_core.plugins.registry import REGISTRY
from fem_core.support import launch
from fem_core.support.gpus import ask
from fem_core.support.hardware import available_cores, available_memory, cgroup_quota, cpu_name, total_memory

_STEERING = re.compile(r"(OMP|OPENBLAS|MKL|BLIS|NUMBA|NUMEXPR|VECLIB|CUDA|FEM)_")


def python() -> dict[str, Any]:
    """The interpreter and where it runs."""
    gil = getattr(sys, "_is_gil_enabled", lambda: True)()
    return {
        "version": platform.python_version(),
        "implementation": platform.python_implementation(),
        "executable": sys.executable,
        "environment": sys.prefix if sys.prefix != sys.base_prefix else None,
        "gil": gil,
        "free_threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
        "platform": platform.platform(),
    }


def cores() -> dict[str, Any]:
    """How many the machine has, and what affinity and cgroup leave of them."""
    quota = cgroup_quota()
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    return {
        "cpu": cpu_name(),
        "machine": os.cpu_count(),
        "affinity": affinity,
        "cgroup_quota": None if quota == float("inf") else quota,
        "usable": available_cores(),
    }


def memory() -> dict[str, Any]:
    """Bytes, and how many nodes of a mesh they are enough for by each solver."""
    available = available_memory()
    return {
        "total": total_memory(),
        "available": available,
        "largest_mesh": largest_meshes(available) if available else {},
    }


def largest_meshes(memory: float) -> dict[str, int]:
    """Nodes of the largest square mesh that each solver of the core that can tell solves in `memory` bytes."""
    largest = {}
    for name, solver in DefaultBackend(REGISTRY.extensions("fem_linear_solvers")).solvers.items():
        if not hasattr(solver, "cost"):
            continue

        def needed(nodes: int, solver: Any = solver) -> float:
            side = (nodes / 3) ** 0.5
            work = Work(nodes, 0, nodes // 3, 47 * nodes // 3, side, side, 1e-6, 1e-6)
            return float(solver.cost(work).memory)

        # The numbers of entries of a larger mesh don't fit 32 bits.
        largest[name] = 1 + bisect_right(range(2, 100_000_001), memory, key=needed)
    return largest


def shared_memory(path: Path = Path("/dev/shm")) -> dict[str, Any]:
    """Bytes of the file system for it, and what is wrong with it."""
    if not path.is_dir():
        return {"path": None, "reason": f"there is no {path}"}
    usage = shutil.disk_usage(path)
    writable = os.access(path, os.W_OK)
    return {
        "path": str(path), "total": usage.total, "free": usage.free, "writable": writable,
        "reason": "" if writable else f"{path} can't be written to",
    }  # fmt: skip


def threading() -> dict[str, Any]:
    """BLAS, the libraries with threads that are loaded, Numba's threading layers, variables that steer them."""
    import numpy as np
    import scipy.linalg  # so that its BLAS is loaded

    blas = {}
    for module in (np, scipy):
        config = module.show_config(mode="dicts")
        one = config.get("Build Dependencies", {}).get("blas", {})
        blas[module.__name__] = f"{one.get('name', 'unknown')} {one.get('version', '')}".strip()
    libraries = None
    if importlib.util.find_spec("threadpoolctl"):
        from threadpoolctl import threadpool_info

        keys = ("internal_api", "version", "threading_layer", "num_threads", "filepath")
        libraries = [{key: one.get(key) for key in keys} for one in threadpool_info()]
    variables = {name: value for name, value in sorted(os.environ.items()) if _STEERING.match(name)}
    return {"blas": blas, "libraries": libraries, "numba_layers": _numba_layers(), "variables": variables}


def _numba_layers() -> dict[str, str] | None:
    """Numba's threading layers and why they can't be used; None without Numba. Asked in a process of its own."""
    if importlib.util.find_spec("numba") is None:
        return None
    program = (
        "import importlib, json\nfound = {}\n"
        "for layer in ('tbbpool', 'omppool', 'workqueue'):\n"
        "    try:\n        importlib.import_module('numba.np.ufunc.' + layer)\n        found[layer] = ''\n"
        "    except Exception as error:\n        found[layer] = str(error)\n"
        "print(json.dumps(found))"
    )
    found = ask(launch.python("-c", program), json.loads) or {}
    names = {"tbbpool": "tbb", "omppool": "omp"}
    return {names.get(layer, layer): reason for layer, reason in found.items()}
