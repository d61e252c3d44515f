"""What art32 says: results on standard output, everything else on standard error.

One writer for each form: `human` for people, `json` for programs (one envelope with a schema
name; fields may be added, never changed), `nagios` for monitoring (one line, status 0 to 3).
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from agent.errors import Art32Error, ExitStatus

Form = Literal["human", "json", "nagios"]
FORMS: tuple[Form, ...] = ("human", "json", "nagios")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


@dataclass(frozen=True)
class Answer:
    """The outcome of a verb, ready for any form.

    `schema` names the shape of `data`; `lines` is what people read; `warnings` are sentences;
    `status` is the exit status; `summary` is what monitoring shows, by default the warnings or
    the last line. `errors` are what failed, each with what it is about, and `done` what succeeded,
    such as sources: neither is printed, both are reported.
    """

    schema: str
    data: Any
    lines: Sequence[str]
    warnings: Sequence[str] = field(default=())
    status: ExitStatus = ExitStatus.OK
    summary: str = ""
    errors: Sequence[tuple[str, Art32Error]] = field(default=())
    done: Sequence[str] = field(default=())


def size(count: float) -> str:
    """Return bytes as people read them, in binary units."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def duration(seconds: float) -> str:
    """Return seconds as people read them."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows as aligned lines; the first row is the head."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def plain(text: str) -> str:
    """Return a text as it may go to a terminal: what comes out of a store may command one."""
    visible = _CONTROL.sub("?", text)
    return visible.encode("utf-8", "backslashreplace").decode("utf-8")


def _status_line(word: str, text: str) -> str:
    """Return the one line of a monitoring plug-in: a bar would begin its performance data."""
    return plain(f"ART32 {word} - {text}").replace("\n", " ").replace("|", "/")


def show(answer: Answer, form: Form) -> None:
    """Print an answer in a form, to the last byte."""
    _print(answer, form)
    sys.stdout.flush()


def _print(answer: Answer, form: Form) -> None:
    if form == "json":
        envelope = {
            "schema": answer.schema,
            "ok": answer.status in (ExitStatus.OK, ExitStatus.WARNINGS),
            "exit_status": int(answer.status),
            "warnings": list(answer.warnings),
            "data": answer.data,
        }
        print(json.dumps(envelope, ensure_ascii=True))  # noqa: T201
        return
    if form == "nagios":
        word = {ExitStatus.OK: "OK", ExitStatus.WARNINGS: "WARNING"}.get(answer.status, "CRITICAL")
        text = answer.summary or "; ".join(answer.warnings)
        text = text or (answer.lines[-1] if answer.lines else "")
        print(_status_line(word, text))  # noqa: T201
        return
    for line in answer.lines:
        print(plain(line))  # noqa: T201
    for warning in answer.warnings:
        say(f"warning: {warning}")


def say(text: str) -> None:
    """Print a line for people on standard error."""
    print(plain(text), file=sys.stderr, flush=True)  # noqa: T201


def fail(error: Art32Error, form: Form) -> None:
    """Print an error: a sentence, the hint, the runbook; as one JSON object in that form."""
    if form == "json":
        document = {
            "schema": "art32.error/1",
            "ok": False,
            "exit_status": int(error.exit_status),
            "code": error.code.label,
            "error": error.sentence,
            "hint": error.hint,
            "runbook": error.runbook,
        }
        print(json.dumps(document, ensure_ascii=True), file=sys.stderr)  # noqa: T201
        return
    if form == "nagios":
        print(_status_line("CRITICAL", f"{error.code.label}: {error.sentence}"), flush=True)  # noqa: T201
        return
    say(f"art32: error: {error.sentence}")
    if error.hint:
        say(f"hint: {error.hint}")
    if error.runbook:
        say(f"runbook: {error.runbook}")


def exit_code(status: ExitStatus, form: Form) -> int:
    """Return what the process exits with: under `nagios` 0, 1 or 2, as monitoring expects."""
    if form != "nagios":
        return int(status)
    return {ExitStatus.OK: 0, ExitStatus.WARNINGS: 1}.get(status, 2)
