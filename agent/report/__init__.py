"""Tells Rollbar of errors and failing checks, without personal data.

What happens is made into a report here, cleaned by `item.rebuilt`, and put into a queue on the
disk; `drain` sends it later, in a process of its own. So a report takes some milliseconds after the
work is done, and whatever goes wrong with it changes nothing about the work: these functions raise
nothing and return whether something waits now.
"""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from agent import clock, output
from agent.config.model import Configuration
from agent.errors import EXIT_MEANINGS, Art32Error, Code, ExitStatus
from agent.report import heartbeat, item, key, trace
from agent.report.queue import Queue
from agent.report.text import Masker
from agent.report.unit import Failed

_CRITICAL = frozenset(
    (
        *(Code.SUSPECT, Code.CORRUPT, Code.NOT_WRITE_ONLY, Code.SPLIT_BRAIN, Code.LEDGER_BROKEN),
        *(Code.ENCRYPTION_INEFFECTIVE, Code.SCRUB_FAILED),
    )
)
#: A person's slip, or somebody who stopped it: not worth waking anybody.
_QUIET = frozenset((Code.USAGE, Code.INTERRUPTED, Code.OUTPUT_FAILED, Code.RUNBOOK_MISSING))
_KNOWN_DAYS = 2


def open_queue(config: Configuration) -> Queue:
    """Return the queue of this host."""
    settings = config.report
    directory = config.state_directory / "report"
    return Queue(directory, most=settings.queue_reports, most_bytes=settings.queue_bytes)


def open_masker(config: Configuration, queue: Queue) -> Masker:
    """Return what takes out of text what may not leave."""
    with contextlib.suppress(OSError):
        queue.prepare()
    return Masker(config, key.of_today(queue.directory, mode=queue.file_mode))


def wanted(config: Configuration) -> bool:
    """Return whether anything is reported at all."""
    return config.report.token_file is not None


def failure(
    config: Configuration,
    error: Art32Error,
    *,
    verb: str,
    about: str | None = None,
    cause: BaseException | None = None,
    invocation: str = "",
) -> bool:
    """Report an error: `about` is the source or the like, `cause` the exception of a defect,
    `invocation` systemd's id of this run."""
    if error.code in _QUIET:
        return False
    body: dict[str, Any] = {
        "message": {
            "body": error.sentence if config.report.sentences else error.code.meaning,
            "kind": "defect" if cause is not None else "error",
            "code": error.code.label,
            "exit_status": int(error.exit_status),
            "verb": verb,
            "about": about,
            "place": trace.place(error),
            "runbook": error.runbook,
        }
    }
    if cause is not None:
        body["trace_chain"] = trace.chain(cause)
    level = "critical" if error.code in _CRITICAL else "error"
    marks = (f"invocation:{invocation}",) if invocation else ()
    return _put(config, level, body, verb, marks=marks)


def check(
    config: Configuration,
    name: str,
    state: str,
    detail: str,
    *,
    since: str | None = None,
    numbers: Mapping[str, float | None] | None = None,
    measure: str = "",
    runbook: str | None = None,
) -> bool:
    """Report a check of health that fails, warns or cannot be made; `numbers` are its `value` and
    `threshold`."""
    body = {
        "message": {
            "body": detail if config.report.sentences else f"{state}",
            "kind": "check",
            "about": name,
            "state": state,
            "since": since,
            "measure": measure or None,
            "runbook": runbook,
            **(numbers or {}),
        }
    }
    level = "error" if state == "fail" else "warning"
    return _put(config, level, body, "health")


def attacks(
    config: Configuration,
    counts: Mapping[str, int],
    *,
    severe: frozenset[str],
    verb: str = "logs watch",
) -> bool:
    """Report attacks by the id of their rule and their number: no address, no line of a log."""
    waits = False
    for rule, count in counts.items():
        body = {
            "message": {
                "body": f"attack by rule {rule}",
                "kind": "attack",
                "about": rule,
                "count": count,
                "runbook": "host-compromised" if rule in severe else None,
            }
        }
        level = "error" if rule in severe else "warning"
        waits = _put(config, level, body, verb) or waits
    return waits


