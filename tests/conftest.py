"""Fixtures that all tests share live in `tests/fixtures`, one file for each kind of server."""

from hypothesis import settings

pytest_plugins = [
    "tests.fixtures.keys",
    "tests.fixtures.repository",
    "tests.fixtures.databases",
    "tests.fixtures.recovery",
    "tests.fixtures.s3",
    "tests.fixtures.hosts",
    "tests.fixtures.chromium",
    "tests.fixtures.daemons",
    "tests.fixtures.terraform",
    "tests.fixtures.aws",
    "tests.fixtures.snapshots",
    "tests.fixtures.rollbar",
]

# a busy machine is no defect: no example has a time limit of its own
settings.register_profile("art32", deadline=None)
settings.load_profile("art32")
