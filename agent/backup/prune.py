"""Deleting backups: planned first, then done, every version of every object, and recorded.

The signature goes first: from then on the backup is absent and nobody restores half of it. The key
goes second: from then on it cannot be read. A lock turns a deletion into a state, not an error.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from agent import clock
from agent.backup import layout, retention
from agent.backup.area import BACKUPS, Area
from agent.backup.catalog import Backup, Unit, accepted_ids, units
from agent.backup.history import History
from agent.backup.retention import Plan
from agent.config.model import Retention
from agent.errors import Art32Error, Code
from agent.ledger import Ledger
from agent.store import Deletion, Store

_FIRST = (layout.SIGNATURE, layout.KEY)


@dataclass(frozen=True)
class Deleted:
    """What became of a backup that was to be deleted: objects gone, objects that a lock keeps."""

    id: str
    source: str
    deleted: int
    retained: int
    retained_until: datetime | None

    @property
    def shredded(self) -> bool:
        """Whether no version of anything is left."""
        return self.retained == 0


def plan(
    backups: Iterable[Backup],
    policy: Retention,
    store: Store,
    local: History,
    *,
    this_host: str,
    retired: Collection[tuple[str, str]] = (),
) -> list[Plan]:
    """Return a plan for each host and source in the store.

    `local` is what the ledger of `this_host` knows: the outcome of the last run is its own alone.
    `retired` names hosts with sources of which a person says that they have ended.
    """
    found = list(backups)
    accepted = {
        host: accepted_ids((one for one in found if one.place.host == host), local.accepted)
        for host in {one.place.host for one in found}
    }  # a host accepts its own backups alone
    groups: dict[tuple[str, str], list[Unit]] = {}
    for unit in units(found):
        groups.setdefault((unit.host, unit.source), []).append(unit)
    store_now, host_now = store.now(), clock.now()
    return [
        retention.plan(
            group,
            policy,
            store_now=store_now,
            host_now=host_now,
            accepted=accepted[host],
            last_result=local.last_result.get(source) if host == this_host else None,
            retired=(host, source) in retired,
        )
        for (host, source), group in sorted(groups.items())
    ]


def delete(
    store: Store, ledger: Ledger, backup: Backup, *, reason: str, area: Area = BACKUPS
) -> Deleted:
    """Delete one backup, record it, and return what is left of it.

    When a lock keeps its signature nothing else is touched: a backup is not taken apart.
    """
    ledger.append(
        area.event("deletion-started"), id=backup.id, source=backup.place.source, reason=reason
    )
    names = {item.name for item in backup.objects}
    first = [backup.place.name(name) for name in _FIRST if backup.place.name(name) in names]
    gone = kept = 0
    for name in [*first, *sorted(names - set(first))]:
        if store.delete(name) is Deletion.RETAINED:
            kept += 1
            if name in first:
                kept = len(names) - gone
                break
        else:
            gone += 1
    result = Deleted(backup.id, backup.place.source, gone, kept, backup.retained_until)
    ledger.append(
        area.event("deleted" if kept == 0 else "retained"),
        id=backup.id,
        source=backup.place.source,
        reason=reason,
        objects_deleted=gone,
        objects_retained=kept,
    )
    return result


def whole_sets(backups: Iterable[Backup], chosen: Iterable[Backup]) -> list[Backup]:
    """Return the chosen backups, each once, with all other parts of their sets."""
    wanted = {backup.place for backup in chosen}
    return [
        backup
        for unit in units(backups)
        if any(part.place in wanted for part in unit.backups)
        for backup in unit.backups
    ]


def require_floor(
    backups: Iterable[Backup],
    chosen: Sequence[Backup],
    policy: Retention,
    accepted: frozenset[str],
) -> None:
    """Raise PRUNE_REFUSED when deleting the chosen ones would leave too few good backups."""
    doomed = {backup.id for backup in chosen}
    good = [unit for unit in units(backups) if unit.good(accepted)]
    for key in {backup.place_key for backup in chosen}:
        mine = [unit for unit in good if (unit.host, unit.source) == key]
        left = [unit for unit in mine if not doomed & {backup.id for backup in unit.backups}]
        if len(left) < len(mine) and len(left) < policy.minimum_backups:
            raise Art32Error(
                Code.PRUNE_REFUSED,
                f"only {len(left)} good backups of `{key[1]}` would be left",
                hint="lower `retention.minimum_backups`, or pass --below-floor and mean it",
            )