def failed_unit(config: Configuration, failed: Failed) -> bool:
    """Report a unit that has failed, unless its run has said more about itself already."""
    if failed.invocation and _known(config, f"invocation:{failed.invocation}"):
        return False
    meaning = "ended without a word"
    if failed.exit_status in {int(one) for one in ExitStatus}:
        meaning = EXIT_MEANINGS[ExitStatus(failed.exit_status)]
    elif failed.signal is not None:
        meaning = f"ended by signal {failed.signal}"
    body = {
        "message": {
            "body": f"unit failed: {failed.result}: {meaning}",
            "kind": "unit",
            "about": failed.unit,
            "result": failed.result,
            "exit_status": failed.exit_status,
        }
    }
    return _put(config, "error", body, "report failure")


def trial(config: Configuration) -> dict[str, Any]:
    """Put a report that says nothing but that reports arrive; return it. Raise OSError."""
    body = {"message": {"body": "a test of reports, nothing is wrong", "kind": "test"}}
    queue = open_queue(config)
    data = _data(config, "info", body, "report test")
    clean = item.rebuilt(data, open_masker(config, queue))
    queue.put(json.dumps(clean).encode())
    return clean


def beat(config: Configuration, duty: str) -> bool:
    """Note that a duty, such as `backup:app`, has succeeded, for whoever waits for that."""
    if config.report.heartbeats_file is None or not heartbeat.DUTY.fullmatch(duty):
        return False
    try:
        open_queue(config).beat(duty)
    except OSError as error:
        _complain(error)
        return False
    return True


def _data(config: Configuration, level: str, body: dict[str, Any], verb: str) -> dict[str, Any]:
    return {
        "environment": config.report.environment,
        "level": level,
        "timestamp": int(clock.now().timestamp()),
        "context": verb,
        "uuid": uuid.uuid4().hex,
        "fingerprint": "0" * 40,
        "server": {"host": config.host},
        "body": body,
    }


def _put(
    config: Configuration,
    level: str,
    body: dict[str, Any],
    verb: str,
    *,
    marks: tuple[str, ...] = (),
) -> bool:
    if not wanted(config):
        return False
    try:
        queue = open_queue(config)
        data = _data(config, level, body, verb)
        clean = item.rebuilt(data, open_masker(config, queue))
        with queue.counts() as counts:
            times = _repeated(counts, clean["fingerprint"], config.report.repeat_hours)
            for mark in marks:
                counts["recent"][mark] = {"at": clock.iso(clock.now()), "times": 1}
            if times is None:
                return False
            if times > 1 and "message" in clean["body"]:
                clean["body"]["message"]["times"] = times
            counts["dropped"] = int(counts.get("dropped", 0)) + queue.put(
                json.dumps(clean).encode()
            )
    except Exception as error:  # noqa: BLE001 - a report must not fail what it reports about
        _complain(error)
        return False
    return True


def _complain(error: Exception) -> None:
    reason = error.strerror if isinstance(error, OSError) else type(error).__name__
    output.say(f"warning: this cannot be reported: {reason}")


def _repeated(counts: dict[str, Any], fingerprint: str, hours: float) -> int | None:
    """Return how often the same has happened since it was last reported, this time included; None
    when that was just now and this one is only counted."""
    recent, now = counts["recent"], clock.now()
    for name in [one for one in recent if not _within(recent[one], now, 24.0 * _KNOWN_DAYS)]:
        del recent[name]
    before = recent.get(fingerprint)
    if before is not None and hours and _within(before, now, hours):
        before["times"] = int(before["times"]) + 1
        return None
    recent[fingerprint] = {"at": clock.iso(now), "times": 0}
    return 1 + (int(before["times"]) if before is not None else 0)


def _within(entry: Any, now: Any, hours: float) -> bool:
    try:
        age = now - clock.parse_iso(entry["at"])
        int(entry["times"])
    except (ValueError, KeyError, TypeError):
        return False
    return bool(timedelta(hours=-1) < age < timedelta(hours=hours))


def _known(config: Configuration, mark: str) -> bool:
    try:
        return mark in set(open_queue(config).read_counts()["recent"])
    except OSError:
        return False
