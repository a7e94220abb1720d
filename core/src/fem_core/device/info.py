"""What the `BackendInfo` of every device backend says."""

from fem_core.plugins import stages
from fem_core.plugins.backend import Option

#: How the matrix is summed.
ASSEMBLIES = ("gather", "coo")

STAGES = tuple(stages.STAGES)
SOLVER_METHODS = ("cg", "mg")
OPTIONS = (
    Option("device", int, 0, "number of the GPU; `fem doctor` lists them", minimum=0),
    Option("assembly", str, "gather", "gather, or coo (sorted, as published; for comparison)", choices=ASSEMBLIES),
)
