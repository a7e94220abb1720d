"""All that an author has to write: the kit's checks become tests of this distribution."""

import fem_core as fem
from fem_core.testing import parametrize_with_checks


@parametrize_with_checks("product")
def test_conformance(check):
    check()


def test_the_backend_is_found_and_provides_the_assembly():
    solution = fem.solve(fem.generate.y_tube(nodes=2000), backend="product", backend_options={"check_symmetry": True})
    assert solution.report.converged
    assert solution.report.providers["assemble_system"] == "product"
