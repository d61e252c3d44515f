"""What the ledger says of drills: results, durations, counts; no name of a table, no row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from agent import clock
from agent.config.model import Configuration
from agent.errors import Art32Error, Code
from agent.ledger import Ledger, Record

if TYPE_CHECKING:
    from agent.backup.drill.rehearsal import Rehearsal

DRILLED = "drill-finished"
CHALLENGED = "challenge-made"
ANSWERED = "challenge-answered"
_CLOCKS_DIFFER = timedelta(minutes=10)


@dataclass(frozen=True)
class Drilled:
    """One drill of the ledger. `campaign` is the same for all parts of a set that were drilled
    together, `parts` how many these are. Without an `id` there was nothing to drill."""

    id: str
    host: str
    source: str
    at: datetime
    good: bool
    result: str
    seconds: float
    system_identifier: str | None
    campaign: str
    parts: int
    stored_at: datetime | None
    position: int | None


def facts(done: Rehearsal, result: str) -> dict[str, Any]:
    """Return what is recorded of a drill, and carried to another machine's ledger."""
    return {
        "run": done.number,
        "campaign": done.campaign,
        "parts": done.parts,
        "id": done.id,
        "host": done.host,
        "source": done.source,
        "kind": done.kind,
        "finished": clock.iso(clock.now()),
        "stored_at": clock.iso(done.backup.stored_at) if done.backup is not None else None,
        "result": result,
        "checks": len(done.checks),
        "failed": sum(check.good is False for check in done.checks),
        "unknown": sum(check.good is None for check in done.checks),
        "plain_bytes": done.plain_bytes,
        "seconds": round(done.total, 1),
        "loss_seconds": None if done.loss is None else round(done.loss),
        "system_identifier": done.system_identifier,
        "snapshot_lsn": done.snapshot_lsn,
        **{f"{phase}_seconds": round(value, 1) for phase, value in done.seconds.items()},
    }


def finished(ledger: Ledger, done: Rehearsal, result: str) -> list[str]:
    """Record a drill; return why not, when the ledger cannot be written."""
    done.recorded = facts(done, result)
    try:
        ledger.append(DRILLED, **done.recorded)
    except Art32Error as error:
        return [f"not recorded: {error.sentence}"]
    return []


def drills(records: Iterable[Record]) -> list[Drilled]:
    """Return the drills of a ledger, oldest first; raise LEDGER_BROKEN when a record of one lacks
    what it should have."""
    found = []
    for record in records:
        if record.event != DRILLED:
            continue
        try:
            found.append(_drilled(record.facts, record))
        except (KeyError, ValueError, TypeError) as error:
            raise Art32Error(
                Code.LEDGER_BROKEN,
                f"record {record.number} of the ledger lacks what its event should have",
                hint="somebody or something changed the file: compare it with a copy",
            ) from error
    return sorted(found, key=lambda one: one.at)


def _drilled(found: Mapping[str, Any], record: Record) -> Drilled:
    stored = found.get("stored_at")
    return Drilled(
        id=str(found["id"]),
        host=str(found["host"]),
        source=str(found["source"]),
        at=clock.parse_iso(str(found.get("finished") or record.time)),
        good=found["result"] == "ok",
        result=str(found["result"]),
        seconds=float(found["seconds"]),
        system_identifier=found.get("system_identifier"),
        campaign=str(found.get("campaign") or f"{record.number} {record.time}"),
        parts=int(found.get("parts") or 1),
        stored_at=clock.parse_iso(stored) if stored else None,
        position=position(found.get("snapshot_lsn")),
    )


def position(lsn: object) -> int | None:
    """Return a place in the write-ahead log, such as `16/B374D848`, as a number (pg_lsn)."""
    try:
        high, low = str(lsn).split("/")
        return (int(high, 16) << 32) + int(low, 16)
    except ValueError:
        return None


@dataclass(frozen=True)
class Attempt:
    """All parts of one source that were drilled together: good when all are there and good."""

    drills: tuple[Drilled, ...]

    @property
    def at(self) -> datetime:
        return self.drills[-1].at

    @property
    def good(self) -> bool:
        whole = len(self.drills) >= self.drills[-1].parts
        return whole and all(one.good for one in self.drills)

    @property
    def result(self) -> str:
        bad = [one.result for one in self.drills if not one.good]
        return bad[-1] if bad else "ok" if self.good else "unfinished"


def attempts(known: Iterable[Drilled]) -> dict[str, list[Attempt]]:
    """Return the attempts at each `HOST/SOURCE`, oldest first."""
    groups: dict[str, dict[str, list[Drilled]]] = {}
    for one in known:
        group = groups.setdefault(f"{one.host}/{one.source}", {})
        group.setdefault(one.campaign, []).append(one)
    return {
        name: sorted((Attempt(tuple(mine)) for mine in group.values()), key=lambda one: one.at)
        for name, group in groups.items()
    }


@dataclass(frozen=True)
class Standing:
    """How a source, or a recovery key, stands: when it last did well, and whether that is too
    long ago."""

    name: str
    last_good: datetime | None
    last_result: str | None
    overdue: bool


def _too_long_ago(last: datetime | None, now: datetime, limit: timedelta) -> bool:
    """Whether it was never, before the limit, or at a time that has not come yet: then a clock
    was wrong, and nobody knows when it was."""
    return last is None or not -_CLOCKS_DIFFER <= now - last <= limit


def standings(config: Configuration, records: list[Record], now: datetime) -> list[Standing]:
    """Return the standing of every source that was ever drilled or has checks configured, and has
    not ended (`retention.retired`)."""
    known = attempts(drills(records))
    names = {f"{check.host or config.host}/{check.source}" for check in config.drill.checks}
    limit = timedelta(hours=config.drill.within_hours)
    found = []
    for name in sorted({*names, *known} - set(config.retention.retired)):
        mine = known.get(name, [])
        last = max((one.at for one in mine if one.good), default=None)
        found.append(
            Standing(
                name=name,
                last_good=last,
                last_result=mine[-1].result if mine else None,
                overdue=_too_long_ago(last, now, limit) or not mine[-1].good,
            )
        )
    return found


def key_standings(config: Configuration, records: list[Record], now: datetime) -> list[Standing]:
    """Return the standing of every recovery key: when its holder last opened a challenge."""
    answers: dict[str, list[tuple[datetime, bool]]] = {}
    for record in records:
        if record.event == ANSWERED:
            moment = clock.parse_iso(record.time)
            answers.setdefault(str(record.facts["fingerprint"]), []).append(
                (moment, record.facts["result"] == "ok")
            )
    recipients = config.encryption.recipients if config.encryption else ()
    limit = timedelta(days=config.drill.key_within_days)
    found = []
    for recipient in recipients:
        mine = answers.get(recipient.fingerprint, [])
        last = max((moment for moment, good in mine if good), default=None)
        result = None if not mine else "ok" if mine[-1][1] else "wrong answer"
        found.append(
            Standing(
                f"key {recipient.name}",
                last,
                result,
                _too_long_ago(last, now, limit) or not mine[-1][1],
            )
        )
    return found
