"""Sends what waits, oldest first, until it is all gone or Rollbar does not take it.

Between failures the pauses grow up to an hour, never shorter than the server has asked for.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from agent import clock, files
from agent.config.model import Configuration
from agent.errors import Art32Error, Code
from agent.report import heartbeat, item
from agent.report.queue import Queue
from agent.report.text import Masker
from agent.report.wire import Outcome, Wire

_FIRST_PAUSE, _LONGEST_PAUSE = 60.0, 3600.0
_LONGEST_WISH = 6 * 3600.0
_WHOLE = 90.0  # seconds for one run: its unit has two minutes
_REFUSED = (401, 403)
_UNFIT = (400, 413, 422)


@dataclass(frozen=True)
class Drained:
    """What one run did: reports accepted, refused for good, left over; calls of heartbeats that
    went well and that did not; and why the run ended before the queue did."""

    sent: int = 0
    discarded: int = 0
    left: int = 0
    called: int = 0
    uncalled: int = 0
    why: str = ""


def secret(path: Path, what: str) -> str:
    """Return the text of a file that nobody but its owner may read; raise PERMISSION."""
    try:
        mode = path.stat().st_mode
        text = path.read_text("ascii").strip()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no plain text"
        raise Art32Error(
            Code.PERMISSION,
            f"`report.{what}` cannot be read: {reason}",
            hint=f"systemd hands `{path}` to art32-report-drain.service; by hand, as root",
            runbook="rollbar-silent",
        ) from error
    if mode & 0o077:
        raise Art32Error(
            Code.PERMISSION,
            f"others than its owner may use `{path}`",
            hint=f"chmod 0600 {path}",
            runbook="rollbar-silent",
        )
    return text


def token(config: Configuration) -> str:
    """Return the access token; raise PERMISSION or CONFIG_INVALID."""
    assert config.report.token_file is not None
    text = secret(config.report.token_file, "token_file")
    if not (8 <= len(text) <= 200 and text.isalnum()):
        raise Art32Error(
            Code.CONFIG_INVALID,
            "what `report.token_file` holds is no access token",
            hint="one line, as Rollbar shows it under Project Access Tokens: post_server_item",
            runbook="rollbar-silent",
        )
    return text


def drain(config: Configuration, queue: Queue, masker: Masker, *, force: bool = False) -> Drained:
    """Send what waits. Within a pause nothing is sent, unless `force`.

    Raise LOCKED when another run sends, PERMISSION when the token cannot be read.
    """
    place = queue.directory / "drain.lock"
    with files.lock(place, what="`art32 report drain`", mode=queue.file_mode):
        sent = discarded = 0
        why = "" if force else _paused(queue)
        try:
            if config.report.token_file is not None and not why:
                sent, discarded, why = _send_all(config, queue, masker)
        finally:  # neither keeps the other from its turn
            called, uncalled = _heartbeats(config, queue)
        left = queue.waiting().count
        return Drained(sent, discarded, left, called, uncalled, why)


def _heartbeats(config: Configuration, queue: Queue) -> tuple[int, int]:
    path = config.report.heartbeats_file
    if path is None:
        return 0, 0
    try:
        known = heartbeat.addresses(secret(path, "heartbeats_file"))
    except ValueError as error:
        raise Art32Error(
            Code.CONFIG_INVALID,
            f"`report.heartbeats_file` has a mistake in {error}",
            hint="a line is `DUTY ADDRESS`, such as `backup:app https://hc.example.org/ping/1`",
            runbook="rollbar-silent",
        ) from None
    return heartbeat.call_all(queue, known, ca_file=config.report.ca_file)


def _send_all(config: Configuration, queue: Queue, masker: Masker) -> tuple[int, int, str]:
    sent = discarded = 0
    wire: Wire | None = None
    limit = clock.monotonic() + _WHOLE
    for path, data in queue.reports():
        try:
            clean = item.rebuilt(json.loads(data), masker)
        except (ValueError, TypeError, RecursionError):
            discarded += 1
            path.unlink(missing_ok=True)
            continue
        if clock.monotonic() > limit:
            return sent, discarded, "the time for one run is over"
        if wire is None:
            wire = Wire(config.report, token(config), lambda found: item.rebuilt(found, masker))
        outcome = wire.send(clean)
        if outcome.accepted:
            sent += 1
        elif outcome.status in _UNFIT:
            discarded += 1
        else:
            _remember(queue, sent, discarded, outcome)
            _raise_if_refused(outcome)
            return sent, discarded, _reason(outcome)
        path.unlink(missing_ok=True)
    _remember(queue, sent, discarded, None)
    return sent, discarded, ""


def _raise_if_refused(outcome: Outcome) -> None:
    if outcome.status in _REFUSED:
        raise Art32Error(
            Code.REPORT_REFUSED,
            f"Rollbar refuses the access token: status {outcome.status}",
            hint="a new token of scope `post_server_item` goes into `report.token_file`; then: "
            "art32 report test",
        )


def _reason(outcome: Outcome) -> str:
    return outcome.why if outcome.status is None else f"Rollbar answered with {outcome.status}"


def _paused(queue: Queue) -> str:
    """Return why nothing is to be sent yet; a clock that was set back does not count."""
    try:
        until = clock.parse_iso(str(queue.read_counts().get("not_before", "")))
    except ValueError:
        return ""
    now = clock.now()
    if now < until < now + timedelta(seconds=_LONGEST_WISH):
        return f"the next try is at {clock.iso(until)}"
    return ""


def _remember(queue: Queue, sent: int, discarded: int, failure: Outcome | None) -> None:
    now = clock.now()
    with queue.counts() as counts:
        counts["discarded"] = int(counts.get("discarded", 0)) + discarded
        if sent:
            counts["last_success"] = clock.iso(now)
            counts["dropped"] = 0
        if failure is None:
            for field in ("failures", "not_before", "why"):
                counts.pop(field, None)
            return
        failures = (0 if sent else int(counts.get("failures", 0))) + 1
        counts["failures"] = failures
        counts["why"] = _reason(failure)[:80]
        counts["not_before"] = clock.iso(_next_try(now, failures, failure.wait))


def _next_try(now: datetime, failures: int, wish: float | None) -> datetime:
    pause = min(_FIRST_PAUSE * float(1 << min(failures - 1, 10)), _LONGEST_PAUSE)
    return now + timedelta(seconds=max(pause, min(wish or 0.0, _LONGEST_WISH)))


def standing(config: Configuration, queue: Queue) -> dict[str, Any]:
    """Return how reports stand, for health. Raise OSError."""
    waiting = queue.waiting()
    counts = queue.read_counts()
    return {
        "configured": config.report.token_file is not None,
        "waiting": waiting.count,
        "bytes": waiting.size,
        "oldest": waiting.oldest,
        "dropped": int(counts.get("dropped", 0)),
        "failures": int(counts.get("failures", 0)),
        "last_success": counts.get("last_success"),
        "why": str(counts.get("why", "")),
    }
