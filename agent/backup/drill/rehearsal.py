"""One drill: a backup into a throw-away engine, looked at, measured, recorded, thrown away."""

from __future__ import annotations

import contextlib
import secrets
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from agent import clock, files, output
from agent.backup import restore
from agent.backup.catalog import Backup
from agent.backup.drill import record
from agent.backup.drill.engines import Check, Engine, kind
from agent.backup.manifest import Details
from agent.backup.sources import RestoreRequest
from agent.config.drill import DrillCheck
from agent.config.model import Configuration
from agent.errors import Art32Error, Code, Interrupted
from agent.ledger import Ledger
from agent.store import Store

_GLOBALS = "postgresql-globals"
_CLOCKS_DIFFER = 600.0


@dataclass
class Rehearsal:
    """What a drill has shown. Seconds of wall time by phase; `loss` are the seconds between the
    newest row and now, None where no query for it is configured."""

    backup: Backup
    checks: list[Check] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    plain_bytes: int = 0
    loss: float | None = None
    system_identifier: str | None = None
    error: Art32Error | None = None
    warnings: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return self.error is None and not any(check.good is False for check in self.checks)

    @property
    def total(self) -> float:
        """RTO as measured: from the first byte asked for to the last check."""
        return sum(self.seconds.values())


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
    *,
    last_identifier: str | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> Rehearsal:
    """Restore one backup into an engine of its own and return what it has shown.

    Whatever goes wrong with the backup or the engine is in the result, and recorded; raise DISK or
    PERMISSION when there is no place for an engine, `Interrupted` after a signal. Nothing of the
    engine is left.
    """
    done = Rehearsal(backup)
    wanted = config.drill.check(backup.place.host, backup.place.source, this_host=config.host)
    number = secrets.token_hex(8)
    try:
        with _place(config.drill.directory) as place:
            _restore_and_examine(config, store, backup, ledger, place, wanted, done, progress)
        _compare_identifier(done, last_identifier)
        if wanted.maximum_minutes is not None:
            within = done.total <= wanted.maximum_minutes * 60
            done.checks.append(Check("time", within, output.duration(done.total)))
    except Art32Error as error:
        done.error = error
    except Interrupted:
        done.warnings += record.finished(ledger, number, done, Code.INTERRUPTED.label)
        raise
    done.warnings += record.finished(ledger, number, done, _word(done))
    return done


def _word(done: Rehearsal) -> str:
    if done.error is not None:
        return done.error.code.label
    return "ok" if done.good else Code.DRILL_FAILED.label


def _restore_and_examine(
    config: Configuration,
    store: Store,
    backup: Backup,
    ledger: Ledger,
    place: Path,
    wanted: DrillCheck,
    done: Rehearsal,
    progress: Callable[[int], None],
) -> None:
    user = config.restore.engine_user
    engines: list[tuple[Engine, Details]] = []
    begun = clock.monotonic()
    with contextlib.ExitStack() as stack:

        def request(details: Details) -> RestoreRequest:
            started = clock.monotonic()
            engine = stack.enter_context(kind(details.kind).engine(place, user, details))
            done.seconds["engine"] = clock.monotonic() - started
            engines.append((engine, details))
            return RestoreRequest(
                target=engine.target,
                facts=details.facts,
                # on a server that is confined, empty and thrown away the dump may be its master
                allow_superuser=True,
                engine_user=user,
            )

        restored = restore.restore(config, store, backup, ledger, request, progress=progress)
        ((engine, details),) = engines
        done.seconds["restore"] = clock.monotonic() - begun - done.seconds["engine"]
        done.plain_bytes = restored.plain_bytes
        done.warnings += restored.warnings
        identifier = details.facts.get("system_identifier")
        done.system_identifier = identifier if isinstance(identifier, str) else None
        started = clock.monotonic()
        done.checks += engine.examine(details, wanted)
        newest = engine.newest_row(wanted)
        done.seconds["checks"] = clock.monotonic() - started
        if newest is not None:
            done.loss = (clock.now() - newest).total_seconds()
            done.checks.append(_loss(wanted, newest, done.loss))


def _loss(wanted: DrillCheck, newest: datetime, loss: float) -> Check:
    shown = (
        f"the newest row is of {clock.iso(newest)}: {output.duration(max(loss, 0))} would be lost"
    )
    if loss < -_CLOCKS_DIFFER:
        return Check("loss", False, f"the newest row is of {clock.iso(newest)}, which is to come")
    if wanted.maximum_loss_hours is None:
        return Check("loss", True, shown)
    return Check("loss", loss <= wanted.maximum_loss_hours * 3600, shown)


def _compare_identifier(done: Rehearsal, last: str | None) -> None:
    if last is not None and done.system_identifier not in (None, last):
        done.warnings.append(
            "the backup comes from another cluster than that of the last drill: if nobody rebuilt "
            "the server, the wrong one is backed up"
        )


@contextlib.contextmanager
def _place(directory: Path) -> Iterator[Path]:
    """Hold an empty directory for an engine; first remove those of drills that were killed.

    Each has a lock beside it that its drill holds for as long as it lives.
    """
    try:
        files.make_directory(directory, mode=0o755)
        _sweep(directory)
        token = secrets.token_hex(4)
        with files.lock(directory / f"{token}.lock", what="this drill"):
            place = directory / token
            place.mkdir(mode=0o700)
            try:
                yield place
            finally:
                shutil.rmtree(place, ignore_errors=True)
                (directory / f"{token}.lock").unlink(missing_ok=True)
    except OSError as error:
        raise Art32Error(
            Code.DISK,
            f"the directory `{directory}` for throw-away engines cannot be used: {error.strerror}",
            hint="name another one as `drill.directory`: it needs room for the largest source",
        ) from error


def _sweep(directory: Path) -> None:
    for lock in directory.glob("????????.lock"):
        with contextlib.suppress(Art32Error), files.lock(lock, what="a drill"):
            shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
            lock.unlink(missing_ok=True)
