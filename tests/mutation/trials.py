"""Runs the kit against mutants, each in a process of its own that may hang, crash or take all memory."""

import contextlib
import importlib
import multiprocessing
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from mutation.copies import COPIES, source
from mutation.operators import Mutant, mutated

#: The backends that are made of a module's mutant, by what there is to certify: see `mutation.backends`.
VARIANTS: Mapping[str, Sequence[str]] = {
    "fem_core.assembly.element": ("Whole",),
    "fem_core.assembly.kernels": ("Whole", "Loop", "Threaded"),
    "fem_core.assembly.sparsity": ("Whole", "Threaded"),
    "fem_core.assembly.system": ("Whole",),
    "fem_core.solvers.cg": ("Whole",),
    "fem_threads.backend": ("Threaded",),
}

#: Seconds that a check may take: this, and so many times what it takes without a mutant.
PATIENCE, TIMES = 30.0, 10.0

#: Where it isn't known how long a check takes.
PATIENCE_AT_FIRST = {False: 60.0, True: 600.0}  # of a mutant, of a module as it is

#: Seconds of the processor that a mutant may take.
PROCESSOR = 300

#: Bytes that a mutant may allocate beyond what the process has.
ROOM = 4 << 30

#: Checks of workers and of what is left behind. Arithmetic can't fail them and other programs can disturb them, so they
#: are run on the backend with workers only.
_OF_WORKERS = {"executor", "cleanup", "growth", "reopening", "lost_workers", "threads"}

#: Where it isn't known how long checks take: the first ones, which are quick and notice most.
_QUICK = ("providers", "geometry", "large_dirichlet_values", "residuals", "stop_reasons")

#: Fork where it is safe: it saves the imports.
_CONTEXT: Any = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")


@dataclass
class Trial:
    """What became of a mutant: caught by a check, or survived; `seconds` by check of a module without mutant."""

    module: str
    mutant: Mutant | None
    caught_by: str = ""
    detail: str = ""
    seconds: dict[tuple[str, str], float] = field(default_factory=dict)

    @property
    def survived(self) -> bool:
        return not self.caught_by


def _certify(to_parent: Connection, module: str, mutant: Mutant | None, order: Sequence[tuple[str, str]]) -> None:
    """In the child: the checks, in order, until one fails."""
    os.environ.update(FEM_TUNE="off", FEM_CACHE_MB="0")
    _limit()
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        if mutant is not None:
            COPIES.trees[module] = mutated(source(module), mutant.number)
        try:
            for variant, check, outcome, detail in _outcomes(to_parent, order):
                to_parent.send((variant, check, outcome, detail))
                if outcome == "failed":
                    return
        except Exception as error:
            to_parent.send(("", "import", "failed", f"{type(error).__name__}: {error}"))
            return
    to_parent.send(None)


def _outcomes(to_parent: Connection, order: Sequence[tuple[str, str]]) -> Iterator[tuple[str, str, str, str]]:
    from fem_core.plugins import BackendInfo
    from fem_core.testing import CHECKS, Target, run_check

    warnings.simplefilter("ignore")
    backends = importlib.import_module("mutation.backends")
    targets: dict[str, Target] = {}
    with contextlib.ExitStack() as stack:
        for variant, check in order:
            if variant not in targets:
                whole = variant == "Whole"
                stages = ("compute_sparsity", "assemble_system", "apply_bc", "solve_system", "compute_derived")
                getattr(backends, variant)  # makes it
                info = BackendInfo(
                    name=f"mutant-{variant.lower()}",
                    summary="a mutant",
                    factory=f"mutation.backends:{variant}",
                    stages=stages if whole else ("assemble_system", "compute_derived"),
                    solver_methods=("cg",) if whole else (),
                    options=getattr(backends, "OPTIONS", {}).get(variant, ()),
                )
                targets[variant] = stack.enter_context(Target(info, shrink=False))
            result = run_check(CHECKS[check], targets[variant])
            yield variant, check, result.outcome, result.detail


def prepare() -> None:
    """Compile the copies before the first fork, so that no child has to."""
    backends = importlib.import_module("mutation.backends")
    _ = backends.Threaded
    del sys.modules["mutation.backends"]
    COPIES.forget()


def _limit() -> None:
    """Limits that hold even if the parent is gone."""
    try:
        import resource
    except ImportError:  # on Windows
        return
    resource.setrlimit(resource.RLIMIT_CPU, (PROCESSOR, PROCESSOR))
    if sys.platform == "linux":
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + ROOM,) * 2)


def _order(module: str, seconds: Mapping[tuple[str, str], float]) -> list[tuple[str, str]]:
    """(variant, check), the quickest first."""
    from fem_core.testing import CHECKS

    every = [(variant, check) for variant in VARIANTS[module] for check in CHECKS if check != "light_import"]
    every = [(variant, check) for variant, check in every if variant == "Threaded" or check not in _OF_WORKERS]
    return sorted(every, key=lambda one: (one[1] not in _QUICK, seconds.get(one, 0.0)))


class _Running:
    """A mutant's process."""

    def __init__(self, module: str, mutant: Mutant | None, seconds: Mapping[tuple[str, str], float]) -> None:
        self.trial = Trial(module, mutant)
        self.order, self.expected = _order(module, seconds), seconds
        self.receiver, sender = _CONTEXT.Pipe(duplex=False)
        self.process = _CONTEXT.Process(target=_certify, args=(sender, module, mutant, self.order), daemon=True)
        self.process.start()
        sender.close()
        self._begin()

    def _begin(self) -> None:
        """The clock of the next check."""
        self.begun = time.monotonic()
        at = len(self.trial.seconds)
        if not self.expected:
            patience = PATIENCE_AT_FIRST[self.trial.mutant is None]
        else:
            patience = PATIENCE + TIMES * self.expected.get(self.order[min(at, len(self.order) - 1)], 0.0)
        self.deadline = self.begun + patience

    def step(self) -> bool:
        """Hear what there is to hear; True if the trial is over."""
        over = False
        try:
            while not over and self.receiver.poll():
                heard = self.receiver.recv()
                if heard is None:
                    over = True
                    break
                variant, check, outcome, detail = heard
                self.trial.seconds[variant, check] = time.monotonic() - self.begun
                self._begin()
                if outcome == "failed":
                    self.trial.caught_by, self.trial.detail = f"{variant} {check}".strip(), detail
                    over = True
        except EOFError:
            self.trial.caught_by, self.trial.detail = "crash", f"exit code {self.process.exitcode}"
            over = True
        if not over and time.monotonic() > self.deadline:
            self.trial.caught_by, self.trial.detail = "deadline", str(self.order[len(self.trial.seconds)])
            over = True
        if over:
            self.close()
        return over

    def close(self) -> None:
        self.process.kill()
        self.process.join()
        self.receiver.close()


def try_all(
    tasks: Sequence[tuple[str, Mutant | None]],
    seconds: Mapping[str, Mapping[tuple[str, str], float]],
    jobs: int = 1,
    on_trial: Callable[[Trial], None] = lambda trial: None,
) -> list[Trial]:
    """The trials of (module, mutant), `jobs` at a time; without a mutant the module is taken as it is."""
    waiting, running, done = list(tasks), [], []
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                module, mutant = waiting.pop(0)
                running.append(_Running(module, mutant, seconds.get(module, {})))
            wait([one.receiver for one in running], timeout=1.0)
            for one in [one for one in running if one.step()]:
                running.remove(one)
                done.append(one.trial)
                on_trial(one.trial)
    finally:
        for one in running:
            one.close()
    return done
