"""All that an author has to write: the kit's checks become tests of this distribution."""

from fem_core.testing import parametrize_with_checks


@parametrize_with_checks("joblib", options={"workers": 2, "min_size": 0}, examples=3)
def test_conformance(check):
    check()
