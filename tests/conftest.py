"""Fixtures that all tests share live in `tests/fixtures`, one file for each kind of server."""

import os
import resource
import tempfile
import time

from hypothesis import settings

pytest_plugins = [
    "tests.fixtures.keys",
    "tests.fixtures.repository",
    "tests.fixtures.databases",
    "tests.fixtures.rds",
    "tests.fixtures.confinement",
    "tests.fixtures.recovery",
    "tests.fixtures.s3",
    "tests.fixtures.hosts",
    "tests.fixtures.chromium",
    "tests.fixtures.daemons",
    "tests.fixtures.journal",
    "tests.fixtures.terraform",
    "tests.fixtures.garbage",
    "tests.fixtures.sdk",
    "tests.fixtures.aws",
    "tests.fixtures.resident",
    "tests.fixtures.snapshots",
    "tests.fixtures.rollbar",
]

# a busy machine is no defect: no example has a time limit of its own
settings.register_profile("art32", deadline=None)
settings.load_profile("art32")

# a store that runs in the process, like moto, keeps a file open for each large object
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
enough = 4096 if hard == resource.RLIM_INFINITY else min(4096, hard)
resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, enough), hard))

# the address of a socket is short, unix(7): what tests make stands below /tmp where TMPDIR is long
if len(tempfile.gettempdir()) > len("/var/tmp"):
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", "/tmp")


def pytest_runtest_setup() -> None:
    """Begin no test in the last moments of a day: art32 counts much by the day."""
    left = 86400 - time.time() % 86400
    if left < 30:
        time.sleep(left + 1)
