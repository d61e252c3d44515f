"""`art32 drill run`: which backups, one after the other, and what to say of them."""

from __future__ import annotations

from collections.abc import Sequence

from agent import clock, output
from agent.backup import catalog, history, identity, make, restore
from agent.backup.catalog import Backup, Unit
from agent.backup.drill import record
from agent.backup.drill.record import Drilled
from agent.backup.drill.rehearsal import Rehearsal, rehearse, worth_a_drill
from agent.config.model import Configuration
from agent.errors import Art32Error, Code, ExitStatus
from agent.ledger import Ledger
from agent.progress import Progress
from agent.store import Store, open_store

PICKS = ("newest", "rotating")


def run(
    config: Configuration, sources: Sequence[str], *, host: str, pick: str, wanted: str | None
) -> output.Answer:
    """Drill the named sources of a host, or all that have backups, and return what came of it.

    `pick` is `newest`, or `rotating`: the good backup that was drilled longest ago or never.
    Raise NO_BACKUP when there is nothing to drill, and what a listing or the ledger raises.
    """
    store, ledger = open_store(config.store), make.ledger_of(config)
    begun = clock.monotonic()
    with identity.reader(config) as reader:
        backups = catalog.read(store, reader, config.store.prefix, host=host)
    finding = clock.monotonic() - begun
    records = list(ledger.records())
    known = record.drills(records)
    names = list(dict.fromkeys(sources)) or sorted({one.place.source for one in backups})
    if not names:
        raise Art32Error(
            Code.NO_BACKUP,
            f"host `{host}` has no backup to drill",
            hint="art32 backup list --all-hosts",
        )
    accepted = catalog.accepted_ids(backups, history.read(records).accepted)
    results: list[Rehearsal] = []
    for source in names:
        if pick == "rotating" and wanted is None:
            chosen = list(_rotating(backups, (host, source), accepted, known).backups)
        else:
            chosen = restore.choose(
                backups, source=source, host=host, wanted=wanted, accepted=accepted
            )
        results += [
            _one(config, store, ledger, backup, known, finding)
            for backup in worth_a_drill(config, store, tuple(chosen))
        ]
    return _answer(results)


def _one(
    config: Configuration,
    store: Store,
    ledger: Ledger,
    backup: Backup,
    known: Sequence[Drilled],
    finding: float,
) -> Rehearsal:
    mine = [one for one in known if (one.host, one.source) == backup.place_key and one.good]
    last = mine[-1].system_identifier if mine else None
    with Progress(f"drilling {backup.place.source}", backup.stored_bytes) as progress:
        done = rehearse(config, store, backup, ledger, last_identifier=last, progress=progress.add)
    done.seconds = {"catalog": finding, **done.seconds}
    return done


def _rotating(
    backups: Sequence[Backup],
    place: tuple[str, str],
    accepted: frozenset[str],
    known: Sequence[Drilled],
) -> Unit:
    """Return the good backup whose last drill is longest ago; of those without, the oldest."""
    last = {one.id: one.at for one in known}
    units = catalog.units(one for one in backups if one.place_key == place)
    good = [unit for unit in units if unit.good(accepted)]
    if not good:
        raise Art32Error(
            Code.NO_BACKUP,
            f"no good backup of source `{place[1]}` of host `{place[0]}`",
            hint="art32 backup list",
        )
    never = clock.parse_iso("1970-01-01T00:00:00Z")
    return min(good, key=lambda unit: min(last.get(one.id, never) for one in unit.backups))


def _answer(results: Sequence[Rehearsal]) -> output.Answer:
    lines: list[str] = []
    warnings: list[str] = []
    for done in results:
        lines += _lines(done)
        name = f"{done.backup.place.source} {done.backup.id}"
        warnings += [f"{name}: {warning}" for warning in done.warnings]
        warnings += [
            f"{name}: {check.name} could not be looked at: {check.detail}"
            for check in done.checks
            if check.good is None
        ]
    failed = [done for done in results if not done.good]
    status = (
        ExitStatus.VERIFICATION if failed else ExitStatus.WARNINGS if warnings else ExitStatus.OK
    )
    if failed:
        lines.append("runbook: drill-failed")
    summary = f"{len(results) - len(failed)} of {len(results)} drills passed"
    lines.append(summary)
    data = [_data(done) for done in results]
    return output.Answer("art32.drill/1", data, lines, warnings, status, summary)


def _lines(done: Rehearsal) -> list[str]:
    word = "passed" if done.good else "FAILED"
    phases = ", ".join(f"{phase} {output.duration(value)}" for phase, value in done.seconds.items())
    what = f"{done.backup.place.host}/{done.backup.place.source} {done.backup.id}"
    lines = [
        f"{what} of {clock.iso(done.backup.stored_at)}: {word} in {output.duration(done.total)}",
        f"  {phases}",
    ]
    marks = {True: "ok   ", False: "FAIL ", None: "?    "}
    lines += [f"  {marks[check.good]}{check.name}: {check.detail}" for check in done.checks]
    if done.error is not None:
        lines.append(f"  FAIL {done.error.sentence}")
        if done.error.hint:
            lines.append(f"       hint: {done.error.hint}")
    return lines


def _data(done: Rehearsal) -> dict[str, object]:
    return {
        "host": done.backup.place.host,
        "source": done.backup.place.source,
        "id": done.backup.id,
        "stored_at": clock.iso(done.backup.stored_at),
        "passed": done.good,
        "seconds": {phase: round(value, 2) for phase, value in done.seconds.items()},
        "plain_bytes": done.plain_bytes,
        "loss_seconds": None if done.loss is None else round(done.loss),
        "checks": [vars(check) for check in done.checks],
        "error": done.error.code.label if done.error else None,
    }
