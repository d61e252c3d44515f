"""What a scan leaves behind: findings, bans, the day's record, and the state for health.

All under `logs.scan.directory`, mode 0700, each file written atomically with mode 0600:

- `findings.jsonl`: one finding a line, with its address, until it expires;
- `bans.json`, and the list for other programs (`bans`);
- `records/<day>/<name>.json`: counts without addresses, and scrubbed samples, for the digest;
- `state.json`: who scans, since when, with which result.

Several processes publish: each under a name of its own, all under one lock.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from agent import clock, files
from agent.config.logs_scan import Scan
from agent.errors import Art32Error, Code
from agent.logs.scan import bans, report
from agent.logs.scan.findings import Finding
from agent.logs.scan.rules import SEVERITIES
from agent.logs.scan.scanner import Scanner

MOST_FINDINGS = 10_000
RECORD_DAYS = 62
_DUTY_DAYS = 2  # a segment is a duty of its own, once
_MOST_DUTIES = 100
Told = Callable[[Mapping[str, int], frozenset[str]], object]
"""Is told how many attacks are new by the id of their rule, and which of the rules are severe."""
_FINDINGS = "findings.jsonl"
_STATE = "state.json"


def publish(
    settings: Scan,
    scanner: Scanner,
    name: str,
    *,
    day: str | None = None,
    not_looked_at: Mapping[str, str] | None = None,
    told: Told | None = None,
) -> list[str]:
    """Write what a scanner has found since it was opened or began its day; return warnings.

    `name` is who scans: `watch`, or a segment. Publishing again under the same name on the same day
    replaces what was written, so that doing it twice counts nothing twice. `not_looked_at` maps
    what could not be scanned to the reason. Raise DISK or PERMISSION when it cannot be written.
    """
    now = clock.now()
    directory = settings.directory
    try:
        files.make_directory(directory)
        with files.lock(directory / "lock", what="publishing findings", wait=True):
            known = _read(directory / _FINDINGS)
            kept = _merge(known, scanner.changed(), now.timestamp())
            warnings = _ban(settings, kept, now)
            lines = "".join(json.dumps(_document(one)) + "\n" for one in kept)
            files.replace(directory / _FINDINGS, lines.encode())
            _record(settings, scanner, name, day or now.strftime("%Y-%m-%d"), not_looked_at or {})
            _state(directory, scanner, name, kept, now, not_looked_at or {})
            _prune(directory / "records", now)
    except OSError as error:
        refused = isinstance(error, PermissionError)
        raise Art32Error(
            Code.PERMISSION if refused else Code.DISK,
            f"findings cannot be written to `{directory}`: {error.strerror}",
            hint="it must be on a healthy disk and belong to the user who runs art32",
        ) from error
    if told is not None:
        _tell(told, known, kept)
    return warnings + report.weaknesses(scanner, settings)


def _tell(told: Told, known: Sequence[Finding], kept: Sequence[Finding]) -> None:
    before = {one.id for one in known}
    fresh = [one for one in kept if one.id not in before]
    if fresh:
        severe = frozenset(one.rule for one in fresh if one.severity in ("high", "critical"))
        told(Counter(one.rule for one in fresh), severe)


def _document(one: Finding) -> dict[str, Any]:
    return {**one.document(), "state": one.state() | {"samples": []}}


def read_findings(directory: Path) -> list[Finding]:
    """Return the findings that have not expired, the oldest first; a damaged line is left out."""
    return _read(directory / _FINDINGS)


def _read(path: Path) -> list[Finding]:
    found = []
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    for line in lines:
        try:
            found.append(Finding.from_state(json.loads(line)["state"]))
        except (ValueError, KeyError, TypeError):
            continue
    return found


def _merge(old: Sequence[Finding], new: Sequence[Finding], now: float) -> list[Finding]:
    """Return both without what has expired; of the same finding the one with more lines."""
    merged = {one.id: one for one in old}
    for one in new:
        before = merged.get(one.id)
        if before is None or one.count >= before.count:
            merged[one.id] = one
    current = [one for one in merged.values() if one.last + one.expires_seconds > now]
    return sorted(current, key=lambda one: one.last)[-MOST_FINDINGS:]


def _ban(settings: Scan, found: Sequence[Finding], now: datetime) -> list[str]:
    directory, chosen = settings.directory, settings.bans
    stopped = directory / bans.STOPPED
    if chosen.mode == "off":
        return []
    known = bans.BanList.read(directory)
    was_stopped = stopped.exists()
    if bans.decide(known, found, chosen, now.timestamp(), stopped=was_stopped):
        files.replace(stopped, clock.iso(now).encode() + b"\n")
    bans.write(known, directory, chosen, stopped=stopped.exists())
    if not stopped.exists():
        return []
    return [
        (
            f"banning has stopped: more than {chosen.per_minute} new bans in a minute; look at "
            f"`{directory / _FINDINGS}`, then delete `{stopped}`"
        )
    ]


def _record(
    settings: Scan, scanner: Scanner, name: str, day: str, not_looked_at: Mapping[str, str]
) -> None:
    folder = settings.directory / "records" / day
    files.make_directory(folder)
    judges = scanner.tally.judges
    document = {
        "schema": "art32.scan.record/1",
        "name": name,
        "day": day,
        "engine": scanner.engine,
        "sources": {source: asdict(seen) for source, seen in scanner.seen.items()},
        "rules": {
            rule: {"lines": judge.matches, "findings": judge.fired}
            for rule, judge in judges.items()
            if judge.matches
        },
        "samples": {
            rule: [line.decode("utf-8", "replace") for line in lines]
            for rule, lines in scanner.tally.samples().items()
        },
        "forgotten": sum(judge.window.forgotten for judge in judges.values()),
        "overflow": scanner.tally.overflow,
        "not_looked_at": dict(not_looked_at),
    }
    # a segment's path is no file name
    stem = hashlib.blake2s(name.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()
    files.replace(folder / f"{stem}.json", json.dumps(document).encode() + b"\n")


def _state(
    directory: Path,
    scanner: Scanner,
    name: str,
    kept: Sequence[Finding],
    now: datetime,
    not_looked_at: Mapping[str, str],
) -> None:
    recently = clock.iso(now - timedelta(days=_DUTY_DAYS))
    before = {
        other: told
        for other, told in read_state(directory).get("duties", {}).items()
        if str(told.get("updated")) > recently
    }
    document = {
        "schema": "art32.scan.state/1",
        "updated": clock.iso(now),
        "findings": {
            severity: sum(one.severity == severity for one in kept) for severity in SEVERITIES
        },
        "bans_stopped": (directory / bans.STOPPED).exists(),
        "duties": {
            **dict(list(before.items())[-_MOST_DUTIES:]),
            name: {
                "updated": clock.iso(now),
                "engine": scanner.engine,
                "sources": len(scanner.seen),
                "lines": sum(seen.lines for seen in scanner.seen.values()),
                "not_looked_at": dict(not_looked_at),
            },
        },
    }
    files.replace(directory / _STATE, json.dumps(document).encode() + b"\n")


def read_state(directory: Path) -> dict[str, Any]:
    """Return the state for health (`art32.scan.state/1`); empty when there is none."""
    try:
        state = json.loads((directory / _STATE).read_bytes())
    except (OSError, ValueError):
        return {}
    return state if isinstance(state, dict) else {}


def _prune(records: Path, now: datetime) -> None:
    """Delete the records of days that no digest looks at any more."""
    oldest = (now.astimezone(UTC) - timedelta(days=RECORD_DAYS)).strftime("%Y-%m-%d")
    for folder in records.iterdir():
        if folder.name < oldest and folder.is_dir():
            for file in folder.iterdir():
                file.unlink()
            folder.rmdir()
