"""What the tests of faults share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.harness import INTERPRETERS, Interpreters, Site, site
from tests.fixtures.keys import Keys


@pytest.fixture(scope="session")
def interpreters() -> Iterator[Interpreters]:
    found = Interpreters(INTERPRETERS)
    try:
        yield found
    finally:
        found.close()


@pytest.fixture
def one_site(keys: Keys, interpreters: Interpreters) -> Iterator[Site]:
    """A site with nothing in its store yet."""
    with site(keys, interpreters) as one:
        yield one
