"""What a run could not say at its end, the next one says: or nobody does, when it is too late."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from agent import clock
from agent.backup import catalog, identity, make
from agent.errors import Art32Error, Code
from agent.store import open_store
from tests.faults.store import Fault, FaultStore
from tests.fixtures.repository import MakeRepository, Repository

COMMAND = '[[sources]]\nname = "app"\nkind = "command"\ncommand = ["printf", "some data"]'
MANIFEST, SIGNATURE = 5, 6  # of the puts of a small backup


def fail(site: Repository, kind: str, call: int) -> None:
    """Back up into a store that fails at a call."""
    store = FaultStore(open_store(site.configuration().store), Fault(kind, call))
    with pytest.raises(Art32Error):
        site.back_up("app", store=store)
    assert store.names[-1].startswith("put manifest.json")


def states(site: Repository) -> list[tuple[str, int | None]]:
    config = site.configuration()
    with identity.reader(config) as reader:
        found = catalog.read(open_store(config.store), reader, config.store.prefix)
    return [(one.state.value, one.manifest.sequence if one.manifest else None) for one in found]


def events(site: Repository, *names: str) -> Sequence[str]:
    records = make.ledger_of(site.configuration()).records()
    return [one.event for one in records if one.event in names]


def kept(site: Repository) -> list[Path]:
    return list((site.state / "unsent").glob("*/*"))


@pytest.mark.parametrize("call", [MANIFEST, SIGNATURE])
@pytest.mark.parametrize("kind", ["lost-reply", Code.STORE_UNREACHABLE.label])
def test_the_next_run_finishes_what_the_store_did_not_take(
    make_repository: MakeRepository, kind: str, call: int
) -> None:
    site = make_repository(COMMAND)
    fail(site, kind, call)
    stored = kind == "lost-reply" and call == SIGNATURE
    assert states(site) == ([("complete", 1)] if stored else [("absent", None)])
    assert events(site, "backup-complete") == []
    assert len(kept(site)) == 1
    site.back_up("app")
    assert states(site) == [("complete", 1), ("complete", 2)]
    assert events(site, "backup-complete") == ["backup-complete"] * 2
    assert kept(site) == []


def test_what_is_older_than_a_day_is_given_up(
    make_repository: MakeRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = make_repository(COMMAND)
    fail(site, Code.STORE_UNREACHABLE.label, SIGNATURE)
    real = clock.now
    monkeypatch.setattr(clock, "now", lambda: real() + timedelta(days=1, minutes=1))
    site.back_up("app")
    assert sorted(states(site), key=str) == [("absent", None), ("complete", 2)]
    assert events(site, "backup-given-up", "backup-complete") == [
        "backup-given-up",
        "backup-complete",
    ]
    assert kept(site) == []


@pytest.mark.parametrize("case", ["host", "source", "id", "half", "empty", "junk"])
def test_what_is_not_the_end_of_a_run_of_this_source_is_never_sent(
    make_repository: MakeRepository, case: str
) -> None:
    site = make_repository(COMMAND)
    fail(site, Code.STORE_UNREACHABLE.label, MANIFEST)
    (path,) = kept(site)
    end = json.loads(path.read_text())
    host, source, name = end["path"].split("/")
    changed = {
        "host": {"path": f"db9/{source}/{name}"},
        "source": {"path": f"{host}/other/{name}"},
        "id": {"path": f"{host}/{source}/{name[:-16]}{'0' * 16}"},
    }
    text = json.dumps(end | changed.get(case, {}))
    path.write_text({"half": text[:200], "empty": "", "junk": "[]"}.get(case, text))
    before = set(site.store.rglob("*"))
    (made,) = site.back_up("app")
    new = {one for one in set(site.store.rglob("*")) - before if one.is_file()}
    assert {one.parent.name.rpartition("-")[2] for one in new} == {made.id}
    assert kept(site) == []


def test_a_record_that_was_written_is_not_written_twice(make_repository: MakeRepository) -> None:
    site = make_repository(COMMAND)
    fail(site, "lost-reply", SIGNATURE)
    (path,) = kept(site)
    data = path.read_bytes()
    site.back_up("app")
    path.write_bytes(data)  # the process died between the record and the removal
    site.back_up("app")
    assert len(events(site, "backup-complete")) == 3
    assert [state for state, _ in states(site)] == ["complete"] * 3
