"""What health asks of the backups: the ledger's word, without the store and without a key."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from agent import clock
from agent.backup import history, make
from agent.backup.drill import record
from agent.backup.drill.record import Standing
from agent.config.model import Configuration
from agent.config.sources import SCHEDULES


@dataclass(frozen=True)
class LastBackup:
    """The newest good backup of a configured source, a set with all its parts; `finished` is when
    its last part was; `last_result` is that of its last run,
    `limit_hours` how old it may be by the source's own schedule, None for a daily one."""

    source: str
    finished: datetime | None
    last_result: str
    limit_hours: float | None = None


def last_backups(config: Configuration) -> list[LastBackup]:
    """Return one for each configured source; raise LEDGER_BROKEN."""
    known = history.read(make.ledger_of(config).records())
    found = []
    for source in config.sources:
        moments = [
            max(clock.parse_iso(part.finished) for part in parts)
            for parts in known.good_backups(source.name)
        ]
        found.append(
            LastBackup(
                source.name,
                max(moments, default=None),
                known.last_result.get(source.name, "ok"),
                SCHEDULES[source.every][2] if source.every in SCHEDULES else None,
            )
        )
    return found


def drills(config: Configuration, now: datetime) -> list[Standing]:
    """Return how drills stand on a machine that does some, nothing on any other."""
    records = list(make.ledger_of(config).records())
    if not config.drill.checks and not record.drills(records):
        return []
    return record.standings(config, records, now) + record.key_standings(config, records, now)
