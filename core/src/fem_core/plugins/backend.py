"""A backend: a light `BackendInfo`, by which it is chosen, and a `Backend`, which runs.

The information is in a module that imports nothing heavy. The factory is imported only when the backend is opened.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fem_core.errors import BackendError, OptionError
from fem_core.plugins.stages import STAGES
from fem_core.problem import Problem
from fem_core.results import SolverOptions
from fem_core.support.wording import did_you_mean
from fem_core.types import Stage

#: Version of the contract between core and backends; a backend gives the version for which it was written.
API_VERSION = 1

#: Names that an option can't have: they are parameters of `open_backend`.
RESERVED = ("fallback", "tuned")


def _nothing() -> None:
    """The default of `available` and `pending`: nothing is missing, and nothing has to be done."""


def halves(cores: int) -> tuple[int, ...]:
    """Half the cores, half of that, and so on to 1: candidates for a number of threads or workers."""
    return tuple(cores >> k for k in range(1, cores.bit_length()))


@dataclass(frozen=True)
class Option:
    """An option of a backend (`--option name=value`), checked before the backend is created.

    Parameters
    ----------
    candidates : tuple or function
        Values that `fem tune` tries, or a function that returns them for a number of cores. Only for an option that
        changes the speed and never a result.

    >>> Option("workers", int, None, "number of worker threads").parse("4")
    4
    >>> Option("workers", int, candidates=halves).values(cores=8)
    (4, 2, 1)
    """

    name: str
    type: Callable[[Any], Any] = str
    default: Any = None
    help: str = ""
    choices: tuple[Any, ...] = ()
    minimum: float | None = None
    candidates: tuple[Any, ...] | Callable[[int], Iterable[Any]] = ()

    def values(self, cores: int) -> tuple[Any, ...]:
        """The values that `fem tune` compares with the default, on a machine with this number of cores."""
        given = self.candidates(cores) if callable(self.candidates) else self.candidates
        return tuple(value for value in map(self.parse, given) if value != self.default)

    def parse(self, value: Any) -> Any:
        """Convert `value` to the type of this option. Raises OptionError; the message lists the accepted values."""
        try:
            if self.type is bool and isinstance(value, str):
                value = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}[value.lower()]
            elif not (value is None and self.default is None):
                value = self.type(value)
        except (KeyError, TypeError, ValueError):
            raise OptionError(
                f"option {self.name} takes {self.type.__name__.replace('_', ' ')}, not {value!r}"
            ) from None
        if self.choices and value not in self.choices:
            raise OptionError(f"option {self.name} takes {' or '.join(map(str, self.choices))}, not {value!r}")
        if self.minimum is not None and isinstance(value, int | float) and not value >= self.minimum:
            raise OptionError(f"option {self.name} must be at least {self.minimum:g}, not {value!r}")
        return value


@dataclass(frozen=True)
class BackendInfo:
    """The description of a backend; it is available without importing the backend.

    Parameters
    ----------
    name, summary : str
        The NAME in `--backend NAME`, and one line for `fem backends`.
    factory : str
        `"package.module:Class"`, imported when the backend is opened.
    stages : tuple of str
        The stages that the backend provides. The class must have the compute hooks of these stages, and no other ones.
    solver_methods : tuple of str
        The solvers of its `solve_system`; other methods go to the next backend in the chain.
    options : tuple of Option
        Keyword arguments of the factory.
    device : str
        `"cpu"`, or the kind of device on which it computes.
    rank : int
        `auto` tries the backend with the highest rank first.
    available : function
        Returns None, or the reason why this backend can't run here; it reads metadata only.
    pending : function
        Returns None, or a slow task that must be done once before the first start, such as "compile, some 20 s". Until
        then `auto` uses another backend; `fem doctor` does the task. Imports as little as `available`.
    caches : function
        Returns the files and folders that hold its compiled code, for `fem doctor`. Imports as little as `available`.
    api_version : int
    """

    name: str
    summary: str
    factory: str
    stages: tuple[Stage, ...]
    solver_methods: tuple[str, ...] = ()
    options: tuple[Option, ...] = ()
    device: str = "cpu"
    rank: int = 10
    available: Callable[[], str | None] = _nothing
    pending: Callable[[], str | None] = _nothing
    caches: Callable[[], Iterable[Path]] = tuple
    api_version: int = API_VERSION

    def __post_init__(self) -> None:
        if self.name in ("core", "auto") or not self.name or set(self.name) & set(", "):
            raise BackendError(f"{self.name!r} is not a valid name of a backend")
        fault = ""
        if ("solve_system" in self.stages) != bool(self.solver_methods):
            fault = "must list solver_methods if and only if it provides solve_system"
        if taken := [option.name for option in self.options if option.name in RESERVED]:
            fault = f"can't have an option {taken[0]!r}: this is a parameter of open_backend"
        if unknown := set(self.stages) - set(STAGES):
            fault = f"lists unknown stages {sorted(unknown)}; stages: {', '.join(STAGES)}"
        if fault:
            raise BackendError(f"backend {self.name!r} {fault}")

    def parse_options(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Typed keyword arguments of the factory. Raises OptionError naming the accepted options."""
        accepted = {option.name: option for option in self.options}
        for name in given:
            if name not in accepted:
                hint = did_you_mean(name, accepted)
                raise OptionError(
                    f"backend {self.name!r} has no option {name!r}{hint}; options: {', '.join(accepted) or 'none'}"
                )
        return {name: accepted[name].parse(value) for name, value in given.items()}


class Backend:
    """Base of all backends: compute hooks are methods marked with `@fem_core.plugins.hookimpl`.

    Creating a backend does no work. `open` acquires resources (pools, devices), `compile` compiles code,
    `forget` deletes what is kept from run to run, and `close` releases all resources.
    """

    def open(self) -> None:
        """Acquire the resources of the hooks. Raises BackendUnavailable, with the reason, if that fails."""

    def compile(self) -> None:
        """Compile code before the first run; timed as a separate stage."""

    def forget(self) -> None:
        """Delete what is kept from run to run, such as a prepared solver; the next run is then like the first."""

    def close(self) -> None:
        """Release all resources; may be called more than once, and after any exception."""

    def declines(self, stage: Stage, problem: Problem, options: SolverOptions) -> str | None:
        """The reason why this backend can't do one of its stages for this problem; None if it can."""
        return None
