"""What a run says last, manifest and signature: kept until the ledger has its record.

A run that dies, or loses the store, between the last segment and the ledger's last record leaves a
backup of which all but the end is stored, or one that is complete and that its host does not know.
The next run of the source sends both again, where a name that is taken means that it was stored,
and then writes the record.
"""

from __future__ import annotations

import base64
import contextlib
import errno
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

from pydantic import Base64Bytes, BaseModel, ConfigDict, ValidationError

from agent import clock, files
from agent.backup import layout
from agent.backup.area import Area
from agent.errors import Art32Error, Code
from agent.ledger import Ledger
from agent.store import Store, digest

# The keeper sweeps after a week what has no signature, and a backup is as old as its signature.
LONGEST = timedelta(days=1)
_FOLDER = "unsent"


class Unsent(BaseModel):
    """The end of a shipment: what is to be stored below `path`, and the facts to be recorded."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    finished: str
    manifest: Base64Bytes
    signature: Base64Bytes
    facts: dict[str, str | int | bool | None]


def _directory(state: Path, area: Area, source: str) -> Path:
    return state / _FOLDER / f"{area.word}-{source}"


@contextlib.contextmanager
def kept(
    state: Path,
    area: Area,
    *,
    path: str,
    finished: str,
    manifest: bytes,
    signature: bytes,
    facts: dict[str, str | int | bool | None],
) -> Iterator[Callable[[], None]]:
    """Keep the end of a shipment for the block and after it; what is yielded forgets it.

    `facts` are those of the ledger's record, `id` and `source` among them. Raise DISK.
    """
    end = Unsent(
        path=path,
        finished=finished,
        manifest=base64.b64encode(manifest),
        signature=base64.b64encode(signature),
        facts=facts,
    )
    directory = _directory(state, area, str(facts["source"]))
    with contextlib.ExitStack() as stack:
        try:
            done = stack.enter_context(files.claimed(directory, end.model_dump_json().encode()))
        except OSError as error:
            raise Art32Error(
                Code.DISK,
                f"the end of a backup cannot be kept in `{directory}`: {error.strerror}",
                hint="free some space, or mend the rights: after a crash this host would not know "
                "its own backup",
            ) from error
        yield done


def settle(
    state: Path, area: Area, host: str, source: str, store: Store, ledger: Ledger
) -> list[str]:
    """Send and record what earlier runs of a source kept; return a sentence for each end of a run
    that this user may not open: it stays, and stops no later run.

    Hold the source's lock. What is older than a day is given up, and the ledger says so.
    Raise what the store and the ledger raise, and PERMISSION or DISK when what is kept cannot be
    looked at; then it stays kept.
    """
    directory = _directory(state, area, source)
    closed = []
    try:
        left = list(files.abandoned(directory))
    except OSError as error:
        raise _unusable(directory, error) from error
    for path, data in left:
        if data is None:
            closed.append(
                f"what an earlier run of `{source}` kept in `{path}` may not be opened: give it to "
                f"the user of this run (chown), or remove it: rm {path}"
            )
            continue
        end = _parse(data, host, source)
        known = end is None or any(
            record.event == area.event("complete") and record.facts.get("id") == end.facts["id"]
            for record in ledger.records()
        )
        if end is not None and not known:
            if clock.now() - clock.parse_stamp(end.finished) > LONGEST:
                ledger.append(area.event("given-up"), id=end.facts["id"], source=source)
            else:
                _put(store, f"{end.path}/{layout.MANIFEST}", end.manifest)
                _put(store, f"{end.path}/{layout.SIGNATURE}", end.signature)
                ledger.append(area.event("complete"), **end.facts)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise _unusable(directory, error) from error
    return closed


def _unusable(directory: Path, error: OSError) -> Art32Error:
    refused = error.errno in (errno.EACCES, errno.EPERM)
    return Art32Error(
        Code.PERMISSION if refused else Code.DISK,
        f"what earlier runs kept in `{directory}` cannot be settled: "
        f"{(error.strerror or 'error').lower()}",
        hint=f"ls -la {directory}; it must belong to the user who runs art32, or to the group that "
        "shares the state directory (mode 2770)",
    )


def _parse(data: bytes, host: str, source: str) -> Unsent | None:
    """Return the end of a shipment of that source; None when a crash came before all was written,
    and so before anything was sent."""
    try:
        end = Unsent.model_validate_json(data)
        clock.parse_stamp(end.finished)
    except (ValidationError, ValueError):
        return None
    parsed = layout.parse(f"{end.path}/{layout.MANIFEST}")
    place = parsed[0] if parsed else None
    if place is None or (place.host, place.source) != (host, source):
        return None
    return end if end.facts.get("id") == place.id else None


def _put(store: Store, name: str, data: bytes) -> None:
    """Store an object, unless its name, which is this shipment's alone, is taken."""
    try:
        store.put(name, data, sha256=digest(data))
    except Art32Error as error:
        if error.code is not Code.OBJECT_EXISTS:
            raise
