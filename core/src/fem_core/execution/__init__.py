"""How elements reach workers: in batches, by an executor for each execution model."""

from fem_core.assembly.element import GRAIN
from fem_core.assembly.kernels import Kernel, grain_of
from fem_core.execution.batches import Batch, Batching, Plan, int_or_auto, ranges, restrict
from fem_core.execution.executors import (
    Executor,
    OnProgress,
    OutputSpec,
    PlannedExecutor,
    SerialExecutor,
    new_results,
    part_of,
)
from fem_core.support.hardware import available_cores, available_memory
from fem_core.support.importable import require_guarded_main, require_importable

__all__ = [
    "GRAIN",
    "Batch",
    "Batching",
    "Executor",
    "Kernel",
    "OnProgress",
    "OutputSpec",
    "Plan",
    "PlannedExecutor",
    "SerialExecutor",
    "available_cores",
    "available_memory",
    "grain_of",
    "int_or_auto",
    "new_results",
    "part_of",
    "ranges",
    "require_guarded_main",
    "require_importable",
    "restrict",
]
