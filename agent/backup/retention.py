"""Which backups to keep: a pure function of what is there, the policy and the store's clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from agent.backup.catalog import State, Unit
from agent.config.model import Retention

ABSENT_DAYS = 7
CLOCK_TOLERANCE = timedelta(minutes=5)


@dataclass(frozen=True)
class Decision:
    """What is to become of a unit, and why."""

    unit: Unit
    delete: bool
    reason: str


@dataclass(frozen=True)
class Plan:
    """Decisions for one source of one host.

    `refused` says why no backup may be deleted now; with `time_in_doubt` what is absent stays too.
    """

    host: str
    source: str
    decisions: tuple[Decision, ...]
    refused: str | None
    time_in_doubt: bool = False

    @property
    def deletions(self) -> tuple[Unit, ...]:
        """The units to delete; absent ones alone when the plan is refused."""
        if self.time_in_doubt:
            return ()
        return tuple(
            decision.unit
            for decision in self.decisions
            if decision.delete and (self.refused is None or _absent(decision.unit))
        )


def _absent(unit: Unit) -> bool:
    return all(backup.state is State.ABSENT for backup in unit.backups)


def plan(
    units: Sequence[Unit],
    policy: Retention,
    *,
    store_now: datetime,
    host_now: datetime,
    accepted: frozenset[str] = frozenset(),
    last_result: str | None = None,
    retired: bool = False,
) -> Plan:
    """Given the units of one source, decide which to delete.

    A unit goes when the store has held it longer than `policy.days` and at least
    `policy.minimum_backups` good ones stay. Absent ones go after a week. Suspect and pending ones
    never go. While the clocks disagree nothing goes; while one cannot be read, the newest good
    backup is too old, the last run did not succeed, or something is unfinished after it, absent
    ones alone. For a `retired` source, which will have no more backups, only age, the clocks and
    what cannot be read count.
    """
    ordered = sorted(units, key=Unit.order)
    if not ordered:
        return Plan("", "", (), None)
    good = [unit for unit in ordered if unit.good(accepted)]
    floor = set() if retired else {unit.key for unit in good[-policy.minimum_backups :]}
    limit = store_now - timedelta(days=policy.days)
    absent_limit = store_now - timedelta(days=ABSENT_DAYS)
    decisions = tuple(_decide(unit, floor, limit, absent_limit, policy) for unit in ordered)
    clocks = _doubt_about_time(ordered, store_now, host_now)
    refused = clocks or _unreadable(ordered)
    if refused is None and not retired:
        refused = _refusal(ordered, good, policy, store_now, last_result)
    return Plan(ordered[0].host, ordered[0].source, decisions, refused, clocks is not None)


def _decide(
    unit: Unit,
    floor: set[str],
    limit: datetime,
    absent_limit: datetime,
    policy: Retention,
) -> Decision:
    states = {backup.state for backup in unit.backups}
    if State.UNREADABLE in states:
        return Decision(unit, False, "unreadable: nobody knows what it is")
    if State.SUSPECT in states:
        return Decision(unit, False, "suspect: kept as evidence")
    if State.PENDING in states:
        return Decision(unit, False, "pending: its signer is not pinned")
    if _absent(unit):
        if unit.stored_at < absent_limit:
            return Decision(unit, True, f"absent for more than {ABSENT_DAYS} days")
        return Decision(unit, False, "absent: a run in progress or a recent failure")
    if unit.key in floor:
        return Decision(unit, False, f"one of the newest {policy.minimum_backups} good ones")
    if unit.stored_at >= limit:
        return Decision(unit, False, f"younger than {policy.days} days")
    return Decision(unit, True, f"older than {policy.days} days")


def _doubt_about_time(
    ordered: Sequence[Unit], store_now: datetime, host_now: datetime
) -> str | None:
    if abs(store_now - host_now) > CLOCK_TOLERANCE:
        return "this clock and the store's differ by more than five minutes"
    if ordered[-1].stored_at > store_now + CLOCK_TOLERANCE:
        return "the store holds a backup from the future: a clock is wrong"
    return None


def _unreadable(ordered: Sequence[Unit]) -> str | None:
    """It may be a good one, or a part of a set that is not broken at all."""
    for backup in (backup for unit in ordered for backup in unit.backups):
        if backup.state is State.UNREADABLE:
            return f"backup `{backup.id}` is unreadable: {backup.reason}"
    return None


def _refusal(
    ordered: Sequence[Unit],
    good: Sequence[Unit],
    policy: Retention,
    store_now: datetime,
    last_result: str | None,
) -> str | None:
    if not good:
        return "there is no good backup"
    if store_now - good[-1].stored_at > timedelta(hours=policy.newest_within_hours):
        return f"the newest good backup is older than {policy.newest_within_hours} hours"
    if last_result not in (None, "ok"):
        return f"the last run on this machine failed: {last_result}"
    later = [unit for unit in ordered if unit.stored_at > good[-1].stored_at and not unit.whole]
    if later:
        return "something newer than the newest good backup is not complete"
    return None
