"""The stores of the servers under chaos: chosen as for the end-to-end tests."""

from tests.e2e.conftest import databases  # noqa: F401
