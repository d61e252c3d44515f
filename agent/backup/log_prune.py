"""Retention of logs in the store: by age and by size, oldest first, planned before it is done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from agent import clock
from agent.backup import catalog, identity, make, prune, retention
from agent.backup.area import LOGS, within
from agent.backup.catalog import Backup, State
from agent.backup.prune import Deleted
from agent.config.model import Configuration
from agent.store import Store, open_store


@dataclass(frozen=True)
class Decision:
    """What is to become of a segment, and why."""

    segment: Backup
    delete: bool
    reason: str

    @property
    def name(self) -> str:
        """Its host and its log."""
        return f"{self.segment.place.host}/{self.segment.place.source}"


@dataclass(frozen=True)
class Plan:
    """Decisions in the order of hosts, logs and age; `refused` says why none is carried out."""

    config: Configuration
    store: Store
    decisions: tuple[Decision, ...]
    refused: str | None

    @property
    def deletions(self) -> list[Decision]:
        if self.refused is not None:
            return []
        return [one for one in self.decisions if one.delete]


def plan(config: Configuration, *, host: str | None = None) -> Plan:
    """Return what is to become of every segment in the store, by the store's clock.

    There is no floor as there is for backups: what is old goes, to the last segment. What is too
    much goes when it has been there for some days, for whoever has taken a host over can fill the
    place of its logs. What bears no good signature takes nobody's place.
    """
    inner = within(config, LOGS)
    store = open_store(inner.store)
    with identity.reader(inner) as reader:
        found = catalog.read(store, reader, inner.store.prefix, host=host)
    groups: dict[tuple[str, str], list[Backup]] = {}
    for segment in found:
        groups.setdefault(segment.place_key, []).append(segment)
    decisions = [
        one for _, segments in sorted(groups.items()) for one in _decide(segments, config, store)
    ]
    return Plan(inner, store, tuple(decisions), _doubt(found, store))


def _doubt(found: Sequence[Backup], store: Store) -> str | None:
    now = store.now()
    if abs(now - clock.now()) > retention.CLOCK_TOLERANCE:
        return "this clock and the store's differ by more than five minutes"
    if any(one.stored_at > now + retention.CLOCK_TOLERANCE for one in found):
        return "the store holds a segment from the future: a clock is wrong"
    return None


def _decide(segments: Sequence[Backup], config: Configuration, store: Store) -> list[Decision]:
    """Decide about the segments of one log of one host, oldest first."""
    policy, now = config.logs.retention, store.now()
    limit = now - timedelta(days=policy.days)
    absent_limit = now - timedelta(days=retention.ABSENT_DAYS)
    safe_since = now - timedelta(days=policy.minimum_days)
    decisions, kept = [], 0
    for one in reversed(segments):
        kept += one.stored_bytes if one.state is State.COMPLETE else 0
        if one.state is State.UNREADABLE:
            decisions.append(Decision(one, False, "unreadable: nobody knows what it is"))
        elif one.state is State.SUSPECT:
            decisions.append(Decision(one, False, "suspect: kept as evidence"))
        elif one.state is State.PENDING:
            decisions.append(Decision(one, False, "pending: its signer is not pinned"))
        elif one.state is State.ABSENT:
            old = one.stored_at < absent_limit
            why = f"for more than {retention.ABSENT_DAYS} days" if old else "a recent failure"
            decisions.append(Decision(one, old, f"absent: {why}"))
        elif one.stored_at < limit:
            decisions.append(Decision(one, True, f"older than {policy.days} days"))
        elif policy.max_bytes is not None and kept > policy.max_bytes:
            old, why = one.stored_at < safe_since, f"beyond {policy.max_bytes} bytes of this log"
            young = "" if old else f", and younger than {policy.minimum_days} days"
            decisions.append(Decision(one, old, why + young))
        else:
            decisions.append(Decision(one, False, f"younger than {policy.days} days"))
    return decisions[::-1]


def carry_out(planned: Plan) -> list[Deleted]:
    """Delete what the plan says, and return what became of it."""
    ledger = make.ledger_of(planned.config)
    done = [
        prune.delete(planned.store, ledger, one.segment, reason="retention", area=LOGS)
        for one in planned.deletions
    ]
    ledger.append(
        LOGS.event("prune-finished"),
        deleted=sum(one.shredded for one in done),
        retained=sum(not one.shredded for one in done),
    )
    return done
