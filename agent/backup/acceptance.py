"""A person's word that a suspicious backup is right, recorded in the local ledger."""

from __future__ import annotations

from agent.backup import catalog, history, identity, make
from agent.config.model import Configuration
from agent.errors import Art32Error, Code
from agent.store import open_store


def accept(config: Configuration, wanted: str) -> list[str]:
    """Record the acceptance and return the whole ids: that backup's, and its set's.

    The backup is looked for in the local ledger (a write-only host has nothing else), then in the
    store. Raise NO_BACKUP when there is no such backup, or nothing suspicious about it.
    """
    ledger = make.ledger_of(config)
    known = history.read(ledger.records())
    local = [one for one in known.backups if one.id.startswith(wanted)]
    if len(local) == 1 and len(wanted) >= catalog.SHORTEST_ID:
        suspicious = [one.id for one in known.parts(local[0]) if one.suspicious]
    else:
        suspicious = _suspicious_in_store(config, wanted)
    if not suspicious:
        raise Art32Error(
            Code.NO_BACKUP,
            f"there is nothing suspicious about backup `{wanted}`",
            hint="art32 backup list",
        )
    for found in suspicious:
        if found not in known.accepted:
            ledger.append(history.ACCEPTED, id=found)
    return suspicious


def _suspicious_in_store(config: Configuration, wanted: str) -> list[str]:
    with identity.reader(config) as reader:
        backups = catalog.read(open_store(config.store), reader, config.store.prefix)
    backup = catalog.find(backups, wanted)
    catalog.require_complete(backup)
    unit = next(one for one in catalog.units(backups) if backup in one.backups)
    return [one.id for one in unit.backups if one.manifest is not None and one.manifest.suspicious]
