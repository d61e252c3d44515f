"""Whether a base backup has its log, by names alone: real arithmetic, made-up listings."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import clock
from agent.backup import catalog, retention, wal_chain, wal_retention
from agent.backup.catalog import Backup, State
from agent.backup.layout import Place
from agent.backup.manifest import WalEntry
from agent.backup.wal import names, place
from agent.backup.wal.listing import Entry
from agent.backup.wal.names import Name
from agent.backup.wal_chain import Base
from agent.config.model import DirectoryStore, Retention
from agent.store import digest
from tests.fixtures.simulation import simulated

SIZE = 16 << 20
SYSTEM = 7_300_000_000_000_000_001
NOW = datetime(2026, 11, 23, 3, 15, tzinfo=UTC)
OLD = NOW - timedelta(days=40)


def base(
    first: int, *, timeline: int = 1, system_id: int = SYSTEM, last: int | None = None
) -> Base:
    backup = Backup(
        Place("db1", "server", "20261101T000000Z", f"{first:08d}{timeline:08d}"),
        State.COMPLETE,
        "",
        OLD,
        1,
        (),
    )
    return Base(backup, system_id, timeline, first, first if last is None else last, SIZE)


def entry(name: Name, *, at: datetime = OLD, system_id: int = SYSTEM) -> Entry:
    where = place.Place("db1", system_id, name)
    return Entry(where, where.new_object(), 100, at)


def line(timeline: int, numbers: Iterable[int], *, at: datetime = OLD) -> list[Entry]:
    return [entry(names.segment(timeline, one, SIZE), at=at) for one in numbers]


def problems(bases: list[Base], entries: list[Entry]) -> list[str]:
    return [one.problem for one in wal_chain.examine(bases, entries, now=NOW).findings]


def test_a_log_without_a_hole_has_no_finding() -> None:
    assert problems([base(300)], line(1, range(290, 400))) == []


def test_a_base_backup_without_its_own_segments_is_useless() -> None:
    examined = wal_chain.examine([base(5, last=7)], line(1, [5, 6]), now=NOW)
    (finding,) = examined.findings
    assert finding.backup is not None
    assert names.segment(1, 7, SIZE).text in finding.problem


def test_a_gap_is_named_from_its_first_to_its_last_segment() -> None:
    entries = line(1, [*range(250, 255), *range(258, 300)])
    (problem,) = problems([base(250)], entries)
    assert names.segment(1, 255, SIZE).text in problem
    assert names.segment(1, 257, SIZE).text in problem


def test_what_is_missing_before_the_oldest_base_backup_is_no_gap() -> None:
    assert problems([base(20)], line(1, [1, 2, 9, *range(20, 30)])) == []


def test_a_gap_whose_end_has_just_arrived_may_still_be_on_its_way() -> None:
    entries = line(1, [5, 6]) + line(1, [8], at=NOW - timedelta(minutes=2))
    assert problems([base(5)], entries) == []


def test_a_promotion_is_told_and_its_history_must_be_there() -> None:
    entries = line(1, range(5, 9)) + line(2, range(8, 12), at=NOW - timedelta(hours=1))
    (problem,) = problems([base(5)], entries)
    assert "`00000002.history` is not in the store" in problem
    examined = wal_chain.examine([base(5)], [*entries, entry(names.history(2))], now=NOW)
    assert examined.findings == ()
    (note,) = examined.notes
    assert "goes on as timeline 2" in note


def test_a_hole_before_a_promotion_is_a_gap() -> None:
    entries = [*line(1, range(5, 9)), *line(2, range(11, 14)), entry(names.history(2))]
    (problem,) = problems([base(5)], entries)
    assert names.segment(2, 9, SIZE).text in problem


def test_a_segment_named_far_away_takes_no_time() -> None:
    far = names.Name("00000001FFFFFFFF000000FF", names.Kind.SEGMENT, 1, 0xFFFFFFFF, 0xFF)
    assert len(problems([base(5)], [*line(1, [5, 6]), entry(far)])) == 1


numbers = st.integers(0, 600)
timelines = st.integers(1, 4)
some_bases = st.lists(st.tuples(timelines, numbers), max_size=4)
some_files = st.lists(st.tuples(timelines, numbers, st.booleans()), min_size=1, max_size=40)


@given(some_bases, some_files)
def test_what_a_kept_base_backup_may_need_is_never_deleted(
    kept: list[tuple[int, int]], files: list[tuple[int, int, bool]]
) -> None:
    bases = [base(number, timeline=timeline) for timeline, number in kept]
    entries = [
        entry(names.segment(timeline, number, SIZE), at=OLD if old else NOW)
        for timeline, number, old in files
    ]
    planned = wal_retention.plan(entries, bases, Retention(days=30), store_now=NOW)
    gone = {one.object_name for one in planned.delete}
    for one, (timeline, number, old) in zip(entries, files, strict=True):
        needed = any(timeline >= t and number >= n for t, n in kept)
        assert (one.object_name in gone) == (old and not needed)


def test_another_cluster_needs_nothing_of_this_one() -> None:
    entries = line(1, range(5, 9))
    planned = wal_retention.plan(
        entries, [base(1, system_id=SYSTEM + 1)], Retention(days=30), store_now=NOW
    )
    assert len(planned.delete) == 4


def test_histories_stay_as_long_as_anything_does() -> None:
    history = entry(names.history(2))
    policy = Retention(days=30)
    entries = [*line(1, [5, 6]), *line(2, [7]), history]
    planned = wal_retention.plan(entries, [base(7)], policy, store_now=NOW)
    assert history not in planned.delete
    planned = wal_retention.plan(entries, [], policy, store_now=NOW)
    assert history in planned.delete


def weekly(oldest: State = State.COMPLETE, *, base: bool = True) -> list[Backup]:
    """Seven backups, a week apart, of a server that fills a hundred segments in a week."""
    found = []
    for week in range(6, -1, -1):
        number = 1000 - 100 * week
        entry = WalEntry(
            system_id=str(SYSTEM),
            timeline=1,
            start=names.position(number * SIZE + 40),
            stop=names.position((number + 1) * SIZE),
            segment_bytes=SIZE,
        )
        found.append(
            simulated(
                6 - week,
                NOW - timedelta(days=7 * week, hours=1),
                oldest if week == 6 else State.COMPLETE,
                wal=entry if base else None,
            )
        )
    return found


def log_plan(
    directory: Path, groups: Sequence[list[Backup]], *, ended: bool = False
) -> wal_retention.Plan:
    """Return the plan for the log of the server that `weekly` backs up."""
    directory.mkdir(exist_ok=True)
    archive = place.open_archive(DirectoryStore(kind="directory", path=directory))
    policy = Retention(days=30, newest_within_hours=200)
    for number in range(300, 1003, 50):
        name = place.Place("db1", SYSTEM, names.segment(1, number, SIZE)).new_object()
        archive.put(name, b"x", sha256=digest(b"x"))
        at = (NOW - timedelta(days=7 * (1000 - number) / 100)).timestamp()
        os.utime(directory / "wal" / name, (at, at))
    retired = {("db1", "app")} if ended else set()
    plans = [
        retention.plan(catalog.units(backups), policy, store_now=NOW, host_now=NOW, retired=ended)
        for backups in groups
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clock, "now", lambda: NOW)
        (planned,) = wal_retention.plans(archive, plans, policy, retired=retired)
    return planned


def test_the_log_before_the_oldest_kept_base_backup_goes(tmp_path: Path) -> None:
    planned = log_plan(tmp_path, [weekly()])
    assert planned.refused is None
    assert [one.place.name.number(SIZE) for one in planned.delete] == [300, 350]


@pytest.mark.parametrize("ended", [False, True])
@pytest.mark.parametrize("state", [State.PENDING, State.SUSPECT, State.UNREADABLE])
def test_no_log_goes_while_nobody_can_read_what_a_kept_backup_needs(
    tmp_path: Path, state: State, ended: bool
) -> None:
    planned = log_plan(tmp_path, [weekly(state)], ended=ended)
    assert planned.refused is not None
    assert state.value in planned.refused


def test_a_doubtful_backup_of_a_source_without_base_backups_keeps_no_log(tmp_path: Path) -> None:
    dumps = [replace(one, place=replace(one.place, source="dump")) for one in weekly(base=False)]
    assert log_plan(tmp_path / "first", [weekly(), dumps]).refused is None
    dumps[0] = replace(dumps[0], state=State.SUSPECT, manifest=None)
    assert log_plan(tmp_path / "other", [weekly(), dumps]).refused is None
    lone = log_plan(tmp_path / "lone", [weekly(), dumps[:1]])
    assert lone.refused is not None
    assert "of `dump` is suspect, and may be a base backup" in lone.refused
