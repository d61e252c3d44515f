"""Drills that another machine has made, taken into this machine's ledger.

A restorer may exist for an hour, and its ledger ends with it. What it printed is carried by a
person, who vouches for it: nothing in it is signed. What can be checked here is: its shape, that
its time has come, and that such a backup stands in the store.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from agent import clock
from agent.backup import catalog, identity, make
from agent.backup.catalog import State
from agent.backup.drill import record
from agent.backup.drill.told import RECORD
from agent.config.model import Configuration
from agent.errors import Art32Error, Code
from agent.store import open_store

MOST = 4 << 20
_CLOCKS_DIFFER = timedelta(minutes=10)
_LABELS = frozenset(code.label for code in Code) | {"ok"}
_Number = Annotated[float, Field(ge=0, lt=1e15)]
_Count = Annotated[int, Field(ge=0, lt=10**15)]
_Word = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,62}$")]
_Token = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
_Moment = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]


class Carried(BaseModel):
    """The line of one drill, as `record.facts` has made it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    run: _Token
    campaign: _Token
    parts: Annotated[int, Field(ge=1, le=10_000)]
    id: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$|^$")]
    host: _Word
    source: _Word
    kind: Annotated[str, Field(pattern=r"^[a-z]{1,20}$")] | None = None
    finished: _Moment
    stored_at: _Moment | None
    result: str
    checks: _Count
    failed: _Count
    unknown: _Count
    plain_bytes: _Count
    seconds: _Number
    loss_seconds: Annotated[int, Field(lt=10**12, gt=-(10**12))] | None
    system_identifier: Annotated[str, Field(pattern=r"^[0-9]{1,20}$")] | None
    snapshot_lsn: Annotated[str, Field(pattern=r"^[0-9A-F]{1,8}/[0-9A-F]{1,8}$")] | None
    catalog_seconds: _Number | None = None
    engine_seconds: _Number | None = None
    restore_seconds: _Number | None = None
    checks_seconds: _Number | None = None
    taken: Literal[True] = True

    @model_validator(mode="after")
    def _sane(self) -> Carried:
        if self.result not in _LABELS:
            raise ValueError("its result is no word of art32")
        if self.result == "ok" and (self.failed or not self.id):
            raise ValueError("it did well and failed")
        if clock.parse_iso(self.finished) > clock.now() + _CLOCKS_DIFFER:
            raise ValueError("its time is to come: a clock is wrong")
        return self


@dataclass(frozen=True)
class Taken:
    """A record, and whether this ledger had it already."""

    facts: dict[str, Any]
    known: bool


def take(config: Configuration, text: str) -> list[Taken]:
    """Record the drills of which a text has lines; a line that is here already is left out.

    Raise USAGE when there is no such line or one is none, NO_BACKUP when a backup that did well is
    not complete in the store, and what the listing and the ledger raise; then nothing is recorded.
    """
    found = [_parsed(line, number) for number, line in enumerate(text.splitlines(), 1)]
    carried = [one for one in found if one is not None]
    if not carried:
        raise Art32Error(
            Code.USAGE,
            "there is no record of a drill in it",
            hint=f"give it what `art32 drill run --records` has printed: lines `{RECORD}...`",
        )
    ledger = make.ledger_of(config)
    known = {str(one.facts.get("run")) for one in ledger.records() if one.event == record.DRILLED}
    _require_backups(config, [one for one in carried if one.run not in known])
    results = []
    for one in carried:
        facts = one.model_dump(exclude_none=True)
        results.append(Taken(facts, one.run in known))
        if one.run not in known:
            ledger.append(record.DRILLED, **facts)
            known.add(one.run)
    return results


def _parsed(line: str, number: int) -> Carried | None:
    _, mark, document = line.partition(RECORD)
    if not mark:
        return None
    try:
        return Carried.model_validate(json.loads(document), strict=False)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"] if part in Carried.model_fields)
        reason = f"{where}: {first['msg']}" if where else first["msg"]
    except ValueError:
        reason = "it is cut off, or broken over several lines"
    raise Art32Error(
        Code.USAGE,
        f"line {number} is no record of a drill: {reason}",
        hint="carry the whole line as it was printed",
    )


def _require_backups(config: Configuration, carried: list[Carried]) -> None:
    store = open_store(config.store)
    there: set[str] = set()
    for host in sorted({one.host for one in carried if one.id}):
        with identity.reader(config) as reader:
            backups = catalog.read(store, reader, config.store.prefix, host=host)
        there |= {
            f"{host}/{one.place.source}/{one.id}" for one in backups if one.state is State.COMPLETE
        }
    for one in carried:
        if one.id and one.result == "ok" and f"{one.host}/{one.source}/{one.id}" not in there:
            raise Art32Error(
                Code.NO_BACKUP,
                f"the store has no complete backup `{one.id}` of `{one.host}/{one.source}`, of "
                "which a record says that it was restored",
                hint=f"art32 backup list --host {one.host}",
            )
