"""The SQL backups that are newer than a snapshot, and what lies between."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from agent.backup import catalog, history, identity, make
from agent.config.model import Configuration
from agent.errors import Art32Error
from agent.store import open_store


@dataclass(frozen=True)
class SqlBackup:
    """The newest good backup of a source. `parts` is more than 1 for a set of databases."""

    host: str
    source: str
    id: str
    stored_at: datetime
    parts: int


def newest(config: Configuration, host: str) -> list[SqlBackup]:
    """Return the newest good backup of each source of a host; raise what a listing raises."""
    store = open_store(config.store)
    with identity.reader(config) as reader:
        backups = catalog.read(store, reader, config.store.prefix, host=host)
    accepted = catalog.accepted_ids(
        backups, history.read(make.ledger_of(config).records()).accepted
    )
    found: dict[str, SqlBackup] = {}
    for unit in catalog.units(backups):
        known = found.get(unit.source)
        if unit.good(accepted) and (known is None or known.stored_at < unit.stored_at):
            first = unit.backups[0]
            found[unit.source] = SqlBackup(
                host, unit.source, first.id, unit.stored_at, len(unit.backups)
            )
    return [found[name] for name in sorted(found)]


def listed(config: Configuration | None, host: str) -> tuple[list[SqlBackup] | None, list[str]]:
    """Return the same, or None with the reason when this machine cannot list the store."""
    if config is None:
        return None, []
    try:
        return newest(config, host), []
    except Art32Error as error:
        return None, [f"the SQL backups could not be listed here: {error.sentence}"]
