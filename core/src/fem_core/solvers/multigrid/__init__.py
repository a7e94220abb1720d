"""p-multigrid for 8-node quadrilaterals: the hierarchy, and the pieces that it is made of.

A backend with its own cycle takes the `Hierarchy` from `build_hierarchy` and replaces
`Hierarchy.cycle`; all it needs are the plain arrays of the levels. See docs/solvers.md.
"""

from fem_core.solvers.multigrid.hierarchy import Hierarchy, Kernels, Level, build_hierarchy
from fem_core.solvers.multigrid.lines import Lines, Links
from fem_core.solvers.multigrid.smoother import Smoother
from fem_core.solvers.multigrid.transfer import to_corners

__all__ = ["Hierarchy", "Kernels", "Level", "Lines", "Links", "Smoother", "build_hierarchy", "to_corners"]
