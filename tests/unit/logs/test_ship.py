"""One stream from a raw segment to a signed manifest, in a real repository."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent import backup
from agent.backup import catalog, identity, layout, log_prune, log_restore
from agent.backup.area import LOGS, within
from agent.backup.catalog import Backup, State
from agent.config.logs_rotate import RotatedLog
from agent.config.model import Configuration
from agent.errors import Art32Error, Code
from agent.logs.rotate import names, run, work
from agent.logs.rotate.directory import LogDirectory
from agent.logs.rotate.names import Segment
from agent.logs.rotate.run import Rotation
from agent.logs.scrub.report import Report
from agent.logs.second import SecondScanner
from agent.logs.ship import Treatment
from agent.store import open_store
from tests.fixtures.repository import MakeRepository, Repository, text

LINES = b"".join(b"203.0.113.%d GET /%d\n" % (number % 200 + 1, number) for number in range(300))


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    place = tmp_path / "logs"
    place.mkdir()
    return place


def site_of(make_repository: MakeRepository, logs: Path, *more: str) -> Repository:
    section = [
        "[[logs.rotate]]",
        'name = "web"',
        f"path = {text(logs / 'access.log')}",
        'signal = "USR1"',
        'process = "none"',
        f"pid_file = {text(logs / 'none')}",
        "wait_seconds = 0",
        *more,
        "[logs.scan]",
        f"directory = {text(logs.parent / 'scan')}",
    ]
    return make_repository("", more="\n".join(section))


def rotate(site: Repository, *, force: bool = True) -> Rotation:
    config = site.configuration()
    ((result,), _) = work.rotate_all(config, config.logs.rotate, force=force)
    return result


def segments(config: Configuration) -> list[Backup]:
    inner = within(config, LOGS)
    with identity.reader(inner) as reader:
        return catalog.read(open_store(inner.store), reader, inner.store.prefix)


def restored(site: Repository, target: Path, *, raw: bool = False) -> list[bytes]:
    chosen = log_restore.choose(site.configuration(), "web", raw=raw)
    done = log_restore.to_directory(chosen, target)
    return [(target / name).read_bytes() for name in done.files]


def test_a_segment_is_shipped_scrubbed_and_removed(
    make_repository: MakeRepository, logs: Path, tmp_path: Path
) -> None:
    site = site_of(make_repository, logs)
    (logs / "access.log").write_bytes(LINES)
    result = rotate(site)
    assert (result.errors, result.warnings, result.waiting) == ([], [], [])
    assert os.listdir(logs) == []
    (segment,) = segments(site.configuration())
    assert segment.state is State.COMPLETE
    (lines,) = restored(site, tmp_path / "back")
    assert lines.count(b"203.0.113.0 GET /") == 300
    for path in [*site.store.rglob("*"), *site.state.rglob("*")]:
        assert path.is_dir() or b"203.0.113." not in path.read_bytes()


def test_backups_and_logs_share_a_sequence_and_no_directory(
    make_repository: MakeRepository, logs: Path
) -> None:
    site = site_of(make_repository, logs)
    with site.config_file.open("a") as file:
        file.write('\n[[sources]]\nname = "web"\nkind = "command"\ncommand = ["echo", "x"]\n')
    site.back_up("web")
    (logs / "access.log").write_bytes(LINES)
    rotate(site)
    site.back_up("web")
    config = site.configuration()
    with identity.reader(config) as reader:
        backups = catalog.read(open_store(config.store), reader, config.store.prefix)
    found = [one.manifest for one in (*backups, *segments(config))]
    assert [(one.sequence, one.ordinal) for one in found if one] == [(1, 1), (3, 2), (2, 1)]
    assert sorted(path.name for path in site.store.iterdir()) == ["db1", "logs"]


def test_what_the_writer_still_holds_is_not_touched(
    make_repository: MakeRepository, logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = site_of(make_repository, logs)
    with (logs / "access.log").open("ab") as writer:
        writer.write(LINES)
        writer.flush()
        first = rotate(site)
        (segment,) = first.waiting
        assert (first.shipped, first.warnings) == ([], [])
        assert (logs / segment.name).read_bytes() == LINES
        monkeypatch.setattr(run, "OVERDUE", datetime.now(UTC) - datetime.now(UTC))
        assert "still has it open" in rotate(site).warnings[0]
        writer.write(b"the last line\n")
    second = rotate(site)
    assert [one.raw_bytes for one in second.shipped] == [len(LINES) + 14]
    assert os.listdir(logs) == []


@dataclass
class Blind:
    """A scrubber that lets everything through."""

    report: Report = field(default_factory=Report)

    def scrub(self, block: bytes) -> bytes:
        return block


def blind(log: RotatedLog, segment: Segment, begun: datetime, place: LogDirectory) -> Treatment:
    return Treatment(Blind(), SecondScanner((24, 48)), blocks=lambda reads: reads)


def rotate_blindly(site: Repository) -> Rotation:
    config = site.configuration()
    with backup.shipping_of_logs(config) as shipping:
        return run.rotate(config, config.logs.rotate[0], shipping, blind, force=True)


def test_a_hit_of_the_second_scanner_is_masked_and_the_run_goes_on(
    make_repository: MakeRepository, logs: Path, tmp_path: Path
) -> None:
    site = site_of(make_repository, logs)
    (logs / "access.log").write_bytes(b"203.0.113.77 GET /\n" + b"- GET /\n" * 50)
    result = rotate_blindly(site)
    assert result.errors == []
    assert "masked 1 addresses" in result.warnings[0]
    (lines,) = restored(site, tmp_path / "back")
    assert lines == b"xxx.x.xxx.xx GET /\n" + b"- GET /\n" * 50


def test_a_scrubber_that_fails_leaves_nothing_readable_but_to_the_recipients(
    make_repository: MakeRepository, logs: Path, tmp_path: Path
) -> None:
    site = site_of(make_repository, logs)
    (logs / "access.log").write_bytes(LINES)
    result = rotate_blindly(site)
    assert "ALARM" in result.warnings[0]
    assert os.listdir(logs) == []
    states = {one.state for one in segments(site.configuration())}
    assert states == {State.ABSENT, State.COMPLETE}
    with pytest.raises(Art32Error) as caught:
        log_restore.choose(site.configuration(), "web")
    assert caught.value.code is Code.NO_BACKUP
    assert "--raw" in (caught.value.hint or "")
    assert restored(site, tmp_path / "back", raw=True) == [LINES]
    for path in site.store.rglob("*"):
        assert path.is_dir() or b"203.0.113." not in path.read_bytes()


def test_a_segment_that_was_recorded_is_removed_and_not_shipped_again(
    make_repository: MakeRepository, logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kill between the ledger's record and the removal."""
    site = site_of(make_repository, logs)
    (logs / "access.log").write_bytes(LINES)
    monkeypatch.setattr(LogDirectory, "remove", lambda *_: True)
    rotate(site)
    monkeypatch.undo()
    (name,) = os.listdir(logs)
    result = rotate(site)
    assert [one.stored_bytes for one in result.shipped] == [None]
    assert os.listdir(logs) == []
    assert len(segments(site.configuration())) == 1
    assert names.parse(name) is not None


