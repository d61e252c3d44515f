"""`art32 drill run`: which backups, one after the other."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from agent import clock, output
from agent.backup import catalog, history, identity, make, restore
from agent.backup.catalog import Backup, Unit
from agent.backup.drill import record
from agent.backup.drill.engines import Check
from agent.backup.drill.record import Drilled
from agent.backup.drill.rehearsal import Occasion, Rehearsal, rehearse, worth_a_drill
from agent.config.model import Configuration
from agent.errors import Art32Error, Code
from agent.ledger import Ledger
from agent.progress import Progress
from agent.store import Store, open_store

_NEVER = datetime(1970, 1, 1, tzinfo=UTC)


def run(
    config: Configuration, sources: Sequence[str], *, host: str, pick: str, wanted: str | None
) -> list[Rehearsal]:
    """Drill the named sources of a host, or all that have backups, and return what came of each.

    `pick` is `newest`, or `rotating`: the good backup that was drilled longest ago or never. What
    is wrong with one source is in its result and recorded, and keeps no other from its turn. Raise
    NO_BACKUP when there is nothing to drill, and what a listing or the ledger raises.
    """
    store, ledger = open_store(config.store), make.ledger_of(config)
    begun = clock.monotonic()
    with identity.reader(config) as reader:
        backups = catalog.read(store, reader, config.store.prefix, host=host)
    finding = clock.monotonic() - begun
    records = list(ledger.records())
    known = record.drills(records)
    accepted = catalog.accepted_ids(backups, history.read(records).accepted)
    results: list[Rehearsal] = []
    for source in _names(config, host, sources, backups, known):
        one = _Source(config, store, ledger, host, source, backups, accepted, known)
        results += one.drill(pick, wanted, finding)
    return results


def _names(
    config: Configuration,
    host: str,
    sources: Sequence[str],
    backups: Sequence[Backup],
    known: Sequence[Drilled],
) -> list[str]:
    """Return the sources to drill: those named, or all of the host that have not ended: of which
    there are backups, of which something is expected, or which were drilled before."""
    there = {one.place.source for one in backups}
    expected = {one.source for one in config.drill.checks if (one.host or config.host) == host}
    expected |= {one.source for one in known if one.host == host}
    if sources:
        for name in sources:
            if name not in there | expected:
                raise Art32Error(
                    Code.NO_BACKUP,
                    f"host `{host}` has no backup of a source `{name}`",
                    hint="art32 backup list --all-hosts",
                )
        return list(dict.fromkeys(sources))
    ended = {name.partition("/")[2] for name in config.retention.retired if _of(name, host)}
    if names := sorted((there | expected) - ended):
        return names
    raise Art32Error(
        Code.NO_BACKUP,
        f"host `{host}` has no backup to drill",
        hint="art32 backup list --all-hosts",
    )


def _lacking(chosen: Sequence[Backup]) -> int:
    """Return how many parts of the set are not there."""
    entry = chosen[0].manifest.set if chosen[0].manifest is not None else None
    return 0 if entry is None else entry.size - len(chosen)


def _of(name: str, host: str) -> bool:
    return name.partition("/")[0] == host


class _Source:
    """One source of a host, and everything that is known of it."""

    def __init__(
        self,
        config: Configuration,
        store: Store,
        ledger: Ledger,
        host: str,
        source: str,
        backups: list[Backup],
        accepted: frozenset[str],
        known: Sequence[Drilled],
    ) -> None:
        self._config = config
        self._store = store
        self._ledger = ledger
        self._place = (host, source)
        self._backups = backups
        self._accepted = accepted
        mine = (one for one in backups if one.place_key == self._place)
        self._units = list(catalog.units(mine))
        self._good = [unit for unit in self._units if unit.good(accepted)]
        self._known = tuple(one for one in known if (one.host, one.source) == self._place)

    def drill(self, pick: str, wanted: str | None, finding: float) -> list[Rehearsal]:
        """Drill a backup of it, with all its parts; `finding` are the seconds that finding took."""
        campaign = secrets.token_hex(8)
        try:
            chosen = self._chosen(pick, wanted)
            parts = worth_a_drill(self._config, self._store, chosen)
        except Art32Error as error:
            failed = Rehearsal(*self._place, campaign, error=error)
            failed.warnings += record.finished(self._ledger, failed, failed.word)
            return [failed]
        number = len(parts) + _lacking(chosen)
        occasion = Occasion(campaign, number, self._following(chosen), self._known)
        fresh = self._fresh()
        results = []
        for backup in parts:
            with Progress(f"drilling {backup.place.source}", backup.stored_bytes) as progress:
                done = rehearse(
                    self._config,
                    self._store,
                    backup,
                    self._ledger,
                    occasion,
                    fresh=fresh,
                    progress=progress.add,
                )
            done.seconds = {"catalog": finding, **done.seconds}
            results.append(done)
        return results

    def _chosen(self, pick: str, wanted: str | None) -> tuple[Backup, ...]:
        host, source = self._place
        if pick == "rotating" and wanted is None:
            return self._rotating().backups
        chosen = restore.choose(
            self._backups, source=source, host=host, wanted=wanted, accepted=self._accepted
        )
        # one part that does well would stand for those of its set that do not
        whole = (unit.backups for unit in self._units if unit.whole)
        return next((parts for parts in whole if chosen[0] in parts), tuple(chosen))

    def _rotating(self) -> Unit:
        """Return the good backup whose last drill is longest ago; of those without, the oldest."""
        if not self._good:
            raise Art32Error(
                Code.NO_BACKUP,
                f"no good backup of source `{self._place[1]}` of host `{self._place[0]}`",
                hint="art32 backup list",
            )
        last = {one.id: one.at for one in self._known}
        return min(self._good, key=lambda unit: min(last.get(b.id, _NEVER) for b in unit.backups))

    def _following(self, chosen: Sequence[Backup]) -> Unit | None:
        """Return the next good backup after the chosen one."""
        mine = next(unit.order() for unit in self._units if chosen[0] in unit.backups)
        later = (unit for unit in self._good if unit.order() > mine)
        return min(later, key=Unit.order, default=None)

    def _fresh(self) -> Check | None:
        """Look whether the newest good backup is recent, whichever is drilled; not of a source that
        has ended."""
        if "/".join(self._place) in self._config.retention.retired:
            return None
        hours = self._config.retention.newest_within_hours
        if not self._good:
            return Check("freshness", False, "there is no good backup")
        age = self._store.now() - self._good[-1].stored_at
        shown = output.duration(max(age.total_seconds(), 0))
        return Check(
            "freshness",
            age <= timedelta(hours=hours),
            f"the newest good backup was stored {shown} ago; at most {hours} h are allowed",
        )
