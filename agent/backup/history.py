"""What the local ledger knows of this host's backups: the only memory a write-only host has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from agent.backup.area import AREAS, BACKUPS, Area
from agent.errors import Art32Error, Code
from agent.ledger import GENESIS, Record

RUN_STARTED = "backup-run-started"
RUN_FINISHED = "backup-run-finished"
SIGNING = BACKUPS.event("signing")
COMPLETE = BACKUPS.event("complete")
ACCEPTED = "backup-accepted"
DELETED = "backup-deleted"
PRUNED = "prune-finished"
WAL_PRUNED = "wal-prune-finished"
UNFINISHED = "unfinished"
VERIFIED = "verify-finished"
RESTORED = "restore-finished"
_SIGNING = frozenset(area.event("signing") for area in AREAS)


@dataclass(frozen=True)
class Known:
    """A backup that this host made: sizes in bytes, times in UTC text."""

    id: str
    source: str
    path: str
    member: str | None
    set: str | None
    finished: str
    plain_bytes: int
    stored_bytes: int
    suspicious: bool
    set_size: int | None = None


@dataclass
class History:
    """The ledger, read once: `backups` and `ordinal` of one area, the rest of all."""

    backups: list[Known] = field(default_factory=list)
    accepted: set[str] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)
    last_result: dict[str, str] = field(default_factory=dict)
    sequence: int = 0
    ordinal: int = 0
    previous: str = GENESIS

    def baseline(self, source: str, member: str | None) -> Known | None:
        """Return the last good backup to compare a new one's size with."""
        return next(
            (
                known
                for known in reversed(self.backups)
                if (known.source, known.member) == (source, member) and self._good(known)
            ),
            None,
        )

    def last_members(self, source: str) -> frozenset[str | None]:
        """Return the tags of the last good whole set of a source; empty when there is none."""
        for known in reversed(self.backups):
            if known.source == source and known.set is not None and self._good(known):
                parts = self.parts(known)
                if len(parts) == known.set_size:
                    return frozenset(part.member for part in parts)
        return frozenset()

    def good_backups(self, source: str) -> list[list[Known]]:
        """Return the backups of a source that count, in the order of their first parts, each with
        all its parts: whole, not deleted, every suspicious part accepted."""
        found: dict[str, dict[str, Known]] = {}
        for one in self.backups:
            if one.source == source:
                found.setdefault(one.set or one.id, {})[one.id] = one
        return [
            list(parts.values())
            for parts in found.values()
            if all(
                self._good(one)
                and one.id not in self.deleted
                and (one.set is None or one.set_size == len(parts))
                for one in parts.values()
            )
        ]

    def parts(self, known: Known) -> list[Known]:
        """Return what was made together with a backup, itself included."""
        if known.set is None:
            return [known]
        return [one for one in self.backups if one.set == known.set]

    def _good(self, known: Known) -> bool:
        return not known.suspicious or known.id in self.accepted


def ordinal(facts: Mapping[str, Any]) -> int:
    """Return the how-manieth of its area a signed manifest is: the sequence, before areas were."""
    return int(facts.get("ordinal") or facts["sequence"])


def read(
    records: Iterable[Record], fingerprint: str | None = None, area: Area = BACKUPS
) -> History:
    """Given ledger records, return the history of an area.

    Sequences count for that signing key alone, and across areas; ordinals within the area.

    Raise LEDGER_BROKEN when a record lacks what its event has.
    """
    history = History()
    for record in records:
        try:
            _add(history, record, fingerprint, area)
        except (KeyError, ValueError, TypeError) as error:
            raise Art32Error(
                Code.LEDGER_BROKEN,
                f"record {record.number} of the ledger lacks what its event should have",
                hint="somebody or something changed the file: compare it with a copy",
            ) from error
    return history


def _add(history: History, record: Record, fingerprint: str | None, area: Area) -> None:
    facts = record.facts
    if record.event in _SIGNING:
        if facts.get("signer") == fingerprint:
            history.sequence = max(history.sequence, int(facts["sequence"]))
            history.previous = str(facts["manifest"])
            if record.event == area.event("signing"):
                history.ordinal = max(history.ordinal, ordinal(facts))
    elif record.event == area.event("complete"):
        history.backups.append(
            Known(
                id=str(facts["id"]),
                source=str(facts["source"]),
                path=str(facts["path"]),
                member=facts.get("member"),
                set=facts.get("set"),
                finished=record.time,
                plain_bytes=int(facts["plain_bytes"]),
                stored_bytes=int(facts["stored_bytes"]),
                suspicious=bool(facts.get("suspicious")),
                set_size=facts.get("set_size"),
            )
        )
    elif record.event == ACCEPTED:
        history.accepted.add(str(facts["id"]))
    elif record.event == area.event("deleted"):
        history.deleted.add(str(facts["id"]))
    elif record.event == RUN_STARTED:
        history.last_result[str(facts["source"])] = UNFINISHED
    elif record.event == RUN_FINISHED:
        history.last_result[str(facts["source"])] = str(facts["result"])
