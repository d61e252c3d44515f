"""One rotation of one log: cut what is due, tell the writer, ship what it has let go of."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from agent import clock, files
from agent.config.logs_rotate import RotatedLog
from agent.config.model import Configuration
from agent.errors import Art32Error, Code
from agent.logs.rotate import cut as cutting
from agent.logs.rotate import directory, kept, lease, names, reopen
from agent.logs.rotate.cut import Cut
from agent.logs.rotate.directory import LogDirectory
from agent.logs.rotate.kept import Copy
from agent.logs.rotate.names import Segment
from agent.logs.second import Found
from agent.logs.ship import Shipped, Treatment, scrub_alone, ship

if TYPE_CHECKING:
    from agent.backup.log_segments import Shipping

OVERDUE = timedelta(hours=1)
_POLL_SECONDS = 0.05
_LONGEST_POLL_SECONDS = 1.0
#: After one of these the next segment would fail in the same way.
_HOPELESS = (
    Code.STORE_UNREACHABLE,
    Code.STORE_REFUSED,
    Code.STORE_FULL,
    Code.STORE_MISSING,
    Code.DISK,
    Code.LEDGER_BROKEN,
    Code.ENCRYPTION_INEFFECTIVE,
)


@dataclass
class Rotation:
    """What a run over one log came to. `waiting` are segments that their writer still holds."""

    log: str
    cut: list[Cut] = field(default_factory=list)
    shipped: list[Shipped] = field(default_factory=list)
    waiting: list[Segment] = field(default_factory=list)
    told: str | None = None
    warnings: list[str] = field(default_factory=list)
    errors: list[Art32Error] = field(default_factory=list)


Treat = Callable[[RotatedLog, Segment, datetime, LogDirectory], Treatment]


def rotate(
    config: Configuration,
    log: RotatedLog,
    shipping: Shipping,
    treat: Treat,
    *,
    force: bool = False,
) -> Rotation:
    """Rotate one log and ship every segment of it; what failed is in the result.

    `treat` is given the log, a segment of it, when that was begun, and the open directory. Raise
    LOCKED when another run of this log is in progress, `Interrupted` after a signal.
    """
    lock = config.state_directory / "locks" / "logs" / f"{log.name}.lock"
    result = Rotation(log.name)
    with files.lock(lock, what=f"the rotation of `{log.name}`"):
        try:
            trusted = directory.trust(log.reopening().owner, log.reopening().group)
            with directory.opened(log.path.parent, trusted) as place:
                _Pass(log, place, shipping, treat, result).run(force=force)
                kept.prune(log, place, config.logs.retention, clock.now())
        except Art32Error as error:
            result.errors.append(error)
    return result


@dataclass
class _Pass:
    """The work on one log in its open directory."""

    log: RotatedLog
    place: LogDirectory
    shipping: Shipping
    treat: Treat
    result: Rotation

    def run(self, *, force: bool) -> None:
        self._cut(force=force)
        pending = segments(self.log, self.place)
        if any(self._busy(segment) for segment in pending):
            self._tell()
        warn = self.result.warnings.append
        known = dict(self.shipping.shipped(self.log.name, warn=warn)) if pending else {}
        end = clock.monotonic() + self.log.wait_seconds
        pause = _POLL_SECONDS
        while pending := self._ship_free(pending, known):
            if clock.monotonic() >= end:
                break
            clock.sleep(pause)
            pause = min(2 * pause, _LONGEST_POLL_SECONDS)
        self.result.waiting = pending
        self._warn_of_overdue()

    def _cut(self, *, force: bool) -> None:
        if self.log.method == "copytruncate":
            self.result.warnings.append(
                f"`{self.log.name}` is copied and truncated: lines that are written in between are "
                "lost, and a kill in between doubles some; let the writer reopen, if it can"
            )
        for name in cutting.live_files(self.log, self.place):
            try:
                done = cutting.cut(
                    self.log, self.place, name, last_cut=self._last_cut(), force=force
                )
            except Art32Error as error:
                self.result.errors.append(error)
                continue
            if done is not None:
                self.result.cut.append(done)

    def _last_cut(self) -> datetime | None:
        """Return when a log was last cut that keeps its file for ever."""
        if self.log.method != "copytruncate":
            return None
        here = [segment.cut for segment in segments(self.log, self.place)]
        return max([*here, *self.shipping.cut_times(self.log.name)], default=None)

    def _busy(self, segment: Segment) -> bool:
        try:
            with self.place.reading(segment.name) as descriptor:
                return not lease.acquire(descriptor, segment.name)
        except (FileNotFoundError, Art32Error):
            return False  # whatever it is comes up again when it is shipped

    def _tell(self) -> None:
        try:
            self.result.told = reopen.tell(self.log.reopening(), self.place.trust)
        except Art32Error as error:
            self.result.errors.append(error)

    def _ship_free(self, pending: list[Segment], known: dict[str, int]) -> list[Segment]:
        """Ship the segments that nobody holds, oldest first; return those that somebody does."""
        held = []
        for number, segment in enumerate(pending):
            try:
                with self.place.reading(segment.name) as descriptor:
                    if not lease.acquire(descriptor, segment.name):
                        held.append(segment)
                        continue
                    self._ship(segment, descriptor, known)
            except FileNotFoundError:
                continue
            except Art32Error as error:
                self.result.errors.append(error)
                if error.code in _HOPELESS:
                    left = len(pending) - number - 1
                    if left:
                        self.result.warnings.append(
                            f"{left} more segments of `{self.log.name}` wait for the next run"
                        )
                    return []
        return held

    def _ship(self, segment: Segment, descriptor: int, known: dict[str, int]) -> None:
        """Ship one segment that is under our lease, and remove it."""
        size = os.fstat(descriptor).st_size
        tag = self.shipping.tag(segment.id)
        if size == 0:
            done = Shipped(segment, 0, None, Found())
        elif known.get(tag) == size:  # a kill came between the record and the removal
            done = self._shipped_before(segment, descriptor, size)
        else:
            if tag in known:
                self.result.warnings.append(
                    f"`{segment.name}` was shipped already and has {size} bytes now, then "
                    f"{known[tag]}: it is shipped again as it is"
                )
            done = self._ship_now(segment, descriptor)
            known[tag] = size
        self._judge(done)
        if not lease.held(descriptor) or os.fstat(descriptor).st_size != size:
            self.result.warnings.append(
                f"somebody opened `{segment.name}` for writing while it was shipped: it stays, and "
                "is shipped again when it has grown"
            )
            return
        if not self.place.remove(segment.name, descriptor):
            self.result.warnings.append(f"`{segment.name}` was exchanged while it was shipped")

    def _ship_now(self, segment: Segment, descriptor: int) -> Shipped:
        copy = Copy(self.place, segment) if self.log.keep_local else None
        treatment = self._treatment(segment, descriptor, copy)
        try:
            done = ship(self.shipping, self.log.name, segment, descriptor, treatment)
            if copy is not None and not done.raw:
                self._commit(copy)
        finally:
            if copy is not None:
                copy.close()
        return done

    def _shipped_before(self, segment: Segment, descriptor: int, size: int) -> Shipped:
        """Make the copy that the kill has cost, when there is to be one."""
        if self.log.keep_local and segment.kept_name not in self.place.names():
            copy = Copy(self.place, segment)
            scrub_alone(segment, descriptor, self._treatment(segment, descriptor, copy))
            self._commit(copy)
        return Shipped(segment, size, None, Found())

    def _treatment(self, segment: Segment, descriptor: int, copy: Copy | None) -> Treatment:
        begun = min(directory.begun(descriptor) or segment.cut, segment.cut)
        treatment = self.treat(self.log, segment, begun, self.place)
        if copy is not None:
            treatment.keep = copy.add
        return treatment

    def _commit(self, copy: Copy) -> None:
        copy.commit()
        if copy.problem is not None:
            self.result.warnings.append(copy.problem)

    def _judge(self, done: Shipped) -> None:
        self.result.shipped.append(done)
        if done.raw:
            self.result.warnings.append(
                f"ALARM: the second scanner found {done.found.hits} addresses in "
                f"{done.found.lines} scrubbed lines of `{done.segment.name}`: it was encrypted "
                "raw, and only the recipients can read it; the scrubber is not to be trusted"
            )
        elif done.found.hits:
            self.result.warnings.append(
                f"the second scanner masked {done.found.hits} addresses that the scrubber had left "
                f"in `{done.segment.name}`"
            )

    def _warn_of_overdue(self) -> None:
        for segment in self.result.waiting:
            if clock.now() - segment.cut >= OVERDUE:
                self.result.warnings.append(overdue_note(segment))


def segments(log: RotatedLog, place: LogDirectory) -> list[Segment]:
    """Return the raw segments of a log, oldest first."""
    found = [names.parse(name) for name in place.names()]
    return sorted(one for one in found if one is not None and log.matches(one.file))


def overdue_note(segment: Segment) -> str:
    """Return what is wrong with a segment that has been waiting for too long."""
    return (
        f"`{segment.name}` was cut at {clock.iso(segment.cut)} and its writer still has it open: "
        "it holds raw lines until the writer reopens its logs or ends"
    )
