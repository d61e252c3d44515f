"""Which files of write-ahead logs to keep: what a kept base backup may need, by cluster, timeline
and position, and what is young. See `wal_chain` for why this needs no key."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from agent.backup import history
from agent.backup.catalog import DOUBTFUL, Backup
from agent.backup.retention import Plan as BackupPlan
from agent.backup.wal import listing
from agent.backup.wal.listing import Entry
from agent.backup.wal.names import Kind
from agent.backup.wal_chain import Base, bases
from agent.config.model import Retention
from agent.ledger import Ledger
from agent.store import Deletion, Store


@dataclass(frozen=True)
class Plan:
    """What is to become of the log of one cluster of one host; `refused` says why all stays."""

    host: str
    system_id: int
    delete: tuple[Entry, ...]
    kept: int
    refused: str | None = None

    @property
    def size(self) -> int:
        """Bytes of what is to go."""
        return sum(entry.size for entry in self.delete)


@dataclass(frozen=True)
class Pruned:
    """Objects that are gone, and those that a lock keeps."""

    deleted: int
    retained: int


def plans(
    archive: Store,
    decided: Sequence[BackupPlan],
    policy: Retention,
    *,
    host: str | None = None,
    retired: Collection[tuple[str, str]] = (),
) -> list[Plan]:
    """Given the plans for backups, return one for each cluster of each host in the archive."""
    groups: dict[tuple[str, int], list[Entry]] = {}
    for entry in listing.entries(archive, host=host):
        groups.setdefault((entry.place.host, entry.place.system_id), []).append(entry)
    found = []
    for (name, _), entries in sorted(groups.items()):
        mine = [plan for plan in decided if plan.host == name]
        found.append(
            plan(
                entries,
                _kept(mine),
                policy,
                store_now=archive.now(),
                refused=_refusal(mine, ended=any(one == name for one, _ in retired)),
            )
        )
    return found


def _kept(decided: Iterable[BackupPlan]) -> list[Base]:
    return bases(
        backup
        for plan in decided
        for decision in plan.decisions
        if decision.unit not in plan.deletions
        for backup in decision.unit.backups
    )


def _refusal(decided: Sequence[BackupPlan], *, ended: bool) -> str | None:
    for plan in decided:
        backups = [backup for one in plan.decisions for backup in one.unit.backups]
        if plan.refused is not None and (bases(backups) or plan.time_in_doubt):
            return plan.refused
        if (doubtful := _possible_base(backups)) is not None:
            return (
                f"backup `{doubtful.id}` of `{plan.source}` is {doubtful.state.value}, "
                "and may be a base backup that needs it"
            )
    if not ended and not _kept(decided):
        return "there is no base backup of this host; when it has ended, say so with --retired"
    return None


def _possible_base(backups: Sequence[Backup]) -> Backup | None:
    """Return a backup of a source that nobody can read and that may be a base backup: what it needs
    stands in its manifest, and goes with nothing else. None when the source makes others alone."""
    readable = [one.manifest for one in backups if one.manifest is not None]
    if readable and all(one.wal is None for one in readable):
        return None
    return next((one for one in backups if one.state in DOUBTFUL), None)


def plan(
    entries: Sequence[Entry],
    kept: Sequence[Base],
    policy: Retention,
    *,
    store_now: datetime,
    refused: str | None = None,
) -> Plan:
    """Decide about the log of one cluster of one host.

    A file goes when the store has held it for longer than `policy.days` and no kept base backup of
    the same cluster may need it: none that begins on its timeline, or on one with a smaller number,
    at or before its position. Histories stay as long as anything of the cluster does.
    """
    first = entries[0].place
    limit = store_now - timedelta(days=policy.days)
    mine = [base for base in kept if base.cluster == (first.host, first.system_id)]
    old = [one for one in entries if one.stored_at < limit and not _needed(one, mine)]
    files = sum(one.place.name.kind is not Kind.HISTORY for one in entries)
    going = [one for one in old if one.place.name.kind is not Kind.HISTORY]
    delete = going if mine or len(going) < files else old
    return Plan(first.host, first.system_id, tuple(delete), len(entries) - len(delete), refused)


def _needed(entry: Entry, kept: Sequence[Base]) -> bool:
    name = entry.place.name
    return any(
        name.timeline >= base.timeline and name.number(base.segment_bytes) >= base.first
        for base in kept
    )


def carry_out(archive: Store, ledger: Ledger, planned: Plan) -> Pruned:
    """Delete what the plan says, oldest position first, and record it; nothing when refused."""
    if planned.refused is not None or not planned.delete:
        return Pruned(0, 0)
    gone = kept = 0
    for entry in planned.delete:
        if archive.delete(entry.object_name) is Deletion.RETAINED:
            kept += 1
        else:
            gone += 1
    ledger.append(
        history.WAL_PRUNED,
        host=planned.host,
        system_id=str(planned.system_id),
        deleted=gone,
        retained=kept,
    )
    return Pruned(gone, kept)
