"""The write-ahead log for a recovery, as `wal.fetch` finds it: judged, and never taken for ended
while more of it is stored."""

from __future__ import annotations

import contextlib
import os
import pwd
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

from agent.backup import identity, restore
from agent.backup.manifest import Details, WalEntry
from agent.backup.sources import Recovery
from agent.backup.wal import listing, names, place
from agent.backup.wal.fetch import Fetcher
from agent.backup.wal.opening import Opener
from agent.config.model import Configuration
from agent.errors import Art32Error, Code
from agent.store import Bytes, Store

KIND = "basebackup"
_DEFAULT_OWNER = "postgres"


@contextlib.contextmanager
def following(
    config: Configuration,
    details: Details,
    host: str,
    wal_hosts: Sequence[str],
    at: datetime | None,
    note: Callable[[str], None],
    *,
    until: int | None = None,
) -> Iterator[Recovery]:
    """Hold what takes a base backup of a host on along the log that it, or any of `wal_hosts` in
    its place, has shipped.

    `note` is told of other hosts that have shipped the log of the same cluster, when nobody has
    said whose it is to be. `until` is a position (LSN) whose segment is the last to be given, as
    if the log ended there; segments without which the base backup is of no use are given in any
    case. Raise CORRUPT when the details do not say which log that is.
    """
    wal = needed(details)
    system_id = int(wal.system_id)
    last = None if until is None else max(until, names.parse_position(wal.stop))
    archive = place.open_archive(config.store)
    with identity.reader(config) as reader:
        opener = Opener(
            archive,
            reader,
            prefix=config.store.prefix,
            private_home=restore.private_home(config),
        )
        if not wal_hosts:
            others = _others(archive, reader, host, system_id)
            if others:
                options = " ".join(f"--wal-host {one}" for one in (host, *others))
                note(
                    f"{', '.join(f'`{one}`' for one in others)} shipped the log of this cluster "
                    f"too, after a failover perhaps, and it was not followed: `{options}` follows "
                    "all of it"
                )
        log = Fetcher(archive, opener, wal_hosts or (host,), system_id=system_id)

        def beyond(name: names.Name) -> bool:
            if last is None or name.kind is names.Kind.HISTORY:
                return False
            return name.start(wal.segment_bytes) > last

        def fetch(text: str) -> Bytes | None:
            name = names.parse(text)
            if name is None or beyond(name):
                return None
            found = log.fetch(system_id, name)
            return found.content.view if found is not None else None

        yield Recovery(fetch, at=at, owner=owner(config))


def _others(archive: Store, reader: identity.Reader, host: str, system_id: int) -> list[str]:
    """Return the other pinned hosts in whose archive there is anything of a cluster."""
    return [
        one
        for one in sorted({pin.host for pin in reader.pins} - {host})
        if next(listing.entries(archive, host=one, system_id=system_id), None) is not None
    ]


def needed(details: Details) -> WalEntry:
    """Return where the log of a base backup begins; raise CORRUPT when its details do not say."""
    facts = details.facts
    try:
        return WalEntry(
            system_id=facts["system_identifier"],
            timeline=facts["timeline"],
            start=facts["start"],
            stop=facts["stop"],
            segment_bytes=facts["segment_bytes"],
        )
    except (KeyError, ValueError) as error:
        raise Art32Error(
            Code.CORRUPT, "the details of the base backup do not say which log it needs"
        ) from error


def owner(config: Configuration) -> str | None:
    """Return to whom a recovered server is to belong; None for the user who runs this."""
    if os.geteuid() != 0:
        return None
    wanted = config.restore.server_user or _DEFAULT_OWNER
    try:
        pwd.getpwnam(wanted)
    except KeyError as error:
        if config.restore.server_user is None:
            return config.restore.engine_user
        raise Art32Error(
            Code.TARGET_FAILED,
            f"there is no user `{wanted}` for the recovered server to belong to",
            hint="correct `restore.server_user`",
        ) from error
    return wanted
