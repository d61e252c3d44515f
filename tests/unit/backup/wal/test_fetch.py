"""What a fetch makes of a store whose answers do not fit together."""

from __future__ import annotations

import pytest

from agent.backup.wal import names, place
from agent.backup.wal.fetch import Fetcher
from agent.backup.wal.opening import Opener
from agent.config.model import DirectoryStore
from agent.errors import Art32Error, Code
from agent.store import Store
from tests.faults.store import Fault, FaultStore
from tests.fixtures.wal import SYSTEM, segment
from tests.fixtures.wal_service import World


def reading(world: World, store: Store) -> Opener:
    """Return an opener that reads another store than the one that proves absence."""
    home = world.opener._private_home
    return Opener(store, world.opener._reader, prefix="", private_home=home)


def test_a_listing_that_lags_behind_is_asked_again(world: World) -> None:
    (name,) = world.written(3)
    with world.serving():
        assert world.push(name) == 0
    lagging = FaultStore(world.archive, Fault("drop", 1))
    fetcher = Fetcher(world.archive, reading(world, lagging), ["db1"], ahead=0)
    found = fetcher.fetch(SYSTEM, names.require(name))
    assert found is not None
    assert found.content.view == segment(3)[1]
    assert [one.split(" ")[0] for one in lagging.names] == ["list", "list", "get"]


def test_a_store_that_goes_on_contradicting_itself_proves_no_absence(world: World) -> None:
    (name,) = world.written(3)
    with world.serving():
        assert world.push(name) == 0
    (world.directory / "empty").mkdir()
    empty = place.open_archive(DirectoryStore(kind="directory", path=world.directory / "empty"))
    fetcher = Fetcher(world.archive, reading(world, empty), ["db1"])
    with pytest.raises(Art32Error) as caught:
        fetcher.fetch(SYSTEM, names.require(name))
    assert caught.value.code is Code.STORE_FAILED
    assert "contradicts itself" in caught.value.sentence
