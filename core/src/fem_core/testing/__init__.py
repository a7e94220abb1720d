"""The conformance kit: named checks that certify a backend against the baseline.

`fem verify --backend NAME` and `pytest --pyargs fem_core.testing --fem-backend NAME` run it;
`parametrize_with_checks` puts it into an author's own tests. Needs the extra `fem-core[testing]`.
"""

from fem_core.testing.checks import CHECKS, Check
from fem_core.testing.executors import EXECUTOR_CHECKS
from fem_core.testing.light import assert_light
from fem_core.testing.runner import CheckResult, not_looked_at, parametrize_with_checks, run_check, verify
from fem_core.testing.strategies import Case, cases, large_case, meshes, problems
from fem_core.testing.target import Target

__all__ = [
    "CHECKS",
    "EXECUTOR_CHECKS",
    "Case",
    "Check",
    "CheckResult",
    "Target",
    "assert_light",
    "cases",
    "large_case",
    "meshes",
    "not_looked_at",
    "parametrize_with_checks",
    "problems",
    "run_check",
    "verify",
]
