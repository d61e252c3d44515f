"""Bringing a backup back: judge, open, fetch, hand over.

The private key opens `key.pgp` once, through the user's own gpg (a smart card works). From there on
only the passphrase of this one backup is used, in an empty GnuPG home.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from agent import clock
from agent.backup import catalog, fetch, history, layout, leftovers
from agent.backup.catalog import Backup, State
from agent.backup.manifest import Details, Manifest
from agent.backup.plaintext import Plaintext
from agent.backup.sources import RestoreRequest, plugin, pour
from agent.config.model import Configuration
from agent.crypto import private
from agent.crypto.home import Home, isolated_home
from agent.errors import Art32Error, Code, Interrupted
from agent.ledger import Ledger
from agent.store import Store

STANDARD_OUTPUT = "-"
_PASSPHRASE_LENGTH = 44
_DATABASES = ("postgresql", "mysql")


@dataclass(frozen=True)
class Opened:
    """A complete backup whose key has been decrypted."""

    backup: Backup
    manifest: Manifest
    passphrase: str
    details: Details

    def plaintext(self, store: Store, home: Home, fetched: fetch.Fetched) -> Plaintext:
        """Return the dump, to be read within a `with`; see `fetch.plaintext`."""
        return fetch.plaintext(
            store,
            self.backup,
            self.manifest,
            home,
            self.passphrase,
            size=self.details.plain_bytes,
            fetched=fetched,
        )


@dataclass(frozen=True)
class Restored:
    """What was restored, in one sentence, with bytes of plaintext and seconds of wall time."""

    id: str
    sentence: str
    plain_bytes: int
    seconds: float
    warnings: tuple[str, ...] = ()


def choose(
    backups: list[Backup],
    *,
    source: str,
    host: str,
    wanted: str | None = None,
    at: datetime | None = None,
    accepted: frozenset[str] = frozenset(),
) -> list[Backup]:
    """Return the backups to restore, the parts of a set together.

    By id; or the newest good one; or the newest good one stored at or before `at`. Where none is
    good, the newest whole one: flagged as suspicious when it was made, and better than nothing.
    Raise NO_BACKUP when there is none, SUSPECT or PENDING when the id is of such a one.
    """
    mine = [backup for backup in backups if backup.place_key == (host, source)]
    if wanted is not None:
        backup = catalog.find(mine, wanted)
        catalog.require_complete(backup)
        return [backup]
    whole = [unit for unit in catalog.units(mine) if unit.whole]
    if at is not None:
        whole = [unit for unit in whole if unit.stored_at <= at]
    if not whole:
        found = [f"{sum(b.state is state for b in mine)} {state.value}" for state in State]
        until = f" at or before {clock.iso(at)}" if at else ""
        pending = any(backup.state is State.PENDING for backup in mine)
        raise Art32Error(
            Code.NO_BACKUP,
            f"no complete backup of source `{source}` of host `{host}`{until}: {', '.join(found)}",
            hint="art32 host list" if pending else "art32 backup list",
        )
    good = [unit for unit in whole if unit.good(accepted)]
    return list((good or whole)[-1].backups)


def doubts(backups: list[Backup], chosen: list[Backup], *, at: datetime | None = None) -> list[str]:
    """Return what a person should know who takes the chosen ones for the newest, as of `at`.

    A sentence for each newer one that is not whole, for each flag and for each note.
    """
    newest = max(backup.stored_at for backup in chosen)
    found = []
    for unit in catalog.units(one for one in backups if one.place_key == chosen[0].place_key):
        if unit.stored_at <= newest or (at is not None and unit.stored_at > at):
            continue
        broken = [one for one in unit.backups if one.state is not State.COMPLETE]
        reasons = [f"{one.state.value}: {one.reason}" for one in broken]
        reasons.append("flagged as suspicious" if unit.whole else "part of a broken set")
        place = f"`{unit.backups[0].id}` of {clock.iso(unit.stored_at)}"
        found.append(f"a newer one was passed over: {place}, {reasons[0]}")
    for backup in chosen:
        if backup.manifest is not None and backup.manifest.suspicious:
            flags = ", ".join(backup.manifest.suspicious)
            found.append(f"backup `{backup.id}` was flagged when it was made: {flags}")
        found += [f"backup `{backup.id}`: {note}" for note in backup.notes]
    return found


def part(config: Configuration, store: Store, chosen: list[Backup], member: str | None) -> Backup:
    """Return the one backup of a set that holds a member; of a single backup, that.

    What is in a part stands in its encrypted details: finding one takes a private-key operation
    for each part that is looked into. Raise USAGE without a member, NO_BACKUP when none holds it.
    """
    if len(chosen) == 1 and member is None:
        return chosen[0]
    if member is None:
        raise Art32Error(
            Code.USAGE,
            f"the backup is a set of {len(chosen)} parts",
            hint="say which with --member, a database's name or `globals`, or with --id:\n"
            + "\n".join(f"  {backup.id}" for backup in chosen),
        )
    seen = []
    for backup in chosen:
        with opened(config, store, backup) as (ready, _):
            if ready.details.member in (member, f"database:{member}", f"{member}:"):
                return backup
            seen.append(ready.details.member)
    raise Art32Error(
        Code.NO_BACKUP,
        f"no part of the backup holds `{member}`",
        hint=f"it holds {', '.join(f'`{name}`' for name in seen if name) or 'no named parts'}",
    )


def private_home(config: Configuration) -> Path:
    """Return the GnuPG home that holds the private key: configured, or the user's own."""
    if config.restore.gnupg_home is not None:
        return config.restore.gnupg_home
    return Path(os.environ.get("GNUPGHOME") or Path.home() / ".gnupg")


