"""What drills came to, noted in the store: the restorer is there for an hour, the keeper always.

`evidence/drills/<host>/<source>/<20261123T031500Z>-passed.json`, or `-failed`. Who may write below
that name is for the store's rights to say: a note proves no more than that. Its age goes by the
store's clock. The name says all that is read again; what is in it is for people.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from agent import clock
from agent.config.model import Configuration
from agent.errors import Art32Error, Code, ExitStatus
from agent.output import Answer
from agent.store import Store, digest, open_store

DIRECTORY = "evidence/drills/"
SCHEMA = "art32.drill.note/1"
_PART = r"[a-z0-9][a-z0-9_.-]{0,62}"
_NAME = re.compile(
    rf"{DIRECTORY}({_PART})/({_PART})/([0-9]{{8}}T[0-9]{{6}}Z)-(passed|failed)\.json"
)
_KEPT = ("id", "stored_at", "passed", "seconds", "plain_bytes", "loss_seconds", "error", "record")


def note(config: Configuration, answer: Answer) -> Answer:
    """Note what `drill run` came to, one note a source; return the answer, with a warning when the
    store does not take it: a drill is none the worse for that."""
    sources: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for one in answer.data:
        sources.setdefault((one["host"], one["source"]), []).append(one)
    try:
        store = open_store(config.store)
        for (host, source), drills in sources.items():
            _put(store, host, source, drills)
    except Art32Error as error:
        status = ExitStatus.WARNINGS if answer.status is ExitStatus.OK else answer.status
        warning = f"the store takes no note of the drill: {error.sentence}"
        return replace(answer, warnings=(*answer.warnings, warning), status=status)
    return answer


def _put(store: Store, host: str, source: str, drills: Iterable[Mapping[str, Any]]) -> None:
    kept = [{key: one[key] for key in _KEPT} for one in drills]
    whole = all(len(kept) >= int(one["record"].get("parts", 1)) for one in kept)
    word = "passed" if whole and all(one["passed"] for one in kept) else "failed"
    document = {"schema": SCHEMA, "host": host, "source": source, "drills": kept}
    data = (json.dumps(document, indent=1) + "\n").encode()
    try:
        name = f"{DIRECTORY}{host}/{source}/{clock.stamp(clock.now())}-{word}.json"
        store.put(name, data, sha256=digest(data))
    except Art32Error as error:
        if error.code is not Code.OBJECT_EXISTS:  # one of this very second says the same
            raise


def last_passed(store: Store, host: str) -> dict[str, datetime]:
    """Return when, by the store's clock, each source of a host was last drilled and passed."""
    found: dict[str, datetime] = {}
    for item in store.list(f"{DIRECTORY}{host}/"):
        match = _NAME.fullmatch(item.name)
        if match is not None and (match[1], match[4]) == (host, "passed"):
            before = found.get(match[2])
            found[match[2]] = item.stored_at if before is None else max(before, item.stored_at)
    return found
