"""What a check says."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """A check that could not be made is `unknown`, never `ok`."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Result:
    """One thing that was looked at.

    `name` is stable, as in `disk:/var`; `value` is a number where there is one, in `unit`;
    `threshold` is where it fails. `detail` is one sentence for people, free of personal data.
    """

    name: str
    state: State
    detail: str
    value: float | None = None
    unit: str = ""
    threshold: float | None = None
    hint: str | None = None
    runbook: str | None = None


def graded(value: float, *, warn: float | None = None, fail: float) -> State:
    """Return the state of a value that is bad when it is large."""
    if value >= fail:
        return State.FAIL
    return State.WARN if warn is not None and value >= warn else State.OK
