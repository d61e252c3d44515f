"""What the keeper tells of all hosts, where the store gives some of it alone."""

from __future__ import annotations

import pytest

from agent.backup import layout
from agent.errors import Art32Error, Code, ExitStatus
from agent.health import ages
from agent.store import open_store
from tests.fixtures.repository import MakeRepository

COMMAND = '[[sources]]\nname = "app"\nkind = "command"\ncommand = ["printf", "some data"]'


def test_a_backup_that_the_store_does_not_give_is_told_and_not_called_suspect(
    make_repository: MakeRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = make_repository(COMMAND, more='[service]\nhosts = ["db1"]')
    (made,) = site.back_up("app")
    config = site.configuration()
    store = open_store(config.store)
    genuine = store.get

    def refusing(name: str, *, limit: int) -> bytes:
        if name.endswith(layout.MANIFEST):
            raise Art32Error(Code.STORE_FAILED, "no")
        return genuine(name, limit=limit)

    monkeypatch.setattr(store, "get", refusing)
    monkeypatch.setattr(ages, "open_store", lambda _: store)
    found = ages.look(config)
    told = f"`{made.id}` of `{site.host}` is unreadable: it cannot be read: no"
    assert (found.suspect, found.notes) == (0, (told,))
    assert ages.answer(config, found).status == ExitStatus.WARNINGS
