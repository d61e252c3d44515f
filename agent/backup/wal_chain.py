"""Whether base backups have their write-ahead log, as far as names and signed manifests tell.

Which timeline comes from which stands in encrypted history files, and the keeper has no key. It
needs none: a timeline's number is greater than that of all it comes from, so whatever a recovery
from a base backup may read is on its own timeline or one with a greater number, and not before its
start. What is asked here is whether each of these is without a hole.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from agent.backup.catalog import Backup, State
from agent.backup.wal import listing, names
from agent.backup.wal.listing import Entry
from agent.backup.wal.names import Kind
from agent.store import Store

# several segments are shipped at once, and one may arrive after its successor
_ARRIVAL = timedelta(minutes=10)
_RECENT = timedelta(hours=48)


@dataclass(frozen=True)
class Base:
    """What a complete base backup needs: segments by their number from 0, on its own timeline."""

    backup: Backup
    system_id: int
    timeline: int
    first: int
    last: int
    segment_bytes: int

    @property
    def cluster(self) -> tuple[str, int]:
        """The host and the cluster whose log it is."""
        return self.backup.place.host, self.system_id


@dataclass(frozen=True)
class Finding:
    """A defect of the log; with a backup, one that makes this very backup useless."""

    host: str
    problem: str
    backup: Backup | None = None


@dataclass(frozen=True)
class Examined:
    """What is wrong, and what a person may want to know."""

    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()


def bases(backups: Iterable[Backup]) -> list[Base]:
    """Return the complete base backups among some backups, with what they need."""
    found = []
    for backup in backups:
        wal = backup.manifest.wal if backup.manifest else None
        if backup.state is not State.COMPLETE or wal is None:
            continue
        size = wal.segment_bytes
        found.append(
            Base(
                backup=backup,
                system_id=int(wal.system_id),
                timeline=wal.timeline,
                first=names.parse_position(wal.start) // size,
                # the position is one past the last byte
                last=max(names.parse_position(wal.stop) - 1, 0) // size,
                segment_bytes=size,
            )
        )
    return found


def read(archive: Store, backups: Iterable[Backup]) -> Examined:
    """Return what the archive lacks for the base backups among these; asks for no other host."""
    groups: dict[tuple[str, int], list[Base]] = {}
    for base in bases(backups):
        groups.setdefault(base.cluster, []).append(base)
    findings: list[Finding] = []
    notes: list[str] = []
    for (host, system_id), group in sorted(groups.items(), key=lambda one: one[0]):
        entries = list(listing.entries(archive, host=host, system_id=system_id))
        one = examine(group, entries, now=archive.now())
        findings += one.findings
        notes += one.notes
    return Examined(tuple(findings), tuple(notes))


def examine(group: Sequence[Base], entries: Iterable[Entry], *, now: datetime) -> Examined:
    """Return what the log of one cluster of one host lacks."""
    size = group[0].segment_bytes
    lines: dict[int, dict[int, datetime]] = {}
    histories: set[int] = set()
    for entry in entries:
        name = entry.place.name
        if name.kind is Kind.HISTORY:
            histories.add(name.timeline)
        elif name.kind is Kind.SEGMENT:
            line = lines.setdefault(name.timeline, {})
            number = name.number(size)
            line[number] = min(entry.stored_at, line.get(number, entry.stored_at))
    host = group[0].backup.place.host
    findings = [
        Finding(
            host,
            "it needs a segment of the write-ahead log that is not in the store: "
            f"`{names.segment(base.timeline, number, size).text}`",
            base.backup,
        )
        for base in group
        for number in sorted({base.first, base.last})
        if number not in lines.get(base.timeline, {})
    ]
    notes = []
    oldest = min(base.timeline for base in group)
    for timeline, line in sorted(lines.items()):
        if timeline < oldest:
            continue
        mine = [base.first for base in group if base.timeline == timeline]
        from_ = min([*mine, *(base.first for base in group if base.timeline < timeline)])
        present = sorted(number for number in line if number >= from_)
        if not present:
            continue
        start = present[0]
        if mine and start > min(mine):
            start = min(mine)
        elif not mine:
            before = [one for one in lines if one < timeline]
            # an ancestor has what comes before the switch, itself or the segment of it
            if start > from_ and not any(start - 1 in lines[one] for one in before):
                start = max(
                    (n + 1 for one in before for n in lines[one] if n < start), default=start
                )
        # pairs, not numbers: a hostile host may name a segment far away
        findings += [
            Finding(host, _gap(timeline, lower + 1, upper - 1, size))
            for lower, upper in pairwise([start - 1, *present])
            if upper - lower > 1 and now - line[upper] > _ARRIVAL
        ]
        if timeline > 1 and timeline not in histories:
            findings.append(
                Finding(
                    host,
                    f"`{names.history(timeline).text}` is not in the store: a recovery does not "
                    f"find to timeline {timeline}",
                )
            )
        if not mine and now - line[present[0]] < _RECENT:
            text = names.segment(timeline, present[0], size).text
            notes.append(
                f"the log of `{host}` goes on as timeline {timeline} from `{text}`: a server was "
                "promoted; take a new base backup"
            )
    return Examined(tuple(findings), tuple(notes))


def _gap(timeline: int, first: int, last: int, size: int) -> str:
    text = f"`{names.segment(timeline, first, size).text}`"
    if last > first:
        text += f" to `{names.segment(timeline, last, size).text}`"
    return (
        f"a gap in the write-ahead log: {text} is not in the store; no recovery from a base backup "
        "before it goes beyond it"
    )
