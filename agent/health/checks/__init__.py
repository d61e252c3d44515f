"""Checks: one file each, found in this folder, each with a function `look`."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

from agent.config.model import Configuration
from agent.health.memory import Memory
from agent.health.result import Result


@dataclass(frozen=True)
class Situation:
    """What a check is given: the configuration, what is remembered, and the time."""

    config: Configuration
    memory: Memory
    now: datetime


Look = Callable[[Situation], Iterator[Result]]


def checks() -> dict[str, Look]:
    """Return every check by its name."""
    found = sorted(one.name for one in pkgutil.iter_modules(__path__))
    return {name: importlib.import_module(f"{__name__}.{name}").look for name in found}
