"""Trying again: the store says which failures are worth it, this module how often and when."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from agent import clock
from agent.errors import Art32Error

_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 30.0
_LONGEST_WISH = 300.0

Result = TypeVar("Result")


@dataclass(frozen=True)
class Trouble:
    """What a failed call means: the error to show, and whether to try again.

    `ambiguous`: the server may have done what was asked, only its reply was lost.
    `wait`: seconds that the server asked for (Retry-After, RFC 9110 10.2.3).
    """

    error: Art32Error
    retryable: bool = False
    ambiguous: bool = False
    wait: float | None = None


def pause(attempt: int, wish: float | None) -> float:
    """Return how many seconds to wait after the given attempt (the first is 1).

    Exponential, half of it random, so that hosts that failed together do not come back together;
    never less than the server asked for, which counts up to five minutes.
    """
    longest = min(_FIRST_PAUSE * float(1 << min(attempt - 1, 16)), _LONGEST_PAUSE)
    jittered = longest / 2 + secrets.randbelow(1_000_000) / 1_000_000 * longest / 2
    return max(jittered, min(wish or 0.0, _LONGEST_WISH))


def call(
    action: Callable[[bool], Result],
    *,
    attempts: int,
    classify: Callable[[Exception], Trouble],
) -> Result:
    """Call `action` until it returns, at most `attempts` times, and return what it returns.

    The action is told whether an earlier attempt may have had its effect. An `Art32Error` that it
    raises is final; any other exception goes to `classify`. The last failure is raised as its
    error, with the exception as the cause.
    """
    ambiguous = False
    for attempt in range(1, attempts + 1):
        try:
            return action(ambiguous)
        except Art32Error:
            raise
        except Exception as failure:
            trouble = classify(failure)
            if not trouble.retryable or attempt == attempts:
                raise trouble.error from failure
            ambiguous = ambiguous or trouble.ambiguous
            clock.sleep(pause(attempt, trouble.wait))
    raise AssertionError("attempts is at least 1")
