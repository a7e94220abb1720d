"""The factorisations that are optional, as a plugin of the entry point group `fem.plugins`."""

from fem_core.plugins.hookspecs import hookimpl
from fem_core.solvers import Direct
from fem_core.solvers.factorisation import CHOLMOD, PARDISO


@hookimpl
def fem_linear_solvers() -> list[Direct]:
    """Those whose libraries are installed."""
    return [Direct(factoriser) for factoriser in (PARDISO, CHOLMOD) if factoriser.available]
