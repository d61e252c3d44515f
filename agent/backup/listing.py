"""What `backup list` and `backup show` say, from the store or, on a write-only host, the ledger."""

from __future__ import annotations

from typing import Any

from agent import clock, output
from agent.backup import catalog, history, identity, make, restore
from agent.backup.catalog import Backup, State
from agent.config.model import Configuration
from agent.errors import Art32Error, Code, ExitStatus
from agent.store import open_store


def answer(
    config: Configuration, *, host: str | None = None, source: str | None = None
) -> output.Answer:
    """Return the list; from the local ledger, and it says so, when the store refuses to list."""
    try:
        with identity.reader(config) as reader:
            backups = catalog.read(
                open_store(config.store), reader, config.store.prefix, host=host, source=source
            )
    except Art32Error as error:
        if error.code is not Code.STORE_REFUSED or host not in (None, config.host):
            raise
        return _from_ledger(config, source)
    local = history.read(make.ledger_of(config).records())
    accepted = catalog.accepted_ids(backups, local.accepted)
    rows = [("stored at", "host", "source", "id", "state", "size")]
    warnings = []
    for backup in backups:
        state = _state(backup, accepted)
        rows.append(
            (
                clock.iso(backup.stored_at),
                backup.place.host,
                backup.place.source,
                backup.id,
                state,
                output.size(backup.stored_bytes),
            )
        )
        if backup.state in (State.SUSPECT, State.PENDING):
            warnings.append(f"`{backup.id}` is {backup.state.value}: {backup.reason}")
        warnings += [f"`{backup.id}`: {note}" for note in backup.notes]
    return output.Answer(
        "art32.backup.list/1",
        {"from": "store", "backups": [_entry(backup, accepted) for backup in backups]},
        output.table(rows) if backups else ["there are no backups"],
        warnings,
        ExitStatus.WARNINGS if warnings else ExitStatus.OK,
    )


def _state(backup: Backup, accepted: frozenset[str]) -> str:
    if backup.manifest is not None and backup.manifest.suspicious:
        return "complete, accepted" if backup.id in accepted else "complete, suspicious"
    return backup.state.value


def _entry(backup: Backup, accepted: frozenset[str]) -> dict[str, Any]:
    found = backup.manifest
    until = backup.retained_until
    return {
        "id": backup.id,
        "host": backup.place.host,
        "source": backup.place.source,
        "state": backup.state.value,
        "reason": backup.reason or None,
        "stored_at": clock.iso(backup.stored_at),
        "stored_bytes": backup.stored_bytes,
        "retained_until": clock.iso(until) if until else None,
        "sequence": found.sequence if found else None,
        "set": found.set.model_dump() if found and found.set else None,
        "suspicious": list(found.suspicious) if found else [],
        "accepted": backup.id in accepted,
        "notes": list(backup.notes),
    }


def _from_ledger(config: Configuration, source: str | None) -> output.Answer:
    known = history.read(make.ledger_of(config).records())
    rows = [("finished", "source", "id", "state", "size")]
    entries = []
    for one in known.backups:
        if source not in (None, one.source) or one.id in known.deleted:
            continue
        state = "suspicious" if one.suspicious and one.id not in known.accepted else "sent"
        rows.append((one.finished, one.source, one.id, state, output.size(one.stored_bytes)))
        entries.append({**vars(one), "state": state})
    return output.Answer(
        "art32.backup.list/1",
        {"from": "local ledger", "backups": entries},
        [
            "from the local ledger: this host may write to the store, not list it",
            *(output.table(rows) if entries else ["there are no backups"]),
        ],
    )


def show(config: Configuration, wanted: str, *, host: str, details: bool) -> output.Answer:
    """Return one backup, its manifest, and with `details` what only a private key opens."""
    store = open_store(config.store)
    with identity.reader(config) as reader:
        backups = catalog.read(store, reader, config.store.prefix, host=host)
    backup = catalog.find(backups, wanted)
    local = history.read(make.ledger_of(config).records())
    accepted = catalog.accepted_ids(backups, local.accepted)
    data: dict[str, Any] = _entry(backup, accepted)
    lines = [f"{key:15} {value}" for key, value in data.items() if value not in (None, [], False)]
    if backup.manifest is not None:
        data["manifest"] = backup.manifest.model_dump(mode="json")
        lines += [
            f"{'path':15} {backup.place.path}",
            f"{'signer':15} {backup.manifest.signer}",
            *(f"{'recipient':15} {one}" for one in backup.manifest.recipients),
            f"{'objects':15} {len(backup.manifest.objects)}",
        ]
    if details:
        with restore.opened(config, store, backup) as (ready, _):
            found = ready.details.model_dump(mode="json")
        data["details"] = found
        lines += [f"{'kind':15} {found['kind']}"]
        lines += [f"{key:15} {value}" for key, value in sorted(found["facts"].items())]
        lines += [f"{'rows':15} {name} {count}" for name, count in (found["rows"] or {}).items()]
    return output.Answer("art32.backup.show/1", data, lines)
