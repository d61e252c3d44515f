"""`art32 drill status` behind its options."""

from __future__ import annotations

from agent import clock, output
from agent.backup import make
from agent.backup.drill import record
from agent.config.model import Configuration
from agent.errors import Art32Error, Code, ExitStatus


def answer(config: Configuration) -> output.Answer:
    """Return how every source and every recovery key stands; raise LEDGER_BROKEN."""
    records = list(make.ledger_of(config).records())
    now = clock.now()
    found = record.standings(config, records, now) + record.key_standings(config, records, now)
    if not found:
        lines = ["nothing was drilled on this machine yet, and nothing is configured to be"]
        return output.Answer("art32.drill-status/1", [], lines, (), ExitStatus.WARNINGS, lines[0])
    rows = [["WHAT", "LAST GOOD", "LAST RESULT", "VERDICT"]]
    rows += [
        [
            one.name,
            clock.iso(one.last_good) if one.last_good else "never",
            one.last_result or "none",
            "OVERDUE" if one.overdue else "ok",
        ]
        for one in found
    ]
    late = [one.name for one in found if one.overdue]
    summary = f"overdue: {', '.join(late)}" if late else f"{len(found)} in time"
    data = [
        {
            "name": one.name,
            "last_good": clock.iso(one.last_good) if one.last_good else None,
            "last_result": one.last_result,
            "overdue": one.overdue,
        }
        for one in found
    ]
    status = ExitStatus.VERIFICATION if late else ExitStatus.OK
    errors = [
        (
            one.name,
            Art32Error(
                Code.DRILL_FAILED,
                f"the last drill of `{one.name}` is too long ago, or failed",
                runbook="key-lost" if one.name.startswith("key ") else None,
            ),
        )
        for one in found
        if one.overdue
    ]
    return output.Answer(
        "art32.drill-status/1", data, output.table(rows), (), status, summary, errors=errors
    )
