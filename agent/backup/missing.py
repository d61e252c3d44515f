"""What should be in the store and is not.

A backup that vanishes as a whole leaves nothing to judge. Two things remember it: the sequence
that its host signed, without a gap, and the ledger of the machine that made it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import pairwise

from agent import clock
from agent.backup import history
from agent.backup.area import BACKUPS, Area
from agent.backup.catalog import DOUBTFUL, Backup, State, Unit
from agent.backup.history import Known
from agent.backup.retention import CLOCK_TOLERANCE
from agent.config.model import Retention
from agent.ledger import Record

IN_PROGRESS = timedelta(hours=1)
DELETION_STARTED = BACKUPS.event("deletion-started")
_BY_A_PERSON = "request"


def since(policy: Retention, now: datetime) -> datetime:
    """Return the moment after which nothing that was stored may have been pruned."""
    return now - timedelta(days=policy.days) + CLOCK_TOLERANCE


def vanished(
    backups: Iterable[Backup],
    records: Sequence[Record],
    *,
    after: datetime,
    host: str | None,
    source: str | None,
    area: Area = BACKUPS,
) -> list[Known]:
    """Return the complete backups in this machine's ledger of which the store shows nothing.

    Give the listing of that host and source (None: of all), and the ledger as it was before that
    listing. What was finished up to `after`, or was deleted here, may be gone.
    """
    there = {backup.id for backup in backups if backup.state is not State.ABSENT}
    ended = {
        str(record.facts.get("id"))
        for record in records
        if record.event in (area.event("deletion-started"), area.event("deleted"))
    }
    limit = clock.iso(after)
    return [
        known
        for known in history.read(records, area=area).backups
        if known.finished > limit
        and known.id not in there | ended
        and host in (None, known.path.partition("/")[0])
        and source in (None, known.source)
    ]


def unfinished(units: Sequence[Unit], now: datetime) -> frozenset[str]:
    """Return the keys of the units that a run seems to be making at this moment.

    Of each source: what is not whole, has nothing wrong but that, is newer than all that is whole,
    and whose last object, or that of its successor in a set, was stored within the last hour.
    Its end is not missing yet.
    """
    groups: dict[tuple[str, str], list[Unit]] = {}
    for unit in units:
        groups.setdefault((unit.host, unit.source), []).append(unit)
    found: set[str] = set()
    for mine in groups.values():
        last: list[Unit] = []
        for unit in reversed(mine):
            fine = all(one.state in (State.ABSENT, State.COMPLETE) for one in unit.backups)
            if unit.whole or not fine:
                break
            last.append(unit)
        if last and last[0].stored_at > now - IN_PROGRESS:
            # of a set there is one, and at most one more backup is under way
            sets = [unit for unit in last[:2] if unit.broken_set]
            found.update(unit.key for unit in (last[0], *sets))
    return frozenset(found)


def gaps(
    backups: Iterable[Backup],
    records: Sequence[Record],
    *,
    after: datetime,
    area: Area = BACKUPS,
) -> list[tuple[Backup, Backup, int]]:
    """Return where numbers are missing in a sequence: both neighbours, and how many numbers.

    Give whole hosts, not single sources: a host's sources share its sequence. Only neighbours
    that were stored after `after` count: older ones may have been pruned. Nothing is missing
    where the ledger of this machine knows the numbers: `vanished` speaks of those; nor where as
    many backups of the host are there but not readable, or were deleted here by a person.
    """
    known = [
        (record.facts.get("signer"), history.ordinal(record.facts))
        for record in records
        if record.event == area.event("signing") and isinstance(record.facts.get("sequence"), int)
    ]
    chains: dict[tuple[str, str], dict[int, Backup]] = {}
    excuses: dict[str, int] = {}
    sources: dict[str, set[str]] = {}
    for backup in backups:
        host = backup.place.host
        sources.setdefault(host, set()).add(backup.place.source)
        if backup.state in DOUBTFUL:
            excuses[host] = excuses.get(host, 0) + 1
        elif backup.manifest is not None:
            chain = chains.setdefault((host, backup.manifest.signer), {})
            chain[backup.manifest.number] = backup
    found = []
    for (host, signer), chain in chains.items():
        between = []
        for lower, upper in pairwise(sorted(chain)):
            count = upper - lower - 1
            if count == 0 or min(chain[lower].stored_at, chain[upper].stored_at) <= after:
                continue
            count -= sum(1 for one, number in known if one == signer and lower < number < upper)
            if count > 0:
                between.append((chain[lower], chain[upper], count))
        excused = excuses.get(host, 0) + _deleted_by_a_person(records, sources[host], after, area)
        if sum(count for _, _, count in between) > excused:
            found += between
    return found


def gap_notes(
    backups: Iterable[Backup],
    records: Sequence[Record],
    *,
    after: datetime,
    area: Area = BACKUPS,
) -> list[str]:
    """Return a sentence for each of the `gaps`."""
    return [
        f"{count} of the backups that `{lower.place.host}` signed between `{lower.id}` and "
        f"`{upper.id}` {'is' if count == 1 else 'are'} missing: a person deleted it, a run was "
        "stopped while it signed, or somebody removed it"
        for lower, upper, count in gaps(backups, records, after=after, area=area)
    ]


def vanished_note(known: Known) -> str:
    """Return what is wrong with a `vanished` backup."""
    return (
        f"it was complete at {known.finished} and is not in the store: unless a person deleted it "
        "on another machine, somebody removed it"
    )


def _deleted_by_a_person(
    records: Sequence[Record], sources: set[str], after: datetime, area: Area
) -> int:
    limit = clock.iso(after)
    return len(
        {
            record.facts.get("id")
            for record in records
            if record.event == area.event("deletion-started")
            and record.time > limit
            and record.facts.get("source") in sources
            and record.facts.get("reason") == _BY_A_PERSON
        }
    )
