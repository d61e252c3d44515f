"""Ships what PostgreSQL hands over: several files at once, each answered for when it is durable.

What a push offers besides its own file is shipped meanwhile, and the next push is answered from the
mark that this leaves. Segments are sealed side by side and *put* one after the other, and none that
was merely offered after one that failed: an archive then never has a hole, at whatever instant a
host dies, and one that has lost something. What PostgreSQL itself asks for is shipped although an
earlier one failed: it asks in order, and has given that one up.
"""

from __future__ import annotations

import contextlib
import heapq
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from agent import compression
from agent.backup.wal import marks, names, pages, seal, timelines
from agent.backup.wal.keys import Keys
from agent.backup.wal.marks import Identity, Mark, Marks
from agent.backup.wal.names import Kind
from agent.backup.wal.place import Place
from agent.errors import Art32Error, Code, from_defect
from agent.memory import Buffer, Room
from agent.store import Store, digest

_LARGEST = names.SEGMENT_BYTES[-1]
_WAITING = 64

_CLOSING = "the service is ending"

Report = Callable[[Place, Art32Error | None], None]


@dataclass
class _Job:
    place: Place
    descriptor: int
    identity: Identity
    before: _Job | None = None  # the segment that must be in the store first
    done: threading.Event = field(default_factory=threading.Event)
    error: Art32Error | None = None

    @property
    def key(self) -> tuple[Place, Identity]:
        return self.place, self.identity

    def __lt__(self, other: _Job) -> bool:
        """As PostgreSQL does it: histories first, then by name (pgarch.c)."""
        return _order(self.place) < _order(other.place)


class Shipper:
    """Workers that seal files and put them into an archive."""

    def __init__(
        self,
        keys: Keys,
        archive: Store,
        known: Marks,
        *,
        prefix: str,
        workers: int,
        report: Report = lambda *_: None,
    ) -> None:
        """`archive` comes from `place.open_archive`, `prefix` is that of the `[store]` section.
        `report` is told of each file what became of it."""
        self._keys = keys
        self._archive = archive
        self._marks = known
        self._prefix = prefix
        self._report = report
        self._guard = threading.Condition()
        self._waiting: list[_Job] = []  # a heap
        self._jobs: dict[tuple[Place, Identity], _Job] = {}
        self._failed: set[Place] = set()  # segments that hold back what is offered after them
        self._closed = False
        for _ in range(workers):
            threading.Thread(target=self._work, daemon=True).start()

    def ship(self, place: Place, descriptor: int, more: Sequence[tuple[Place, int]] = ()) -> None:
        """Return when a file is in the store for good; raise what keeps it from it.

        `more` is shipped when there is time: what becomes of it shows at its own push.
        SOURCE_INCOMPLETE and SPLIT_BRAIN are about the file; others are keys and store.
        """
        wanted = self._enqueue(place, [(place, descriptor), *more])
        if wanted is None:
            return
        wanted.done.wait()
        if wanted.error is not None:
            raise wanted.error

    def close(self) -> None:
        """Begin nothing more; whoever waits is told to try again."""
        with self._guard:
            self._closed = True
            left, self._waiting = self._waiting, []
            self._guard.notify_all()
        for job in left:
            self._finish(job, _later(_CLOSING))
            with contextlib.suppress(OSError):
                self._report(job.place, job.error)

    def _enqueue(self, wanted: Place, offered: Sequence[tuple[Place, int]]) -> _Job | None:
        """Have everything shipped that no mark knows; return the job of what is wanted, if any."""
        unknown = []
        # in order: each then knows the one that must be stored before it
        for place, descriptor in sorted(offered, key=lambda pair: _order(pair[0])):
            identity = marks.identity(descriptor)
            mark = self._marks.get(place)
            if mark is None or mark.identity != identity:
                unknown.append((place, descriptor, identity))
        found = None
        with self._guard:  # for all of them: the first may fail before the second is looked at
            if unknown and self._closed:
                raise _later(_CLOSING)
            self._failed -= {one for one in self._failed if _comes_before(one, wanted)}
            for place, descriptor, identity in unknown:
                if place == wanted:
                    found = self._job(place, descriptor, identity)
                elif len(self._waiting) < _WAITING and not self._held_back(place):
                    self._job(place, descriptor, identity)
            self._guard.notify_all()
        return found

    def _job(self, place: Place, descriptor: int, identity: Identity) -> _Job:
        job = self._jobs.get((place, identity))
        if job is None:
            before = [one for one in self._jobs.values() if _comes_before(one.place, place)]
            job = _Job(place, os.dup(descriptor), identity, max(before, default=None))
            self._jobs[job.key] = job
            heapq.heappush(self._waiting, job)
        return job

    def _held_back(self, place: Place) -> bool:
        """Say whether a segment before this one has failed and is not being tried again."""
        before = [one for one in self._failed if _comes_before(one, place)]
        return bool(before) and not {job.place for job in self._jobs.values()}.issuperset(before)

    def _work(self) -> None:
        room = Room()
        while True:
            with self._guard:
                while not self._waiting:
                    if self._closed:
                        return
                    room.drop()
                    self._guard.wait()
                job = heapq.heappop(self._waiting)
            error: Art32Error | None = None
            mark: Mark | None = None
            try:
                mark = self._ship(job, room)
            except Art32Error as failure:
                error = failure
            except Exception as failure:  # noqa: BLE001 - whoever waits must hear of it
                error = from_defect(failure)
            self._finish(job, error)
            # nobody waits any more, the next segment is being stored
            if mark is not None:
                self._marks.keep(job.place, mark)
            with contextlib.suppress(OSError):
                self._report(job.place, error)

    def _finish(self, job: _Job, error: Art32Error | None) -> None:
        with self._guard:
            self._jobs.pop(job.key, None)
            if error is None:
                self._failed.discard(job.place)
            elif job.place.name.kind is Kind.SEGMENT:
                self._failed.add(job.place)
        os.close(job.descriptor)
        job.before = None
        job.error = error
        job.done.set()

    def _ship(self, job: _Job, room: Room) -> Mark:
        content = _read(job, room)
        _check(content, job.place)
        frame = compression.whole(content)
        mark = Mark(job.identity, marks.of_frame(frame))
        if not marks.require_same(self._marks.get(job.place), mark.content, job.place):
            message = self._sealed(job.place, frame, room)
            computed = digest(message.view)
            if job.before is not None:  # it was taken up earlier, so that this comes to an end
                job.before.done.wait()
                if job.before.error is not None:
                    raise _later(f"`{job.before.place.name.text}` has to be stored first")
            self._archive.put(job.place.new_object(), message.view, sha256=computed)
        self._marks.set(job.place, mark)
        return mark

    def _sealed(self, place: Place, frame: bytes, room: Room) -> Buffer:
        writer = self._keys.get()
        try:
            return seal.sign_and_encrypt(writer, self._prefix, place, frame, room)
        except Art32Error:
            # a key file was replaced, or the agent has ended: once more with what is there now
            self._keys.drop(writer)
        return seal.sign_and_encrypt(self._keys.get(), self._prefix, place, frame, room)


