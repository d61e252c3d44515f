"""What health remembers between its runs: since when, first seen, and how disks fill.

One small JSON file of the state directory. A file that cannot be read is begun anew: it holds
nothing that a later run does not find out again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from agent import clock, files
from agent.health.result import Result, State

NAME = "health.json"
_SAMPLES = 96


@dataclass
class Memory:
    """`since` maps a check to its state and the moment that state began; `first_seen` things to
    the moment they were first seen; `samples` series to (seconds of the epoch, value)."""

    since: dict[str, tuple[str, str]] = field(default_factory=dict)
    first_seen: dict[str, str] = field(default_factory=dict)
    samples: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    def seen(self, name: str, now: datetime) -> datetime:
        """Return when a thing was first seen: now, unless it is remembered."""
        text = self.first_seen.setdefault(name, clock.iso(now))
        try:
            return clock.parse_iso(text)
        except ValueError:
            self.first_seen[name] = clock.iso(now)
            return now

    def forget(self, prefix: str, keep: set[str]) -> None:
        """Forget all things that begin so and are not there any more."""
        for name in [one for one in self.first_seen if one.startswith(prefix) and one not in keep]:
            del self.first_seen[name]

    def sample(self, series: str, moment: datetime, value: float) -> list[tuple[float, float]]:
        """Add a value to a series and return it, oldest first."""
        values = self.samples.setdefault(series, [])
        values.append((moment.timestamp(), value))
        del values[:-_SAMPLES]
        return values

    def moments(self, results: list[Result], now: datetime) -> dict[str, str]:
        """Return since when each check is in its state, and remember it."""
        kept = {}
        for result in results:
            state, begun = self.since.get(result.name, ("", ""))
            kept[result.name] = (
                result.state.value,
                begun if state == result.state.value else clock.iso(now),
            )
        self.since = kept
        return {name: begun for name, (_, begun) in kept.items()}


def load(directory: Path) -> Memory:
    """Return what is remembered; nothing when the file is not there or is no such file."""
    try:
        found = json.loads((directory / NAME).read_bytes())
        return Memory(
            since={
                str(name): (State(state).value, str(begun))
                for name, (state, begun) in found["since"].items()
            },
            first_seen={str(name): str(text) for name, text in found["first_seen"].items()},
            samples={
                str(name): [(float(moment), float(value)) for moment, value in values]
                for name, values in found["samples"].items()
            },
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Memory()


def save(directory: Path, memory: Memory) -> None:
    """Remember; raise OSError."""
    files.make_directory(directory)
    files.replace(directory / NAME, json.dumps(vars(memory)).encode())
