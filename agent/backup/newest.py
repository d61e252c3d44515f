"""The newest backup of each source: whether it is recent and good, and what came after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from agent.backup.catalog import CODES, Unit
from agent.config.model import Configuration
from agent.errors import Art32Error, Code
from agent.store import Store

_NAMED = 3
_HINT = "on its host: systemctl list-timers 'art32-*', then art32 backup run"


@dataclass(frozen=True)
class Newest:
    """The newest unit with a signature of each source, and the newest good one if that is another.

    `lacking` are the sources without a recent good one: failures. `doubts` and `notes` tell of what
    came after the newest good one.
    """

    picked: list[Unit]
    lacking: list[tuple[str, Art32Error]]
    doubts: list[tuple[str, Art32Error]]
    notes: list[str]


def newest_of(
    config: Configuration, store: Store, units: Sequence[Unit], accepted: frozenset[str]
) -> Newest:
    """Return what is to be looked at of each source, and what is wrong before a look."""
    hours = config.retention.newest_within_hours
    limit = store.now() - timedelta(hours=hours)
    groups: dict[str, list[Unit]] = {}
    for unit in units:
        groups.setdefault(unit.source, []).append(unit)
    picked: list[Unit] = []
    lacking: list[tuple[str, Art32Error]] = []
    doubts: list[tuple[str, Art32Error]] = []
    notes: list[str] = []
    for source, mine in sorted(groups.items()):
        good = [number for number, unit in enumerate(mine) if unit.good(accepted)]
        signed = [number for number, unit in enumerate(mine) if unit.signed]
        picked += [mine[number] for number in sorted({*good[-1:], *signed[-1:]})]
        if f"{mine[0].host}/{source}" in config.retention.retired:
            pass  # it has ended: nothing new is to be waited for
        elif not good:
            sentence = f"`{source}` has no good backup"
            lacking.append((source, Art32Error(Code.NO_BACKUP, sentence, hint=_HINT)))
        elif mine[good[-1]].stored_at < limit:
            sentence = f"the newest good backup of `{source}` is older than {hours} hours"
            lacking.append((source, Art32Error(Code.STALE, sentence, hint=_HINT)))
        later = mine[good[-1] + 1 if good else 0 :]
        if (note := _later(source, later)) is None:
            continue
        code = next((_DOUBTFUL[one] for one in map(_condition, later) if one in _DOUBTFUL), None)
        if code is None:
            notes.append(note)
        else:
            doubts.append((source, Art32Error(code, note)))
    return Newest(picked, lacking, doubts, notes)


_DOUBTFUL = {
    "suspicious and not accepted": Code.SUSPICIOUS,
    **{state.value: code for state, code in CODES.items()},
}


def _condition(unit: Unit) -> str:
    if unit.broken_set:
        return "part of a set that is not whole"
    return "suspicious and not accepted" if unit.whole else unit.backups[-1].state.value


def _later(source: str, units: Sequence[Unit]) -> str | None:
    """Return a sentence for what came after the newest good backup, newest first."""
    found = [f"`{unit.backups[-1].id}` is {_condition(unit)}" for unit in reversed(units[-_NAMED:])]
    more = len(units) - len(found)
    if more > 0:
        found.append(f"{more} more")
    return f"after the newest good backup of `{source}`: {', '.join(found)}" if found else None
