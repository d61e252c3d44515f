"""One drill: a backup into a throw-away engine, looked at, measured, recorded, thrown away."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from agent import clock, output
from agent.backup import recovery, restore
from agent.backup.catalog import Backup, Unit
from agent.backup.drill import place, record
from agent.backup.drill.engines import Check, Engine, kind
from agent.backup.drill.record import Drilled
from agent.backup.manifest import Details
from agent.backup.sources import Reached, Recovery, RestoreRequest
from agent.backup.wal import names as wal_names
from agent.config.drill import DrillCheck
from agent.config.model import Configuration
from agent.errors import Art32Error, Code, Interrupted
from agent.ledger import Ledger
from agent.store import Store

_GLOBALS = "postgresql-globals"
_CLOCKS_DIFFER = timedelta(minutes=10)


@dataclass(frozen=True)
class Occasion:
    """What a drill belongs to and is judged by, besides its backup.

    `campaign` and `parts` as in the record. `following` is the next good backup, None for the
    newest. `known` are the earlier drills of this source.
    """

    campaign: str
    parts: int = 1
    following: Unit | None = None
    known: tuple[Drilled, ...] = ()

    @property
    def until(self) -> datetime | None:
        """When the time of the backup ended: a next one was stored."""
        return None if self.following is None else self.following.stored_at


@dataclass
class Rehearsal:
    """What a drill has shown. Seconds of wall time by phase; `loss` are the seconds between the
    newest row and the end of the backup's time, the most of all databases, None where no query for
    it is configured.
    `backup` is None where there was none to drill. `member` is for the screen, `recorded` is what
    the ledger got."""

    host: str
    source: str
    campaign: str
    parts: int = 1
    backup: Backup | None = None
    kind: str | None = None
    member: str = ""
    checks: list[Check] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    plain_bytes: int = 0
    loss: float | None = None
    system_identifier: str | None = None
    snapshot_lsn: str | None = None
    error: Art32Error | None = None
    warnings: list[str] = field(default_factory=list)
    number: str = field(default_factory=lambda: secrets.token_hex(8))
    recorded: dict[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return self.backup.id if self.backup is not None else ""

    @property
    def good(self) -> bool:
        return self.error is None and not any(check.good is False for check in self.checks)

    @property
    def total(self) -> float:
        """RTO as measured: from the first byte asked for to the last check."""
        return sum(self.seconds.values())

    @property
    def word(self) -> str:
        """What the ledger calls the result."""
        if self.error is not None:
            return self.error.code.label
        return "ok" if self.good else Code.DRILL_FAILED.label


def worth_a_drill(config: Configuration, store: Store, backups: tuple[Backup, ...]) -> list[Backup]:
    """Return the parts of a backup that an engine can take: roles alone are none of them."""
    if len(backups) == 1:
        return list(backups)
    parts = []
    for backup in backups:
        with restore.opened(config, store, backup) as (ready, _):
            if ready.details.facts.get("format") != _GLOBALS:
                parts.append(backup)
    return parts


def rehearse(
    config: Configuration,
    store: Store,
    backup: Backup,
    ledger: Ledger,
    occasion: Occasion,
    *,
    fresh: Check | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> Rehearsal:
    """Restore one backup into an engine of its own and return what it has shown.

    `fresh` is a check that was made already. Whatever goes wrong is in the result, and recorded;
    raise `Interrupted` after a signal. Nothing of the engine is left.
    """
    host, source = backup.place_key
    done = Rehearsal(host, source, occasion.campaign, occasion.parts, backup)
    if fresh is not None:
        done.checks.append(fresh)
    try:
        with place.held(config.drill.directory) as directory:
            drill = _Drill(config, store, ledger, occasion, done)
            try:
                asked = drill.run(backup, directory, progress)
            except Art32Error as error:
                raise place.explained(directory, error) from error
        limits = [one.maximum_minutes for one in asked if one.maximum_minutes is not None]
        if limits:
            within = done.total <= min(limits) * 60
            done.checks.append(Check("time", within, output.duration(done.total)))
    except Art32Error as error:
        done.error = error
    except OSError as error:
        done.error = _unusable(config.drill.directory, error)
    except Interrupted:
        done.warnings += record.finished(ledger, done, Code.INTERRUPTED.label)
        raise
    done.warnings += record.finished(ledger, done, done.word)
    return done


def _unusable(directory: Path, error: OSError) -> Art32Error:
    return Art32Error(
        Code.DISK,
        f"what was restored to `{directory}` cannot be used: {(error.strerror or 'error').lower()}",
        hint="`drill.directory` needs room for the largest source, on a healthy disk",
    )


@dataclass
class _Drill:
    config: Configuration
    store: Store
    ledger: Ledger
    occasion: Occasion
    done: Rehearsal

    def run(
        self, backup: Backup, directory: Path, progress: Callable[[int], None]
    ) -> list[DrillCheck]:
        """Restore into an engine in a directory, look at what came back, and return what it had to
        show."""
        done, user = self.done, self.config.restore.engine_user
        engines: list[tuple[Engine, Details]] = []
        begun = clock.monotonic()
        with contextlib.ExitStack() as stack:

            def request(details: Details) -> RestoreRequest:
                started = clock.monotonic()
                done.kind, done.member = details.kind, details.member
                place.require_room(directory, details)
                engine = stack.enter_context(kind(details.kind).engine(directory, user, details))
                done.seconds["engine"] = clock.monotonic() - started
                engines.append((engine, details))
                log = stack.enter_context(self._log(backup, details))
                return RestoreRequest(
                    target=engine.target,
                    facts=details.facts,
                    # on a server that is confined, empty and thrown away the dump may be its master
                    allow_superuser=True,
                    engine_user=user,
                    recovery=log,
                    thrown_away=True,
                )

            restored = restore.restore(
                self.config, self.store, backup, self.ledger, request, progress=progress
            )
            ((engine, details),) = engines
            done.seconds["restore"] = clock.monotonic() - begun - done.seconds["engine"]
            done.plain_bytes = restored.plain_bytes
            done.warnings += restored.warnings
            self._origin(backup, details)
            asked = self._asked(details)
            started = clock.monotonic()
            newest = []
            for wanted in asked:
                done.checks += engine.examine(details, wanted)
                newest.append(engine.newest_row(wanted))
            done.seconds["checks"] = clock.monotonic() - started
            for moment, wanted in zip(newest, asked, strict=True):
                if moment is not None:
                    self._loss(moment, wanted)
        return asked

    @contextlib.contextmanager
    def _log(self, backup: Backup, details: Details) -> Iterator[Recovery | None]:
        """Hold the log that a base backup follows: of the newest all there is, of an older one up
        to where the next began, so that each drill shows a stretch of its own."""
        if details.kind != recovery.KIND:
            yield None
            return
        until = None
        if self.occasion.following is not None:
            manifest = self.occasion.following.backups[0].manifest
            wal = manifest.wal if manifest is not None else None
            if wal is not None and wal.system_id == recovery.needed(details).system_id:
                until = wal_names.parse_position(wal.start)
        note = self.done.warnings.append
        with recovery.following(
            self.config, details, backup.place.host, (), None, note, until=until
        ) as log:
            # the engine's user keeps what will be thrown away
            yield replace(log, owner=None, reached=self._followed)

    def _followed(self, reached: Reached) -> None:
        last = f"its last transaction is of {reached.last}" if reached.last else "no transaction"
        self.done.checks.append(Check("log", True, f"followed to {reached.position}: {last}"))

    def _asked(self, details: Details) -> list[DrillCheck]:
        """Return what the restored data must show; of a whole server first of itself, then of each
        of its databases."""
        host, source, this_host = self.done.host, self.done.source, self.config.host
        _, colon, database = details.member.partition(":")
        check = self.config.drill.check(
            host, source, this_host=this_host, database=database if colon else None
        )
        if details.kind != recovery.KIND:
            return [check]
        return [check, *self.config.drill.databases(host, source, this_host=this_host)]

    def _loss(self, newest: datetime, wanted: DrillCheck) -> None:
        """Measure what would have been lost had the live server ended just before the next backup,
        or, of the newest one, had it ended now."""
        end = self.occasion.until or clock.now()
        loss = (end - newest).total_seconds()
        self.done.loss = loss if self.done.loss is None else max(loss, self.done.loss)
        shown = f"the newest row is of {clock.iso(newest)}"
        if newest - clock.now() > _CLOCKS_DIFFER:
            good, shown = False, f"{shown}, which is to come"
        else:
            lost = output.duration(max(loss, 0))
            until = "" if self.occasion.until is None else " at the end of its time"
            good, shown = True, f"{shown}: {lost} would be lost{until}"
            if wanted.maximum_loss_hours is not None:
                good = loss <= wanted.maximum_loss_hours * 3600
        self.done.checks.append(Check("loss", good, shown))

    def _origin(self, backup: Backup, details: Details) -> None:
        """Look from where and when the data are: the server's own word in the details."""
        done = self.done
        identifier = details.facts.get("system_identifier")
        done.system_identifier = identifier if isinstance(identifier, str) else None
        lsn = details.facts.get("snapshot_lsn")
        done.snapshot_lsn = lsn if record.position(lsn) is not None else None
        if (moment := _moment(details.facts.get("snapshot_time"))) is not None:
            done.checks.append(self._snapshot(backup, moment))
        known = [one for one in self.occasion.known if one.good]
        if known and done.system_identifier not in (None, known[-1].system_identifier or None):
            done.warnings.append(
                "the backup comes from another cluster than that of the last drill: if nobody "
                "rebuilt the server, the wrong one is backed up"
            )
        self._position(backup)

    def _snapshot(self, backup: Backup, moment: datetime) -> Check:
        limit = timedelta(hours=self.config.retention.newest_within_hours)
        good = -_CLOCKS_DIFFER <= backup.stored_at - moment <= limit
        age = output.duration(abs((backup.stored_at - moment).total_seconds()))
        order = "before" if moment <= backup.stored_at else "after"
        return Check("snapshot", good, f"of {clock.iso(moment)}, {age} {order} it was stored")

    def _position(self, backup: Backup) -> None:
        """Warn when the server's log stood further in an earlier backup of the same cluster."""
        mine = record.position(self.done.snapshot_lsn)
        earlier = [
            one
            for one in self.occasion.known
            if one.stored_at is not None
            and one.stored_at < backup.stored_at
            and one.position is not None
            and one.system_identifier == self.done.system_identifier
        ]
        if mine is None or not earlier:
            return
        last = max(earlier, key=lambda one: one.stored_at or one.at)
        if last.position is not None and last.position > mine:
            self.done.warnings.append(
                f"the server stood at {self.done.snapshot_lsn}, behind where it stood in the "
                f"earlier backup `{last.id}`: a standby that lags is backed up, or the server was "
                "set back"
            )


def _moment(text: object) -> datetime | None:
    try:
        return clock.parse_iso(str(text))
    except ValueError:
        return None
