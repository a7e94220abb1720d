"""An observer: watching a run, and stopping it.

An observer implements the events it wants to hear, marked with `hookimpl`; a plain function gets all of
them through `on_event`. A token cancels the run from wherever it is. Here the observer records how the
residual of CG decays, then stops a second run as soon as it hears of a residual. (Progress is told some
times a second, not at every iteration: a run of milliseconds is heard of once.)
"""

import fem_core as fem


class Residuals:
    """Collects the reported residuals and the stages; may stop the run at the first residual."""

    def __init__(self, cancel: fem.CancelToken | None = None) -> None:
        self.history: list[tuple[int, float]] = []
        self.stages: list[str] = []
        self.cancel = cancel

    @fem.plugins.hookimpl
    def fem_stage_complete(self, stage, duration):
        self.stages.append(stage)

    @fem.plugins.hookimpl
    def fem_solve_progress(self, iteration, residual):
        self.history.append((iteration, residual))
        if self.cancel:
            self.cancel.cancel()


def main() -> dict[str, object]:
    mesh = fem.generate.y_tube(nodes=3_000)
    watching = Residuals()
    solution = fem.solve(mesh, backend="numpy", solver="cg", monitor=20, observers=[watching])
    # Events are throttled; the report has every residual.
    print(f"{solution.report.iterations} iterations, heard of {len(watching.history)} residuals:")
    for iteration, residual in solution.report.history[::4]:
        print(f"{iteration:5} {residual:.1e}")

    token = fem.CancelToken()
    try:
        fem.solve(mesh, backend="numpy", solver="cg", monitor=1, observers=[Residuals(token)], cancel=token)
        stopped = "not at all"
    except fem.Cancelled as reason:
        stopped = str(reason)
    print("the second run:", stopped)
    return {"stages": watching.stages, "heard": watching.history, "report": solution.report.history, "stopped": stopped}


if __name__ == "__main__":
    main()
