"""What `backup list` and `backup show` say, from the store or, on a write-only host, the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agent import clock, output
from agent.backup import catalog, history, identity, make, missing, restore
from agent.backup.area import BACKUPS, LOGS, Area, within
from agent.backup.catalog import Backup
from agent.backup.history import History
from agent.config.model import Configuration
from agent.errors import Art32Error, Code, ExitStatus
from agent.ledger import Record
from agent.store import Store, open_store


def answer(
    config: Configuration,
    *,
    host: str | None = None,
    source: str | None = None,
    all_hosts: bool = False,
    area: Area = BACKUPS,
) -> output.Answer:
    """Return the list; from the local ledger, and it says so, when the store refuses to list.

    `config` is the whole configuration, whatever the area.

    Raise NO_BACKUP when a host or a source was named and there is nothing of it.
    """
    config = within(config, area)
    wanted = None if all_hosts else host or config.host
    records = list(make.ledger_of(config).records())  # first: what is made meanwhile is no loss
    local = history.read(records, area=area)
    store = open_store(config.store)
    try:
        with identity.reader(config) as reader:
            backups = catalog.read(store, reader, config.store.prefix, host=wanted, source=source)
            notes = reader.notes
    except Art32Error as error:
        # a single object that is refused makes its backup suspect: this was the listing
        if error.code is not Code.STORE_REFUSED or wanted not in (None, config.host):
            raise
        return _from_ledger(local, source, area)
    entries = _entries(backups, local)
    rows = [("stored at", "host", "source", "id", "state", "size")]
    rows += [
        (
            clock.iso(backup.stored_at),
            backup.place.host,
            backup.place.source,
            backup.id,
            _state(entry),
            output.size(backup.stored_bytes),
        )
        for backup, entry in zip(backups, entries, strict=True)
    ]
    warnings = [*notes, *_warnings(backups)]
    warnings += _absences(config, store, backups, records, host=wanted, source=source, area=area)
    if not backups and not warnings and (host or source):
        raise _nothing(source or host or "", area)
    return output.Answer(
        f"art32.{area.group}.list/1",
        {"from": "store", area.key: entries},
        output.table(rows) if backups else [f"there are no {area.things}"],
        warnings,
        ExitStatus.WARNINGS if warnings else ExitStatus.OK,
    )


def _nothing(name: str, area: Area) -> Art32Error:
    return Art32Error(
        Code.NO_BACKUP,
        f"there are no {area.things} of `{name}`",
        hint=f"{area.listing} --all-hosts",
    )


def _warnings(backups: Sequence[Backup]) -> list[str]:
    found = []
    for backup in backups:
        if backup.state in catalog.DOUBTFUL:
            found.append(f"`{backup.id}` is {backup.state.value}: {backup.reason}")
        found += [f"`{backup.id}`: {note}" for note in backup.notes]
    for unit in catalog.units(backups):
        if unit.broken_set:
            ids = ", ".join(f"`{backup.id}`" for backup in unit.backups)
            found.append(f"a set of `{unit.source}` is not whole: there is only {ids}")
    return found


def _absences(
    config: Configuration,
    store: Store,
    backups: Sequence[Backup],
    records: Sequence[Record],
    *,
    host: str | None,
    source: str | None,
    area: Area,
) -> list[str]:
    """Return a sentence for each backup that should be there, as far as anything remembers it."""
    if area == LOGS and config.logs.retention.max_bytes is not None:
        return []  # what is absent may have had to go, on any machine
    after = missing.since(config.retention, store.now())
    lost = missing.vanished(backups, records, after=after, host=host, source=source, area=area)
    found = [f"`{one.id}` of `{one.source}`: {missing.vanished_note(one)}" for one in lost]
    if source is None:  # the sources of a host share one sequence
        found += missing.gap_notes(backups, records, after=after, area=area)
    return found


def _state(entry: dict[str, Any]) -> str:
    parts = [entry["state"]]
    if entry["suspicious"]:
        parts.append("accepted" if entry["accepted"] else "suspicious")
    if entry["broken_set"]:
        parts.append("part of a broken set")
    return ", ".join(parts)


def _entries(backups: Sequence[Backup], local: History) -> list[dict[str, Any]]:
    """Return what programs read of each backup, with what its own host accepted."""
    accepted = catalog.accepted_by_host(backups, local.accepted)
    broken = {
        backup.place: unit.broken_set for unit in catalog.units(backups) for backup in unit.backups
    }
    return [_entry(one, accepted[one.place.host], broken[one.place]) for one in backups]


def _entry(backup: Backup, accepted: frozenset[str], broken: bool) -> dict[str, Any]:
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
        "member": found.member if found else None,
        "set": found.set.model_dump() if found and found.set else None,
        "broken_set": broken,
        "suspicious": list(found.suspicious) if found else [],
        "accepted": backup.id in accepted,
        "notes": list(backup.notes),
    }


def _from_ledger(known: History, source: str | None, area: Area) -> output.Answer:
    rows = [("finished", "source", "id", "state", "size")]
    entries = []
    for one in known.backups:
        if source not in (None, one.source) or one.id in known.deleted:
            continue
        state = "suspicious" if one.suspicious and one.id not in known.accepted else "sent"
        rows.append((one.finished, one.source, one.id, state, output.size(one.stored_bytes)))
        entries.append({**vars(one), "state": state})
    if source is not None and not entries:
        raise _nothing(source, area)
    return output.Answer(
        f"art32.{area.group}.list/1",
        {"from": "local ledger", area.key: entries},
        [
            "from the local ledger: this host may write to the store, not list it",
            *(output.table(rows) if entries else [f"there are no {area.things}"]),
        ],
    )


def show(
    config: Configuration, wanted: str, *, host: str, details: bool, area: Area = BACKUPS
) -> output.Answer:
    """Return one backup, its manifest, and with `details` what only a private key opens."""
    config = within(config, area)
    store = open_store(config.store)
    with identity.reader(config) as reader:
        backups = catalog.read(store, reader, config.store.prefix, host=host)
    backup = catalog.find(backups, wanted)
    local = history.read(make.ledger_of(config).records(), area=area)
    data = _entries(backups, local)[backups.index(backup)]
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
    return output.Answer(f"art32.{area.group}.show/1", data, lines)
