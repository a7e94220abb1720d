"""The parts of `BackendInfo` that all device backends share."""

from fem_core.plugins import stages
from fem_core.plugins.backend import Option

#: The ways to sum the matrix.
ASSEMBLIES = ("gather", "coo")

STAGES = tuple(stages.STAGES)
SOLVER_METHODS = ("cg", "mg")
OPTIONS = (
    Option("device", int, 0, "number of the GPU; `fem doctor` lists them", minimum=0),
    Option(
        "assembly",
        str,
        "gather",
        "assembly method; coo sorts all terms, as published, for comparison",
        choices=ASSEMBLIES,
    ),
)