def test_a_segment_that_was_shipped_twice_comes_back_once(
    make_repository: MakeRepository, logs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kill between the signature and the ledger's record: nobody here knows."""
    site = site_of(make_repository, logs)
    (logs / "access.log").write_bytes(LINES)
    monkeypatch.setattr(LogDirectory, "remove", lambda *_: True)
    rotate(site)
    monkeypatch.undo()
    ledger = site.state / "ledger.jsonl"
    ledger.write_bytes(b"".join(ledger.read_bytes().splitlines(keepends=True)[:-1]))
    rotate(site)
    assert os.listdir(logs) == []
    assert [one.state for one in segments(site.configuration())] == [State.COMPLETE] * 2
    chosen = log_restore.choose(site.configuration(), "web")
    assert "shipped twice" in chosen.warnings[0]
    (lines,) = restored(site, tmp_path / "back")
    assert lines.count(b"\n") == 300


def test_a_segment_that_grew_after_it_was_shipped_is_shipped_again(
    make_repository: MakeRepository, logs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = site_of(make_repository, logs)
    (logs / "access.log").write_bytes(LINES)
    monkeypatch.setattr(LogDirectory, "remove", lambda *_: True)
    rotate(site)
    monkeypatch.undo()
    (name,) = os.listdir(logs)
    with (logs / name).open("ab") as late:
        late.write(b"the line that came late\n")
    assert "shipped again" in rotate(site).warnings[0]
    (lines,) = restored(site, tmp_path / "back")
    assert lines.endswith(b"the line that came late\n")
    assert lines.count(b"\n") == 301


def test_segments_come_back_in_the_order_in_which_they_were_cut(
    make_repository: MakeRepository, logs: Path, tmp_path: Path
) -> None:
    site = site_of(make_repository, logs)
    for number in range(3):
        (logs / "access.log").write_bytes(b"segment %d\n" % number)
        rotate(site)
    assert restored(site, tmp_path / "back") == [b"segment %d\n" % number for number in range(3)]
    with pytest.raises(Art32Error) as caught:
        restored(site, tmp_path / "back")
    assert caught.value.code is Code.TARGET_EXISTS


@pytest.mark.parametrize(
    "facts",
    [
        {"file": "../../etc/passwd"},
        {"file": "a/b"},
        {"file": ".."},
        {"file": ""},
        {"cut": "x"},
        {"segment": "/"},
    ],
)
def test_details_of_a_stolen_host_never_become_a_path(facts: dict[str, str]) -> None:
    good = {"file": "access.log", "cut": "20261124T060000.000000Z", "segment": "0" * 16}
    assert log_restore.file_name(good).startswith("access.log-2026")
    with pytest.raises(Art32Error) as caught:
        log_restore.file_name({**good, **facts})
    assert caught.value.code is Code.SUSPECT


def test_old_and_many_segments_are_pruned_in_the_store(
    make_repository: MakeRepository, logs: Path
) -> None:
    site = site_of(make_repository, logs)
    for number in range(4):
        (logs / "access.log").write_bytes(b"segment %d\n" % number)
        rotate(site)
    (oldest, *_) = segments(site.configuration())
    long_ago = time.time() - 31 * 86400
    for path in (site.store / "logs" / oldest.place.path).iterdir():
        os.utime(path, (long_ago, long_ago))
    plan = log_prune.plan(site.configuration())
    assert [one.delete for one in plan.decisions] == [True, False, False, False]
    size = segments(site.configuration())[-1].stored_bytes
    with site.config_file.open("a") as file:
        file.write(f"\n[logs.retention]\nmax_bytes = {size + size // 2}\n")
    plan = log_prune.plan(site.configuration())
    assert [one.delete for one in plan.decisions] == [True, False, False, False]
    assert "younger than 7 days" in plan.decisions[1].reason
    with site.config_file.open("a") as file:
        file.write("minimum_days = 0\n")
    plan = log_prune.plan(site.configuration())
    assert [one.delete for one in plan.decisions] == [True, True, True, False]
    assert all(one.shredded for one in log_prune.carry_out(plan))
    assert len(segments(site.configuration())) == 1


def test_what_nobody_has_signed_drives_no_segment_out(
    make_repository: MakeRepository, logs: Path
) -> None:
    site = site_of(make_repository, logs)
    for number in range(3):
        (logs / "access.log").write_bytes(b"segment %d\n" % number)
        rotate(site)
    found = segments(site.configuration())
    size = sum(one.stored_bytes for one in found)
    with site.config_file.open("a") as file:
        file.write(f"\n[logs.retention]\nmax_bytes = {size}\nminimum_days = 0\n")
    place = found[-1].place
    junk = site.store / "logs" / replace(place, id="f" * 16).path
    junk.mkdir()
    (junk / layout.segment(0, "0" * 64)).write_bytes(bytes(size))
    plan = log_prune.plan(site.configuration())
    assert [one.delete for one in plan.decisions] == [False] * 4
    assert {one.segment.state for one in plan.decisions} == {State.COMPLETE, State.ABSENT}


def test_a_segment_that_a_stolen_host_makes_later_replaces_no_old_one(
    make_repository: MakeRepository, logs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = site_of(make_repository, logs)
    (logs / "access.log").write_bytes(LINES)
    monkeypatch.setattr(LogDirectory, "remove", lambda *_: True)
    rotate(site)
    monkeypatch.undo()
    (true,) = segments(site.configuration())
    long_ago = time.time() - 20 * 86400
    for path in (site.store / "logs" / true.place.path).iterdir():
        os.utime(path, (long_ago, long_ago))
    (name,) = os.listdir(logs)
    (logs / name).write_bytes(b"nothing has happened\n")
    rotate(site)
    (forged,) = [one for one in segments(site.configuration()) if one.id != true.id]
    chosen = log_restore.choose(site.configuration(), "web")
    assert [one.id for one in chosen.segments] == [true.id]
    assert forged.id in chosen.warnings[0]
    assert [one.count(b"\n") for one in restored(site, tmp_path / "back")] == [300]
    chosen = log_restore.choose(site.configuration(), "web", ids=[forged.id])
    assert [one.id for one in chosen.segments] == [forged.id]


def test_a_local_copy_is_kept_scrubbed_and_for_so_long(
    make_repository: MakeRepository, logs: Path
) -> None:
    site = site_of(make_repository, logs, "keep_local = true")
    (logs / "access.log").write_bytes(LINES)
    rotate(site)
    (name,) = os.listdir(logs)
    assert names.parse(name, names.KEPT) is not None
    assert (logs / name).stat().st_mode & 0o777 == 0o600
    plain = b"".join(decompressed(logs / name))
    assert plain.count(b"203.0.113.0 GET /") == 300
    with site.config_file.open("a") as file:
        file.write("\n[logs.retention]\nlocal_max_bytes = 1\n")
    rotate(site)
    assert os.listdir(logs) == []


def decompressed(path: Path) -> list[bytes]:
    from agent import compression

    return list(compression.decompress(iter([path.read_bytes()])))


def test_copy_and_truncate_says_what_it_cannot_promise(
    make_repository: MakeRepository, logs: Path, tmp_path: Path
) -> None:
    site = make_repository(
        "",
        more="\n".join(
            [
                "[[logs.rotate]]",
                'name = "web"',
                f"path = {text(logs / 'access.log')}",
                'method = "copytruncate"',
                "scan = false",
            ]
        ),
    )
    with (logs / "access.log").open("ab", buffering=0) as writer:
        writer.write(LINES)
        result = rotate(site)
        assert "are lost" in result.warnings[0]
        assert os.listdir(logs) == ["access.log"]
        writer.write(b"and on\n")
        assert (logs / "access.log").read_bytes() == b"and on\n"
        rotate(site)
    assert b"".join(restored(site, tmp_path / "back")).count(b"\n") == 301


def test_a_copy_for_which_there_is_no_room_leaves_the_log_as_it_was(
    make_repository: MakeRepository, logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = make_repository(
        "",
        more=f'[[logs.rotate]]\nname = "web"\npath = {text(logs / "access.log")}\n'
        'method = "copytruncate"\nscan = false\n',
    )
    (logs / "access.log").write_bytes(LINES)
    pid = os.fork()
    if pid == 0:  # a limit of the file's size stands for a full disk: EFBIG as ENOSPC would come
        import resource

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
        from agent.logs.rotate import cut, directory

        code = 1
        try:
            log = site.configuration().logs.rotate[0]
            with directory.opened(logs, directory.trust(None, None)) as place:
                cut.cut(log, place, "access.log", force=True)
        except Art32Error as error:
            code = 7 if error.code is Code.DISK else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    assert os.listdir(logs) == ["access.log"]
    assert (logs / "access.log").read_bytes() == LINES
