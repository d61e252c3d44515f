"""The daily digest for the security reviewer: what, how many, and against the days before.

Made of the day's records alone, which hold counts and scrubbed samples, and of the findings that
have not expired, whose addresses become `client 1`, `client 2`. It also says what was looked at and
what was not: "the logs are analysed regularly" is a promise that needs both.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from agent import output
from agent.config.logs_scan import Scan, Watch
from agent.errors import ExitStatus
from agent.logs.scan import rules
from agent.logs.scan.findings import label
from agent.logs.scan.publish import read_findings

TREND_DAYS = 7
_MOST_SAMPLES = 3
_MOST_FILES = 50
_LOG_SUFFIXES = (".log", ".err")


@dataclass
class Day:
    """The sum of a day's records."""

    sources: dict[str, dict[str, int]] = field(default_factory=dict)
    rules: dict[str, dict[str, int]] = field(default_factory=dict)
    samples: dict[str, list[str]] = field(default_factory=dict)
    not_looked_at: dict[str, str] = field(default_factory=dict)
    forgotten: int = 0
    overflow: int = 0
    records: int = 0
    damaged: int = 0

    def add(self, record: Mapping[str, Any]) -> None:
        """Add one record; raise KeyError, TypeError, ValueError or AttributeError on rubbish."""
        for total, more in ((self.sources, record["sources"]), (self.rules, record["rules"])):
            for name, counts in more.items():
                known = total.setdefault(name, {})
                for what, count in counts.items():
                    known[what] = known.get(what, 0) + int(count)
        for rule, lines in record["samples"].items():
            self.samples.setdefault(rule, []).extend(map(str, lines))
        self.not_looked_at.update(record["not_looked_at"])
        self.forgotten += int(record["forgotten"])
        self.overflow += int(record["overflow"])
        self.records += 1


def read_day(directory: Path, day: date) -> Day:
    """Return the sum of a day's records; a damaged one is counted and left out."""
    found = Day()
    folder = directory / "records" / day.isoformat()
    for file in sorted(folder.glob("*.json")) if folder.is_dir() else ():
        try:
            found.add(json.loads(file.read_bytes()))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            found.damaged += 1
    return found


def unwatched(
    roots: Sequence[Path], known: Sequence[str], patterns: Sequence[Path], since: float
) -> Iterator[str]:
    """Yield log files written since a moment that nobody looks at; their rotated ones not."""
    for root in roots:
        for folder, directories, names in os.walk(root):
            directories.sort()
            for name in sorted(names):
                path = Path(folder, name)
                if not name.endswith(_LOG_SUFFIXES) and name not in ("syslog", "messages"):
                    continue
                if str(path) in known or any(path.match(str(one)) for one in patterns):
                    continue
                try:
                    info = path.stat(follow_symlinks=False)
                except OSError:
                    continue
                if info.st_size and info.st_mtime >= since:
                    yield str(path)


