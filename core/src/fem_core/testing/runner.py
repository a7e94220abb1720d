"""Running the kit: for `fem verify`, for pytest, and from an author's own tests."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal, TypeAlias

from fem_core.errors import OptionError
from fem_core.plugins.backend import BackendInfo
from fem_core.testing.checks import CHECKS, Check, NotApplicable
from fem_core.testing.target import Target

# Each module adds its checks, so this is the order in which they run.
for _module in ("stages", "solving", "runs", "sizes", "state", "contract", "life"):
    import_module(f"fem_core.testing.{_module}")

Outcome: TypeAlias = Literal["passed", "failed", "skipped", "expected failure"]


@dataclass(frozen=True)
class CheckResult:
    """The outcome of a check; `detail` gives the reason if it didn't pass, `left_out` what it did not look at."""

    name: str
    outcome: Outcome
    detail: str
    seconds: float
    left_out: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return self.outcome != "failed"


def run_check(check: Check, target: Target, expected_failures: Mapping[str, str] | None = None) -> CheckResult:
    """Run one check. Only an exception such as KeyboardInterrupt gets out."""
    start = time.perf_counter()
    reason = (expected_failures or {}).get(check.name)
    outcome: Outcome = "passed"
    detail, known = "", len(target.left_out)
    try:
        if check.stage and check.stage not in target.stages:
            outcome, detail = "skipped", f"the backend doesn't provide {check.stage}"
        else:
            check.run(target)
    except NotApplicable as reason_to_skip:
        outcome, detail = "skipped", str(reason_to_skip)
    except Exception as error:
        outcome, detail = "failed", _explain(error)
    if reason is not None and outcome == "failed":
        outcome, detail = "expected failure", f"{reason} ({detail})"
    elif reason is not None and outcome == "passed" and check.deterministic:
        outcome, detail = "failed", f"it was expected to fail ({reason}) but passes: take it off the list"
    return CheckResult(check.name, outcome, detail, time.perf_counter() - start, tuple(target.left_out[known:]))


def verify(
    backend: str | BackendInfo,
    *,
    options: Mapping[str, Any] | None = None,
    checks: Sequence[str] | None = None,
    examples: int = 25,
    shrink: bool = True,
    thorough: bool = False,
    expected_failures: Mapping[str, str] | None = None,
    on_result: Callable[[CheckResult], None] | None = None,
) -> list[CheckResult]:
    """Certify a backend against the baseline.

    Parameters
    ----------
    backend : str or BackendInfo
    options : mapping
        The backend's options.
    checks : sequence of str, optional
        Names of the checks to run; by default all.
    examples : int
        Number of random meshes for each check.
    shrink : bool
        Whether a failing example is reduced to the smallest one.
    thorough : bool
        Whether to do what takes minutes: meshes of 600,000 elements, and many runs.
    expected_failures : mapping of check to reason
        Checks that are known to fail. A deterministic check that is named here must fail.
    on_result : function of a CheckResult
        Called as each check ends.

    >>> [result.outcome for result in verify("numpy", checks=["matrix", "events"], examples=3)]
    ['passed', 'passed']
    """
    chosen = [_named(name) for name in checks] if checks else list(CHECKS.values())
    for name in expected_failures or {}:
        _named(name)
    results = []
    with Target(backend, options, examples, shrink, thorough=thorough) as target:
        _ = target.session  # a backend that can't be opened is an error, not a failed check
        for one in chosen:
            results.append(run_check(one, target, expected_failures))
            if on_result:
                on_result(results[-1])
    return results


def not_looked_at(results: Sequence[CheckResult]) -> list[str]:
    """What the checks that ended with these results did not look at, one line each."""
    stages = sorted({stage for one in results if (stage := CHECKS[one.name].stage) and one.outcome == "skipped"})
    found = [f"the stages {', '.join(stages)}, which the backend leaves to others"] if stages else []
    others = [one for one in results if one.outcome == "skipped" and not CHECKS[one.name].stage]
    found += [f"{one.name}: {one.detail}" for one in others]
    found += dict.fromkeys(text for one in results for text in one.left_out)
    return [*found, "speed, memory outside Python and NumPy, other computers, and other versions of the libraries"]


def parametrize_with_checks(
    backend: str | BackendInfo, *, expected_failures: Mapping[str, str] | None = None, **settings: Any
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Turn a test function with the argument `check` into one test per check, for an author's own test suite.

    ::

        @parametrize_with_checks("mine", expected_failures={"determinism": "sums with atomics"})
        def test_conformance(check):
            check()
    """
    import pytest

    def bind(check: Check) -> Callable[[], None]:
        def run() -> None:
            with Target(backend, **settings) as target:
                report(run_check(check, target, expected_failures))

        return run

    return pytest.mark.parametrize("check", [pytest.param(bind(check), id=name) for name, check in CHECKS.items()])


def report(result: CheckResult) -> None:
    """Tell pytest the outcome of a check."""
    import pytest

    if result.outcome == "failed":
        pytest.fail(f"{result.name}: {result.detail}", pytrace=False)
    if result.outcome == "skipped":
        pytest.skip(result.detail)
    if result.outcome == "expected failure":
        pytest.xfail(result.detail)


def _named(name: str) -> Check:
    if name not in CHECKS:
        raise OptionError(f"there is no check {name!r}; checks: {', '.join(CHECKS)}")
    return CHECKS[name]


def _explain(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    kind = "" if isinstance(error, AssertionError) else f"{type(error).__name__}: "
    notes = [note for note in getattr(error, "__notes__", []) if note.startswith("Falsifying example")]
    return "\n".join([kind + text, *notes])
