"""What a server that came back shows, beside what is known of the one that is gone."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from agent import clock
from demo.terminal import DemoError, quiet, say
from rehearse.server import DATABASE, Server

INVOICES = 1000
PROMISED = 60  # seconds that the death of a host may take with it


@dataclass
class Timeline:
    """What happened when, in seconds since the beginning."""

    begun: float = field(default_factory=clock.monotonic)
    lines: list[tuple[float, str]] = field(default_factory=list)

    def mark(self, what: str) -> None:
        """Note what happens now."""
        self.lines.append((clock.monotonic() - self.begun, what))

    def shown(self) -> list[str]:
        return [f"  {seconds:7.1f} s  {what}" for seconds, what in self.lines]


@dataclass(frozen=True)
class Lost:
    """What is known of the server that is gone: what its clients had been told, the moment before
    the mistake, and when it died; both in seconds."""

    acknowledged: list[float]
    moment: float
    died: float


def examine(timeline: Timeline, found: Server, lost: Lost, *, to_moment: bool) -> str:
    """Compare what is there with what is known of the lost server; raise DemoError."""
    last = int(found.sql("SELECT coalesce(max(number), 0) FROM heartbeat"))
    count = int(found.sql("SELECT count(*) FROM heartbeat"))
    _require(count == last, f"{last - count} heartbeats are missing in between")
    invoices = int(found.sql("SELECT count(*) FROM invoices"))
    if to_moment:
        # the commit after the last row was acknowledged after the moment
        following = lost.acknowledged[last] if last < len(lost.acknowledged) else None
        _require(
            following is not None and following >= lost.moment,
            f"heartbeat {last + 1} was acknowledged before the moment and is not there",
        )
        newest = float(found.sql("SELECT extract(epoch FROM max(at)) FROM heartbeat"))
        _require(newest <= lost.moment, "there is a heartbeat from after the moment")
        _require(invoices == INVOICES, f"{invoices} invoices instead of {INVOICES}")
    else:
        _require(invoices == 0, "the mistake is not there, so the end was not reached")
        gone = len(lost.acknowledged) - last
        rpo = lost.died - lost.acknowledged[last - 1]
        timeline.mark(f"art32: {gone} acknowledged commits are lost: RPO {rpo:.1f} s")
        _require(rpo <= PROMISED, f"{rpo:.1f} s are lost, and at most {PROMISED} s may be")
    sums = found.sql(
        "SELECT (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(delta) FROM"
        " pgbench_history) AND (SELECT sum(bbalance) FROM pgbench_branches) = (SELECT sum(tbalance)"
        " FROM pgbench_tellers) AND (SELECT sum(delta) FROM pgbench_history) = (SELECT"
        " sum(tbalance) FROM pgbench_tellers)"
    )
    _require(sums == "t", "the books of pgbench do not balance")
    quiet(found.client("pg_amcheck", "--heapallindexed", DATABASE), cwd=Path("/"))
    history = found.sql("SELECT count(*) FROM pgbench_history")
    say(f"{last} heartbeats, {history} transactions, {invoices} invoices; amcheck found nothing")
    tables = ("heartbeat", "invoices", "pgbench_accounts", "pgbench_branches", "pgbench_tellers")
    return "|".join(
        found.sql(f"SELECT md5(string_agg(t::text, ',' ORDER BY t::text)) FROM {name} t")
        for name in (*tables, "pgbench_history")
    )


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise DemoError(otherwise)
