"""What a run could not say at its end, the next one says: or nobody does, when it is too late."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from agent import clock
from agent.backup import catalog, identity, make
from agent.errors import Art32Error, Code, ExitStatus
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


def as_another_user(path: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command of this Python that may not open a file, as if another user had made it."""
    confined: list[str] = []
    if os.geteuid() == 0:
        os.chown(path, 65534, 65534)
        confined = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
    else:
        path.chmod(0)
    return subprocess.run(
        [*confined, sys.executable, *command], capture_output=True, text=True, check=False
    )


def test_an_end_that_another_user_kept_is_told_and_stops_no_later_run(
    make_repository: MakeRepository,
) -> None:
    site = make_repository(COMMAND)
    fail(site, Code.STORE_UNREACHABLE.label, SIGNATURE)
    (path,) = kept(site)
    run = ("-m", "agent", "--config", str(site.config_file), "backup", "run")
    done = as_another_user(path, *run)
    assert done.returncode == ExitStatus.WARNINGS, done.stderr
    assert f"kept in `{path}` may not be opened" in done.stderr
    assert kept(site) == [path]
    assert sorted(state for state, _ in states(site)) == ["absent", "complete"]


def test_what_is_kept_in_a_directory_that_cannot_be_read_is_an_error_with_a_hint(
    make_repository: MakeRepository,
) -> None:
    site = make_repository(COMMAND)
    fail(site, Code.STORE_UNREACHABLE.label, SIGNATURE)
    (path,) = kept(site)
    path.unlink()
    path.symlink_to("/etc/passwd")
    with pytest.raises(Art32Error, match="cannot be settled") as caught:
        site.back_up("app")
    assert caught.value.code is Code.DISK
    path.unlink()
    run = ("-m", "agent", "--config", str(site.config_file), "backup", "run")
    path.parent.chmod(0o700)
    done = as_another_user(path.parent, *run)
    assert done.returncode == ExitStatus.PERMISSION
    assert "hint: ls -la" in done.stderr


def test_the_note_of_another_users_restore_is_told_and_no_failure(tmp_path: Path) -> None:
    claim = tmp_path / "restores" / "note"
    claim.parent.mkdir()
    claim.write_text("{}")
    claim.chmod(0o600)
    program = (
        "import sys; from pathlib import Path; from agent.backup import leftovers;"
        "print([one.unknown for one in leftovers.look(Path(sys.argv[1]))])"
    )
    done = as_another_user(claim, "-c", program, str(tmp_path))
    assert "belongs to another user" in done.stdout, done.stderr