def open_key(config: Configuration, store: Store, backup: Backup, found: Manifest) -> str:
    """Return the backup's passphrase; raise KEY_UNDECRYPTABLE when no private key opens it.

    This is the one private-key operation of a restore; gpg's agent asks for a passphrase or a card.
    """
    sealed = fetch.fetch(store, backup, found.entry(layout.KEY))
    home = private_home(config)
    if not home.is_dir():
        raise Art32Error(
            Code.KEY_MISSING,
            f"there is no GnuPG home `{home}`",
            hint="set `restore.gnupg_home`, or import the private key as this user",
        )
    attempt = private.decrypt(home, sealed)
    if attempt.locked:
        raise Art32Error(
            Code.KEY_UNDECRYPTABLE,
            f"the private key in `{home}` was not unlocked: {attempt.reason}",
            hint="gpg asks for its passphrase on a terminal: run this in one, with "
            "`pinentry-curses` installed",
        )
    passphrase = (attempt.plaintext or b"").decode("ascii", "replace").strip()
    if len(passphrase) != _PASSPHRASE_LENGTH:
        raise Art32Error(
            Code.KEY_UNDECRYPTABLE,
            f"no private key in `{home}` opens backup `{backup.id}`: {attempt.reason}",
            hint=f"it is encrypted to {', '.join(found.recipients)}; "
            "import one of these private keys, or insert its card",
        )
    return passphrase


@contextlib.contextmanager
def opened(config: Configuration, store: Store, backup: Backup) -> Iterator[tuple[Opened, Home]]:
    """Hold an opened backup and an empty GnuPG home for its segments."""
    found = catalog.require_complete(backup)
    passphrase = open_key(config, store, backup, found)
    with isolated_home() as home:
        yield (
            Opened(
                backup, found, passphrase, fetch.details(store, backup, found, home, passphrase)
            ),
            home,
        )


def restore(
    config: Configuration,
    store: Store,
    backup: Backup,
    ledger: Ledger,
    request: Callable[[Details], RestoreRequest],
    *,
    output: BinaryIO | None = None,
    progress: fetch.Fetched = lambda _: None,
) -> Restored:
    """Restore one backup to the target that `request` makes of its details.

    With `output` the plaintext goes there, unconfined and uninterpreted. The attempt and its
    outcome are recorded. Whatever the stream raises leaves nothing at the target; what a restore
    that was killed left is removed first.
    """
    begun = clock.monotonic()
    facts = {"run": secrets.token_hex(8), "id": backup.id, "source": backup.place.source}
    warnings = leftovers.sweep(config.state_directory, ledger)
    warnings += _record(ledger, "restore-started", **facts)
    outcome = Code.DEFECT.label
    try:
        with (
            opened(config, store, backup) as (ready, home),
            ready.plaintext(store, home, progress) as stream,
        ):
            if output is not None:
                sentence = _write_out(stream, output)
            else:
                wanted = replace(request(ready.details), warn=warnings.append)
                _require_fitting(wanted.target, ready.details.kind)
                kind = ready.details.kind
                plugin(kind).check_target(wanted)
                with _claimed(config, wanted, kind, facts) as notes:
                    warnings += notes
                    sentence = plugin(kind).restore(stream, wanted)
        outcome = "ok"
    except Art32Error as error:
        outcome = error.code.label
        raise
    except Interrupted:
        outcome = Code.INTERRUPTED.label
        raise
    finally:
        warnings += _record(ledger, history.RESTORED, **facts, result=outcome)
    seconds = clock.monotonic() - begun
    return Restored(backup.id, sentence, stream.count, seconds, tuple(dict.fromkeys(warnings)))


def _claimed(
    config: Configuration, wanted: RestoreRequest, kind: str, facts: dict[str, str]
) -> AbstractContextManager[list[str]]:
    """Hold a claim on what is made; what goes with its engine anyway needs none."""
    if wanted.thrown_away:
        return contextlib.nullcontext([])
    return leftovers.claimed(config.state_directory, wanted, kind, facts)


def _record(ledger: Ledger, event: str, **facts: str) -> list[str]:
    """Record, or return why not: a ledger that cannot be written does not keep data from people."""
    try:
        ledger.append(event, **facts)
    except Art32Error as error:
        return [f"not recorded: {error.sentence}"]
    return []


def _write_out(stream: Iterator[bytes], output: BinaryIO) -> str:
    try:
        output.flush()
        pour(stream, output.fileno())
    except OSError as error:
        reason = (error.strerror or "error").lower()
        raise Art32Error(
            Code.TARGET_FAILED,
            f"standard output takes no more: {reason}",
            hint="what was written is not the whole backup: do not use it",
        ) from error
    return "written to standard output"


def _require_fitting(target: str, kind: str) -> None:
    """Raise TARGET_FAILED when a database is named for something else, or the other way round."""
    scheme = target.partition("://")[0] if "://" in target else None
    if scheme != (kind if kind in _DATABASES else None):
        wanted = f"`{kind}://...`" if kind in _DATABASES else "a path"
        raise Art32Error(
            Code.TARGET_FAILED,
            f"`{target}` is no target for a backup of kind `{kind}`",
            hint=f"restore it to {wanted}, or to standard output with `--to -`",
        )
