"""Fakes that several tests use: distributions, backends, a mesh and a problem that leave nothing out."""

import fem_core as fem
import numpy as np


def mesh(nx: int = 6, ny: int = 3) -> fem.Mesh:
    """A small duct with two orphan nodes, the first and the last."""
    duct = fem.generate.duct(length=3.0, nx=nx, ny=ny)
    boundaries = {name: fem.Boundary(b.edges + 1, b.nodes + 1) for name, b in duct.boundaries.items()}
    x, y = (np.concatenate([[-7.0], a, [9.0]]) for a in (duct.x, duct.y))
    return fem.Mesh(x, y, duct.quad8 + 1, boundaries, "small")


def problem(on: fem.Mesh, dirichlet: str = "penalty") -> fem.Problem:
    """Every kind of coefficient and condition at once, none of them zero."""
    conditions = (
        fem.Robin("inlet", gamma=lambda x, y: 1 + y, p=0.5),
        fem.Robin("walls", gamma=0.1),
        fem.Dirichlet("outlet", lambda x, y: 3 + y),
    )
    return fem.Problem(conditions, np.linspace(1, 2, on.n_elements), lambda x, y: x + y, dirichlet)  # type: ignore[arg-type]


class Recorder:
    """An observer that hears everything."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, dict[str, object]]] = []

    def names(self) -> list[str]:
        return [name for name, _ in self.heard]

    @fem.plugins.hookimpl
    def fem_stage_start(self, stage, provider):
        self.heard.append(("fem_stage_start", {"stage": stage, "provider": provider}))

    @fem.plugins.hookimpl
    def fem_stage_complete(self, stage, provider, duration):
        self.heard.append(("fem_stage_complete", {"stage": stage, "provider": provider, "duration": duration}))

    @fem.plugins.hookimpl
    def fem_mesh_loaded(self, mesh):
        self.heard.append(("fem_mesh_loaded", {"mesh": mesh}))

    @fem.plugins.hookimpl
    def fem_assembly_progress(self, current, total):
        self.heard.append(("fem_assembly_progress", {"current": current, "total": total}))

    @fem.plugins.hookimpl
    def fem_solve_progress(self, iteration, residual, etr):
        self.heard.append(("fem_solve_progress", {"iteration": iteration, "residual": residual, "etr": etr}))

    @fem.plugins.hookimpl
    def fem_derived_progress(self, current, total):
        self.heard.append(("fem_derived_progress", {"current": current, "total": total}))

    @fem.plugins.hookimpl
    def fem_solve_complete(self, report):
        self.heard.append(("fem_solve_complete", {"report": report}))

    @fem.plugins.hookimpl
    def fem_error(self, stage, error):
        self.heard.append(("fem_error", {"stage": stage, "error": error}))

    def ends(self) -> list[str]:
        """The closing events; there must be just one."""
        return [name for name in self.names() if name in ("fem_solve_complete", "fem_error")]
