"""The write-ahead log for a recovery: fetched ahead, judged, and never taken for ended too early.

That a segment is not in the store may mean the end of the log, or a hole in it. A server cannot
tell them apart: it would stop there, be promoted, and lose what comes after. Here it is told.
"""

from __future__ import annotations

import contextlib
import os
import pwd
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime

from agent.backup import identity, restore
from agent.backup.manifest import Details, WalEntry
from agent.backup.sources import Recovery
from agent.backup.wal import listing, names, place, timelines
from agent.backup.wal.names import Kind, Name
from agent.backup.wal.opening import Opened, Opener
from agent.config.model import Configuration
from agent.errors import Art32Error, Code
from agent.store import Bytes, Store

KIND = "basebackup"
_AHEAD = 3
_LARGE = 64 << 20
_DEFAULT_OWNER = "postgres"


@contextlib.contextmanager
def following(
    config: Configuration, details: Details, hosts: Sequence[str], at: datetime | None
) -> Iterator[Recovery]:
    """Hold what takes a base backup on along the log that any of these hosts has shipped.

    Raise CORRUPT when the details do not say which log that is.
    """
    wanted = needed(details)
    archive = place.open_archive(config.store)
    with (
        identity.reader(config) as reader,
        contextlib.closing(
            Log(
                archive,
                Opener(
                    archive,
                    reader,
                    prefix=config.store.prefix,
                    private_home=restore.private_home(config),
                ),
                hosts,
                wanted,
            )
        ) as log,
    ):
        yield Recovery(log.fetch, at=at, owner=owner(config))


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


class Log:
    """The files of one server's log, the next ones under way while one is used."""

    def __init__(
        self, archive: Store, opener: Opener, hosts: Sequence[str], wanted: WalEntry
    ) -> None:
        self._archive = archive
        self._opener = opener
        self._hosts = tuple(hosts)
        self._system_id = int(wanted.system_id)
        self._segment_bytes = wanted.segment_bytes
        # where each timeline begins, as far as it is known
        self._begins = {wanted.timeline: names.parse_position(wanted.start) // wanted.segment_bytes}
        self._ahead = _AHEAD if wanted.segment_bytes <= _LARGE else 1
        self._pool = ThreadPoolExecutor(self._ahead)
        self._coming: dict[str, Future[Opened | None]] = {}

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    def fetch(self, text: str) -> Bytes | None:
        """Return a file's bytes, None when the log has ended; raise WAL_GAP when it goes on, and
        what `Opener.find` raises."""
        name = names.parse(text)
        if name is None:
            return None
        opened = self._result(name)
        if opened is None:
            if name.kind is Kind.SEGMENT:
                self._require_end(name)
            return None
        if name.kind is Kind.HISTORY:
            switches = timelines.parse(bytes(opened.content.view), name.timeline)
            if switches:
                self._begins[name.timeline] = switches[-1].left_at // self._segment_bytes
        return opened.content.view

    def _result(self, name: Name) -> Opened | None:
        coming = self._coming.pop(name.text, None)
        if name.kind is not Kind.SEGMENT:
            return self._find(name)
        following = name
        for _ in range(self._ahead):
            following = following.following(self._segment_bytes)
            if following.text not in self._coming and name.timeline in self._begins:
                self._coming[following.text] = self._pool.submit(self._find, following)
        for stale in set(self._coming) - self._wanted(name):
            self._coming.pop(stale).cancel()
        return coming.result() if coming is not None else self._find(name)

    def _wanted(self, name: Name) -> set[str]:
        found, following = set(), name
        for _ in range(self._ahead):
            following = following.following(self._segment_bytes)
            found.add(following.text)
        return found

    def _find(self, name: Name) -> Opened | None:
        return self._opener.find(self._hosts, self._system_id, name)

    def _require_end(self, name: Name) -> None:
        begin = self._begins.get(name.timeline)
        number = name.number(self._segment_bytes)
        if begin is None or number < begin:
            return  # the server asks every timeline in turn
        later = [
            entry.place.name
            for host in self._hosts
            for entry in listing.entries(
                self._archive, host=host, system_id=self._system_id, timeline=name.timeline
            )
            if entry.place.name.kind is Kind.SEGMENT
            and entry.place.name.number(self._segment_bytes) > number
        ]
        # it may have arrived while this was looked at: several are shipped at once
        if later and self._find(name) is None:
            raise Art32Error(
                Code.WAL_GAP,
                f"the segment `{name.text}` of the write-ahead log is not in the store, and "
                f"{len({one.text for one in later})} later ones are",
                hint="restore to a moment before the gap with `--at`, or from a base backup after "
                "it with `--id`",
            )
