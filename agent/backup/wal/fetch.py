"""Brings files back to a server that recovers, and the next segments before it asks for them.

`absent` is what ends a recovery, so it is said only when the store, asked, has neither the file nor
anything that comes after it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from agent.backup.wal import listing
from agent.backup.wal.names import Kind, Name
from agent.backup.wal.opening import Opened, Opener
from agent.errors import Art32Error, Code, from_defect
from agent.store import Store

AHEAD = 3
_AHEAD_BYTES = 256 << 20
_ATTEMPTS = 3


@dataclass
class _Task:
    done: threading.Event = field(default_factory=threading.Event)
    found: Opened | None = None
    error: Art32Error | None = None

    def run(self, action: Callable[[], Opened | None]) -> None:
        try:
            self.found = action()
        except Art32Error as error:
            self.error = error
        except Exception as error:  # noqa: BLE001 - whoever waits must hear of it
            self.error = from_defect(error)
        finally:
            self.done.set()


class Fetcher:
    """Finds files in the archives of some hosts, and reads ahead. Safe between threads."""

    def __init__(
        self,
        archive: Store,
        opener: Opener,
        hosts: Sequence[str],
        *,
        system_id: int | None = None,
        ahead: int = AHEAD,
    ) -> None:
        """With `system_id` whatever else is asked for is refused."""
        self._archive = archive
        self._opener = opener
        self._hosts = tuple(hosts)
        self._system_id = system_id
        self._ahead = ahead
        self._guard = threading.Lock()
        self._tasks: dict[tuple[int, str], _Task] = {}

    def fetch(self, system_id: int, name: Name) -> Opened | None:
        """Return a file; None when it is proved that there is none.

        Raise WAL_GAP when later ones are there, or nothing at all of this cluster; STORE_FAILED
        when the store contradicts itself; SUSPECT when another cluster is asked for than was
        agreed; and what `Opener.find` raises.
        """
        if self._system_id not in (None, system_id):
            raise Art32Error(
                Code.SUSPECT,
                f"the server that recovers is of another cluster, `{system_id}`",
                hint="its data directory is not of the backup that is restored",
            )
        with self._guard:
            task = self._tasks.pop((system_id, name.text), None)
        if task is not None:
            task.done.wait()
        if task is not None and task.found is not None:
            found: Opened | None = task.found
        else:  # what was not there, or failed, a moment ago may be there now
            found = self._found(system_id, name)
        if found is not None:
            self._read_ahead(system_id, name, found.segment_bytes)
        return found

    def _found(self, system_id: int, name: Name) -> Opened | None:
        for _ in range(_ATTEMPTS):
            found = self._opener.find(self._hosts, system_id, name)
            if found is not None or self._is_absent(system_id, name):
                return found
        raise Art32Error(
            Code.STORE_FAILED,
            f"the store contradicts itself: it lists `{name.text}`, and then it does not",
            hint="art32 doctor; then try again",
        )

    def _is_absent(self, system_id: int, name: Name) -> bool:
        """Say whether it is proved that there is no such file; False when it is there by now."""
        if name.kind not in (Kind.SEGMENT, Kind.HISTORY):
            return True
        anything = False
        for host in self._hosts:
            for entry in listing.entries(self._archive, host=host, system_id=system_id):
                anything = True
                if entry.place.name == name:
                    return False
                if _is_later(entry.place.name, name):
                    raise Art32Error(
                        Code.WAL_GAP,
                        f"the archive has no `{name.text}`, and it has what comes after it, "
                        f"`{entry.place.name.text}`",
                        hint="art32 backup verify; after a failover name all hosts in `wal.hosts`",
                    )
        if not anything:
            hosts = ", ".join(f"`{host}`" for host in self._hosts)
            raise Art32Error(
                Code.WAL_GAP,
                f"there is nothing at all of the cluster `{system_id}` in the archive of {hosts}",
                hint="is it the right store, with the right `prefix`, and the right `wal.hosts`?",
            )
        return True

    def _read_ahead(self, system_id: int, name: Name, segment_bytes: int | None) -> None:
        """Begin to fetch what comes next, and forget what does not."""
        if name.kind is not Kind.SEGMENT or segment_bytes is None:
            return
        wanted: list[Name] = []
        following = name
        for _ in range(min(self._ahead, _AHEAD_BYTES // segment_bytes)):
            following = following.following(segment_bytes)
            wanted.append(following)
        with self._guard:
            keys = {(system_id, one.text) for one in wanted}
            self._tasks = {key: task for key, task in self._tasks.items() if key in keys}
            begun = [one for one in wanted if (system_id, one.text) not in self._tasks]
            for one in begun:
                task = self._tasks[system_id, one.text] = _Task()
                threading.Thread(
                    target=task.run, args=(self._finder(system_id, one),), daemon=True
                ).start()

    def _finder(self, system_id: int, name: Name) -> Callable[[], Opened | None]:
        return lambda: self._opener.find(self._hosts, system_id, name)


def _is_later(there: Name, asked: Name) -> bool:
    """Whether a file shows that there must be one of the name asked for."""
    if asked.kind is Kind.HISTORY:
        return there.kind is Kind.HISTORY and there.timeline > asked.timeline
    return (
        there.kind is Kind.SEGMENT and there.timeline == asked.timeline and there.text > asked.text
    )
