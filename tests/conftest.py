"""Fixtures of the core's tests. They are imported, so that neither the kit nor the examples have them."""

from shared_fixtures import *