def digest(
    settings: Scan, watch: Watch, day: date, *, midnight: float, log_roots: Sequence[Path]
) -> output.Answer:
    """Return the digest of a day. Status 20 when a reviewer has something to do.

    `midnight` is the day's beginning in seconds since the epoch. Files below `log_roots` that were
    written since then and that no scan has looked at are named.
    """
    today = read_day(settings.directory, day)
    before = [
        read_day(settings.directory, day - timedelta(days=n)) for n in range(1, TREND_DAYS + 1)
    ]
    known_rules = {rule.id: rule for rule in rules.load(settings.rules_directory)}
    patterns = [one.path for one in watch.files]
    missed = dict(today.not_looked_at)
    for name in unwatched(log_roots, list(today.sources), patterns, midnight):
        if len(missed) >= _MOST_FILES:
            missed["..."] = "and more"
            break
        missed.setdefault(name, "no scan is configured for it")
    found = [one for one in read_findings(settings.directory) if one.last >= midnight]
    labels = label(found)
    rows = [
        _row(name, today.rules[name], [one.rules.get(name, {}) for one in before], known_rules)
        for name in sorted(today.rules, key=lambda name: _urgency(name, today, known_rules))
        if today.rules[name].get("findings")
    ]
    data = {
        "day": day.isoformat(),
        "looked_at": [{"source": name, **counts} for name, counts in today.sources.items()],
        "not_looked_at": [{"source": name, "reason": why} for name, why in missed.items()],
        "rules": [
            {
                **row,
                "meaning": known_rules[row["rule"]].meaning if row["rule"] in known_rules else "",
                "samples": today.samples.get(row["rule"], [])[:_MOST_SAMPLES],
            }
            for row in rows
        ],
        "findings": [one.anonymous(labels[one.who]) for one in found],
        "forgotten": today.forgotten,
        "overflow": today.overflow,
        "days_compared": sum(one.records > 0 for one in before),
    }
    warnings = []
    if not today.records:
        warnings.append(f"nothing was scanned on {day.isoformat()}")
    if today.damaged:
        warnings.append(f"{today.damaged} records of the day are damaged")
    if today.forgotten:
        warnings.append(f"{today.forgotten} addresses were forgotten: somebody may be spraying")
    lines = list(_human(day, today, rows, data))
    poor = bool(rows or warnings or missed)
    total = sum(row["findings"] for row in rows)
    return output.Answer(
        "art32.logs.digest/1",
        data,
        lines,
        warnings,
        ExitStatus.WARNINGS if poor else ExitStatus.OK,
        summary=f"{total} findings of {len(rows)} rules on {day.isoformat()}, "
        f"{len(missed)} logs not looked at",
    )


def _urgency(name: str, today: Day, known: Mapping[str, rules.Rule]) -> tuple[int, int, str]:
    rule = known.get(name)
    level = rules.SEVERITIES.index(rule.severity) if rule else 0
    return (-level, -today.rules[name].get("findings", 0), name)


def _row(
    name: str,
    counts: Mapping[str, int],
    before: Sequence[Mapping[str, int]],
    known: Mapping[str, rules.Rule],
) -> dict[str, Any]:
    earlier = [one.get("findings", 0) for one in before]
    mean = sum(earlier) / len(earlier)
    rule = known.get(name)
    return {
        "rule": name,
        "title": rule.title if rule else name,
        "severity": rule.severity if rule else "low",
        "findings": counts.get("findings", 0),
        "lines": counts.get("lines", 0),
        "yesterday": earlier[0],
        "daily_mean": round(mean, 1),
    }


def _human(
    day: date, today: Day, rows: Sequence[Mapping[str, Any]], data: Mapping[str, Any]
) -> Iterator[str]:
    yield f"Security digest of {day.isoformat()} (UTC)"
    yield ""
    if rows:
        head = ("severity", "rule", "findings", "lines", "yesterday", "mean of 7 days")
        cells = [
            (
                str(row["severity"]),
                str(row["rule"]),
                str(row["findings"]),
                str(row["lines"]),
                str(row["yesterday"]),
                str(row["daily_mean"]),
            )
            for row in rows
        ]
        yield from output.table([head, *cells])
        yield ""
        for row in data["rules"]:
            yield f"{row['rule']}: {row['title']}"
            yield f"  {row['meaning']}"
            for sample in row["samples"]:
                yield f"  | {sample}"
        yield ""
    else:
        yield "No findings."
    yield "Looked at:"
    for source, counts in today.sources.items():
        extra = "".join(
            f", {counts[what]} {words}"
            for what, words in (("unread", "in no known format"), ("cut", "cut at 64 KiB"))
            if counts.get(what)
        )
        yield f"  {source}: {counts['lines']} lines, {output.size(counts['bytes'])}{extra}"
    if not today.sources:
        yield "  nothing"
    yield "Not looked at:"
    yield "  journald's own store, and what daemons write only there"
    for one in data["not_looked_at"]:
        yield f"  {one['source']}: {one['reason']}"
