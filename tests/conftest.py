"""Fixtures that all tests share live in `tests/fixtures`, one file for each kind of server."""

pytest_plugins = [
    "tests.fixtures.keys",
    "tests.fixtures.repository",
    "tests.fixtures.databases",
    "tests.fixtures.s3",
]
