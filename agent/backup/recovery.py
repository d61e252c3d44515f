"""The write-ahead log for a recovery, as `wal.fetch` finds it: judged, and never taken for ended
while more of it is stored."""

from __future__ import annotations

import contextlib
import os
import pwd
from collections.abc import Iterator, Sequence
from datetime import datetime

from agent.backup import identity, restore
from agent.backup.manifest import Details, WalEntry
from agent.backup.sources import Recovery
from agent.backup.wal import names, place
from agent.backup.wal.fetch import Fetcher
from agent.backup.wal.opening import Opener
from agent.config.model import Configuration
from agent.errors import Art32Error, Code
from agent.store import Bytes

KIND = "basebackup"
_DEFAULT_OWNER = "postgres"


@contextlib.contextmanager
def following(
    config: Configuration, details: Details, hosts: Sequence[str], at: datetime | None
) -> Iterator[Recovery]:
    """Hold what takes a base backup on along the log that any of these hosts has shipped.

    Raise CORRUPT when the details do not say which log that is.
    """
    system_id = int(needed(details).system_id)
    archive = place.open_archive(config.store)
    with identity.reader(config) as reader:
        opener = Opener(
            archive,
            reader,
            prefix=config.store.prefix,
            private_home=restore.private_home(config),
        )
        log = Fetcher(archive, opener, hosts, system_id=system_id)

        def fetch(text: str) -> Bytes | None:
            name = names.parse(text)
            found = log.fetch(system_id, name) if name is not None else None
            return found.content.view if found is not None else None

        yield Recovery(fetch, at=at, owner=owner(config))


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
