"""Post-processing: velocity, speed and pressure of each element."""

from typing import Any

import numpy as np

from fem_core.device import ledger
from fem_core.device.device import Device
from fem_core.device.values import DeviceFields
from fem_core.mesh.mesh import Mesh
from fem_core.problem import Problem


def derive(device: Device, mesh: Mesh, problem: Problem, u: Any) -> DeviceFields:
    """The fields of a potential, f8 (N)."""
    M, fluid, at = mesh.n_elements, problem.fluid, device.mesh(mesh)
    with device.stage("compute_derived", ledger.derived_bytes(M)) as runtime:
        velocity, speed, pressure = (runtime.empty(n, np.float64) for n in (2 * M, M, M))
        runtime.launch(
            "element_derived", M, at.x, at.y, at.quad8, u, float(fluid.p0), float(0.5 * fluid.rho),
            velocity, speed, pressure,
        )  # fmt: skip
    return DeviceFields(device, velocity, speed, pressure)