def _order(place: Place) -> tuple[bool, str]:
    return place.name.kind is not Kind.HISTORY, place.name.text


def _comes_before(one: Place, other: Place) -> bool:
    """Say whether both are segments of one timeline, and which is the earlier."""
    return (
        one.name.kind is other.name.kind is Kind.SEGMENT
        and one.directory == other.directory
        and one.name.text < other.name.text
    )


def _later(why: str) -> Art32Error:
    return Art32Error(Code.WAL_LATER, why, hint="PostgreSQL asks again by itself")


def _read(job: _Job, room: Room) -> memoryview:
    """Return what is in the file now; raise SOURCE_INCOMPLETE when it is larger than may be."""
    whole = job.place.name.kind in (Kind.SEGMENT, Kind.PARTIAL)
    limit = _LARGEST if whole else timelines.HISTORY_BYTES
    size = job.identity[2]
    content = room.take("file", min(size, limit))
    try:
        while size <= limit and content.length < size:
            if not content.extend(lambda free: os.preadv(job.descriptor, [free], content.length)):
                break
    except OSError as error:
        raise Art32Error(
            Code.SOURCE_FAILED,
            f"`{job.place.name.text}` cannot be read: {(error.strerror or 'error').lower()}",
            hint="look at the disk: `dmesg`",
        ) from error
    if content.length != size:
        raise Art32Error(
            Code.SOURCE_INCOMPLETE, f"`{job.place.name.text}` has not the size it should have"
        )
    return content.view


def _check(content: memoryview, place: Place) -> None:
    """Raise SOURCE_INCOMPLETE, or CORRUPT for a history, unless a file is what its name says."""
    name = place.name
    if name.kind in (Kind.SEGMENT, Kind.PARTIAL):
        pages.check(content, name, place.system_id)
    elif name.kind is Kind.HISTORY:
        timelines.parse(bytes(content), name.timeline)
    elif not bytes(content).startswith(b"START WAL LOCATION: "):
        raise Art32Error(Code.SOURCE_INCOMPLETE, f"`{name.text}` is no label of a base backup")
