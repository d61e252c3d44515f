"""A service in this process, for all tests of this folder."""

from tests.fixtures.wal_service import opened, world

__all__ = ["opened", "world"]
