"""What the ledger says of drills: results, durations, counts; no name of a table, no row."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from agent import clock
from agent.config.model import Configuration
from agent.errors import Art32Error
from agent.ledger import Ledger, Record

if TYPE_CHECKING:
    from agent.backup.drill.rehearsal import Rehearsal

DRILLED = "drill-finished"
CHALLENGED = "challenge-made"
ANSWERED = "challenge-answered"
_CLOCKS_DIFFER = timedelta(minutes=10)


@dataclass(frozen=True)
class Drilled:
    """One drill of the ledger."""

    id: str
    host: str
    source: str
    at: datetime
    good: bool
    result: str
    seconds: float
    system_identifier: str | None


def finished(ledger: Ledger, number: str, done: Rehearsal, result: str) -> list[str]:
    """Record a drill; return why not, when the ledger cannot be written."""
    try:
        ledger.append(
            DRILLED,
            run=number,
            id=done.backup.id,
            host=done.backup.place.host,
            source=done.backup.place.source,
            result=result,
            checks=len(done.checks),
            failed=sum(check.good is False for check in done.checks),
            unknown=sum(check.good is None for check in done.checks),
            plain_bytes=done.plain_bytes,
            seconds=round(done.total, 1),
            loss_seconds=None if done.loss is None else round(done.loss),
            system_identifier=done.system_identifier,
            **{f"{phase}_seconds": round(value, 1) for phase, value in done.seconds.items()},
        )
    except Art32Error as error:
        return [f"not recorded: {error.sentence}"]
    return []


def drills(records: Iterable[Record]) -> list[Drilled]:
    """Return the drills of a ledger, oldest first."""
    return [
        Drilled(
            id=str(record.facts["id"]),
            host=str(record.facts["host"]),
            source=str(record.facts["source"]),
            at=clock.parse_iso(record.time),
            good=record.facts["result"] == "ok",
            result=str(record.facts["result"]),
            seconds=float(record.facts["seconds"]),
            system_identifier=record.facts.get("system_identifier"),
        )
        for record in records
        if record.event == DRILLED
    ]


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
    """Return the standing of every source that was ever drilled or has checks configured."""
    known = drills(records)
    names = {f"{one.host}/{one.source}" for one in known}
    names |= {f"{check.host or config.host}/{check.source}" for check in config.drill.checks}
    limit = timedelta(hours=config.drill.within_hours)
    found = []
    for name in sorted(names):
        mine = [one for one in known if f"{one.host}/{one.source}" == name]
        good = [one.at for one in mine if one.good]
        last = max(good, default=None)
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
