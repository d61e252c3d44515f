"""What was found, in a file: who looks needs no network, who publishes sees nothing but this."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from agent import clock, files
from agent.errors import Art32Error, Code
from agent.health.examine import Examined
from agent.health.result import Result, State

SCHEMA = "art32.health.saved/1"
_FRESH = timedelta(minutes=20)
_MOST_BYTES = 4 << 20


def save(found: Examined, path: Path) -> None:
    """Put it into a file, whole, in place of the one before; raise TARGET_FAILED."""
    document = {
        "schema": SCHEMA,
        "at": clock.iso(found.at),
        "since": found.since,
        "warnings": list(found.warnings),
        "results": [asdict(one) for one in found.results],
    }
    try:
        files.make_directory(path.parent)
        files.replace(path, json.dumps(document).encode(), mode=0o640)
    except OSError as error:
        raise Art32Error(
            Code.TARGET_FAILED,
            f"`{path}` cannot be written: {error.strerror}",
            hint="its directory must belong to the user who runs art32",
        ) from error


def load(path: Path) -> Examined:
    """Return what was saved. When that is old, a failing result says so: who looks has stopped.

    Raise SOURCE_MISSING when there is no such file.
    """
    try:
        with path.open("rb") as file:
            document = json.loads(file.read(_MOST_BYTES))
        found = _examined(document)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Art32Error(
            Code.SOURCE_MISSING,
            f"`{path}` holds no results of health",
            hint="systemctl status art32-health.service",
        ) from error
    age = clock.now() - found.at
    if timedelta(0) <= age <= _FRESH:
        return found
    stale = Result(
        "health",
        State.FAIL,
        f"these results are {age.total_seconds() / 60:.0f} minutes old",
        hint="systemctl status art32-health.timer art32-health.service",
    )
    return replace(found, results=(stale, *found.results))


def _examined(document: dict[str, Any]) -> Examined:
    if document["schema"] != SCHEMA:
        raise ValueError(document["schema"])
    results = tuple(Result(**{**one, "state": State(one["state"])}) for one in document["results"])
    moment: datetime = clock.parse_iso(document["at"])
    since = {str(name): str(begun) for name, begun in document["since"].items()}
    return Examined(results, since, moment, tuple(map(str, document["warnings"])))
