"""The interface to plugins: hooks, backends, formats, solvers and events; and the code that finds and calls plugins."""

from fem_core.errors import DeviceError, DeviceMissing, WorkerLost
from fem_core.plugins.backend import API_VERSION, Backend, BackendInfo, Option
from fem_core.plugins.formats import MeshFormat, ResultWriter
from fem_core.plugins.hookspecs import hookimpl
from fem_core.plugins.registry import REGISTRY
from fem_core.plugins.solver import LinearSolver, Prepared
from fem_core.results import SolverOptions
from fem_core.support.progress import Progress

register_backend = REGISTRY.register_backend
register_plugin = REGISTRY.register_plugin
unregister_plugin = REGISTRY.unregister_plugin

__all__ = [
    "API_VERSION",
    "REGISTRY",
    "Backend",
    "BackendInfo",
    "DeviceError",
    "DeviceMissing",
    "LinearSolver",
    "MeshFormat",
    "Option",
    "Prepared",
    "Progress",
    "ResultWriter",
    "SolverOptions",
    "WorkerLost",
    "hookimpl",
    "register_backend",
    "register_plugin",
    "unregister_plugin",
]
