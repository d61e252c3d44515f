"""Checks: one file each, found in this folder, each with a function `look`."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

from agent.config.model import Configuration
from agent.health.memory import Memory
from agent.health.result import Result, State


@dataclass(frozen=True)
class Situation:
    """What a check is given: the configuration, what is remembered, and the time."""

    config: Configuration
    memory: Memory
    now: datetime


Look = Callable[[Situation], Iterator[Result]]


def checks() -> dict[str, Look]:
    """Return every check by its name. A check is imported when it is made: one that lacks a
    library stops no other."""
    return {
        name: _lazy(name) for name in sorted(one.name for one in pkgutil.iter_modules(__path__))
    }


def _lazy(name: str) -> Look:
    def look(situation: Situation) -> Iterator[Result]:
        try:
            found: Look = importlib.import_module(f"{__name__}.{name}").look
        except ModuleNotFoundError as error:
            yield Result(
                name,
                State.UNKNOWN,
                f"the library `{error.name}` is not installed",
                hint="pip install --require-hashes -r requirements/agent-host.txt",
            )
        else:
            yield from found(situation)

    return look
