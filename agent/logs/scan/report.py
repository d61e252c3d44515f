"""What `art32 logs scan` answers: findings, and what was looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from agent import output
from agent.config.logs_scan import LogFormat, Scan
from agent.errors import Art32Error, ExitStatus
from agent.logs.scan.findings import Finding, label
from agent.logs.scan.reading import read
from agent.logs.scan.rules import SEVERITIES
from agent.logs.scan.scanner import Scanner


def scan_files(
    scanner: Scanner, files: Sequence[Path | None], form: LogFormat
) -> list[tuple[str, Art32Error]]:
    """Feed files to a scanner, None for standard input; return what could not be read and why."""
    failed = []
    for path in files:
        name = "-" if path is None else str(path)
        try:
            for offset, block in read(path):
                scanner.feed(block, source=name, format=form, offset=offset)
        except Art32Error as error:
            failed.append((name, error))
    return failed


def answer(
    scanner: Scanner,
    failed: Sequence[tuple[str, Art32Error]],
    settings: Scan,
    *,
    show_addresses: bool,
) -> output.Answer:
    """Return findings, worst first, and what was looked at. Status 20 when there are findings."""
    found = sorted(scanner.findings(), key=lambda one: -SEVERITIES.index(one.severity))
    labels = label(found)
    names = {one.who: one.who if show_addresses else labels[one.who] for one in found}
    data = {
        "engine": scanner.engine,
        "rules": len(scanner.rules),
        "findings": [one.anonymous(names[one.who]) for one in found],
        "looked_at": [{"source": name, **asdict(seen)} for name, seen in scanner.seen.items()],
        "not_looked_at": [{"source": name, "reason": one.sentence} for name, one in failed],
        "forgotten": sum(one.window.forgotten for one in scanner.tally.judges.values()),
        "overflow": scanner.tally.overflow,
    }
    lines = _table(found, names) if found else []
    total = sum(seen.lines for seen in scanner.seen.values())
    size = output.size(sum(seen.bytes for seen in scanner.seen.values()))
    summary = f"{len(found)} findings in {total} lines ({size}), {len(scanner.rules)} rules"
    warnings = [error.sentence for _, error in failed] + weaknesses(scanner, settings)
    status = ExitStatus.WARNINGS if found else ExitStatus.OK
    if failed:
        status = failed[0][1].exit_status
    return output.Answer(
        "art32.logs.scan/1", data, [*lines, summary], warnings, status, summary=summary
    )


def weaknesses(scanner: Scanner, settings: Scan) -> list[str]:
    """Return, as sentences, where the scan saw less than it should."""
    found = []
    if scanner.engine == "re" and settings.engine == "auto":
        found.append(
            "`hyperscan` is not installed: the scan is a hundred times slower than need be"
        )
    unread = sum(seen.unread for seen in scanner.seen.values())
    if unread:
        found.append(f"{unread} lines with a suspicious word are in no format that art32 knows")
    cut = sum(seen.cut for seen in scanner.seen.values())
    if cut:
        found.append(f"{cut} lines were judged by their first 64 KiB alone")
    forgotten = sum(one.window.forgotten for one in scanner.tally.judges.values())
    if forgotten:
        found.append(
            f"{forgotten} addresses were forgotten for want of room: somebody may be spraying; "
            "raise `logs.scan.tracked_addresses`"
        )
    if scanner.tally.overflow:
        found.append(f"{scanner.tally.overflow} further findings had no room")
    return found


def _table(found: Sequence[Finding], names: dict[str, str]) -> list[str]:
    rows = [("severity", "rule", "who", "lines", "served", "first", "last", "source")]
    for one in found:
        document = one.document()
        rows.append(
            (
                one.severity,
                one.rule,
                names[one.who] or "many",
                str(one.count),
                str(one.served) if one.served else "-",
                document["first"],
                document["last"],
                one.source,
            )
        )
    return output.table(rows)
