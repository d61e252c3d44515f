"""The preflight: everything that would stop a backup or a restore, looked at beforehand."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from datetime import timedelta

from agent import clock, output, run, sandbox
from agent.backup import identity, leftovers, make, restore
from agent.backup.drill import preflight
from agent.backup.finding import Finding as Finding
from agent.backup.identity import Pin
from agent.config.model import Configuration, DirectoryStore, PinnedKey
from agent.config.sources import Source
from agent.crypto import keys, private, recipients
from agent.crypto.home import isolated_home
from agent.errors import Art32Error, Code, ExitStatus
from agent.store import Store, open_store
from agent.store.proof import prove_write_only

_PROGRAMS = (("gpg", "gnupg"), ("gpgv", "gpgv"))
_ROOM = 64 << 20
_SKEW = timedelta(minutes=5)


def _from_error(subject: str, error: Art32Error) -> Finding:
    return Finding(subject, False, error.sentence, error.hint, error.exit_status)


def _attempt(subject: str, look: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    try:
        yield from look()
    except Art32Error as error:
        yield _from_error(subject, error)


def examine(config: Configuration, *, probe: bool) -> list[Finding]:
    """Return what was found; with `probe` an object is written to the store to prove its rights."""
    store = open_store(config.store)
    found = [
        *_attempt("tools", _tools),
        *_attempt("confinement", lambda: _confinement(config)),
        *_attempt("keys", lambda: _keys(config)),
        *_attempt("signers", lambda: _signers(config)),
        *_attempt("private key", lambda: _private(config)),
        *_attempt("ledger", lambda: _ledger(config)),
        *_attempt("disk", lambda: _disk(config)),
        *_attempt("restores", lambda: _restores(config)),
        *_attempt("drills", lambda: preflight.look(config)),
    ]
    for source in config.sources:
        found += _attempt(f"source {source.name}", lambda source=source: _source(source))  # type: ignore[misc]
    found += _attempt("store", lambda: _store(store))
    return [*found, *rights(config)] if probe else found


def rights(config: Configuration) -> list[Finding]:
    """Return what this host may do in the store, tried on an object that is written there.

    Nothing where it is not meant to be able to write alone: no host that backs up, no bucket.
    """
    store = open_store(config.store)
    return list(_attempt("store rights", lambda: _rights(config, store)))


def _tools() -> Iterator[Finding]:
    found = [run.find(program, package=package) for program, package in _PROGRAMS]
    yield Finding("tools", True, ", ".join(found))


def _confinement(config: Configuration) -> Iterator[Finding]:
    """A machine without a private key needs no sandbox; one that restores cannot do without."""
    try:
        sandbox.check(config.restore.engine_user)
    except Art32Error as error:
        home = restore.private_home(config)
        restores = any((home / "private-keys-v1.d").glob("*.key"))
        reason = error.sentence.removeprefix("restored data cannot be confined on this machine: ")
        yield Finding(
            "confinement", None if restores else True, f"no restore: {reason}", error.hint
        )
    else:
        yield Finding("confinement", True, "restored data can be confined")


def _keys(config: Configuration) -> Iterator[Finding]:
    if config.encryption is None and config.signing is None:
        yield Finding("keys", True, "this machine does not back up")
        return
    if config.encryption is None:
        yield Finding("keys", None, "this machine has no recipients: it cannot back up")
        return
    if config.signing is not None and config.signing.fingerprint is None:
        return  # the checkup of hosts says so
    with identity.writer(config) as writer:
        for recipient in writer.recipients:
            yield Finding(f"recipient {recipient.config.name}", True, recipient.key.fingerprint)
        yield Finding("signing key", True, writer.signer.fingerprint)
        for warning in writer.warnings():
            yield Finding("keys", None, warning, "its owner extends it, and you replace the file")
    if config.encryption.single_recipient_because is not None:
        yield Finding("recipients", None, "one recipient: a lost key loses every backup")


def _signers(config: Configuration) -> Iterator[Finding]:
    """Look at every key whose signatures count here; the writer's own has been looked at."""
    if config.signing is not None and config.signing.fingerprint is None and not config.signers:
        return
    found = identity.pinned(config)
    own = config.signing.pinned if config.signing and config.encryption is not None else None
    good = True
    for pin, key in found:
        if key == own:
            continue
        for finding in _attempt(f"signer {pin.host}", lambda pin=pin, key=key: _signer(pin, key)):  # type: ignore[misc]
            good = good and finding.good is not False
            yield finding
    if good:
        with identity.reader(config):  # what it notes of the list, the checkup of hosts says
            pass


def _signer(pin: Pin, pinned: PinnedKey) -> Iterator[Finding]:
    subject, what = f"signer {pin.host}", f"the signer of `{pin.host}`"
    with isolated_home() as home:
        key = keys.read_file(home, pinned, what=what)
    retired = pin.retired_after_sequence
    if retired is not None and not key.revoked:  # it signs no more; what it has signed counts
        yield Finding(subject, True, f"{key.fingerprint}, retired after sequence {retired}")
        return
    keys.require_usable(key, "s", what=what)
    yield Finding(subject, True, key.fingerprint)
    warning = recipients.expiry_warning(key, "s", what=what)
    if warning:
        yield Finding(subject, None, warning, "its owner extends it, and you replace the file")


def _private(config: Configuration) -> Iterator[Finding]:
    """Look for the private keys of a machine that says where its own are."""
    home, subject = config.restore.gnupg_home, "private key"
    if home is None:
        return
    hint = "import the private key there, or insert its card and run `gpg --card-status` once"
    if not home.is_dir():
        yield Finding(subject, False, f"there is no GnuPG home `{home}`", hint, ExitStatus.KEY)
        return
    there = private.decrypting_parts(home)
    if not there:
        yield Finding(subject, None, f"none in `{home}` can decrypt", hint)
    elif config.encryption is None:
        yield Finding(subject, True, f"{len(there)} in `{home}` can decrypt")
    else:
        opens = [one.name for one in config.encryption.recipients if _opens(one, there)]
        names = ", ".join(opens) or "none of the configured recipients"
        yield Finding(subject, bool(opens) or None, f"`{home}` opens what is for: {names}", hint)


def _opens(recipient: PinnedKey, there: frozenset[str]) -> bool:
    """Whether each part of a recipient that backups could be encrypted to is there."""
    try:
        with isolated_home() as home:
            key = keys.read_file(home, recipient, what="a recipient")
    except Art32Error:
        return False  # reported with the recipients
    parts = {part.fingerprint for part in key.parts if part.usable("e", clock.now())}
    return bool(parts) and parts <= there


def _ledger(config: Configuration) -> Iterator[Finding]:
    count = sum(1 for _ in make.ledger_of(config).records())
    yield Finding("ledger", True, f"{count} records, chain whole")


def _disk(config: Configuration) -> Iterator[Finding]:
    directory = config.state_directory
    while not directory.exists():
        directory = directory.parent
    free = shutil.disk_usage(directory).free
    yield Finding(
        "state directory",
        free > _ROOM,
        f"{output.size(free)} free at {config.state_directory}",
        "the ledger needs room",
        ExitStatus.STORE,
    )


def _restores(config: Configuration) -> Iterator[Finding]:
    """Look for plaintext that a restore left when it was killed."""
    for one in leftovers.look(config.state_directory):
        if one.what is not None:
            detail = f"a restore that was killed left {one.what}"
            yield Finding("restores", None, detail, "the next `art32 restore` removes it")
        else:
            detail = f"what a killed restore left cannot be looked for: {one.unknown}"
            yield Finding("restores", None, detail, f"when it is gone for good: rm {one.claim}")


def _source(source: Source) -> Iterator[Finding]:
    members = make.probe(source)
    parts = f"{len(members)} parts" if len(members) > 1 else "reachable"
    yield Finding(f"source {source.name}", True, parts)


def _store(store: Store) -> Iterator[Finding]:
    try:
        skew = abs(store.now() - clock.now())
    except Art32Error as error:
        if error.code is not Code.STORE_REFUSED:
            raise
        yield Finding("store", True, f"{store.address}: reachable; refuses to list")
    else:
        yield Finding("store", True, f"{store.address}: reachable")
        yield Finding(
            "clock",
            skew <= _SKEW,
            f"differs from the store's by {skew.total_seconds():.0f} s",
            "set the clock: systemctl status systemd-timesyncd",
            Code.CLOCK_SKEW.exit_status,
        )
    facts = store.facts()
    if facts.versioned is not None:
        yield Finding(
            "store versioning", facts.versioned or None, "on" if facts.versioned else "off"
        )
    if facts.default_retention_days:
        length = f"{facts.default_retention_days} days, {facts.default_retention_mode or 'locked'}"
        yield Finding("store retention", True, length)
    elif facts.default_retention_days == 0:
        yield Finding("store retention", None, "none: no lock keeps what is stored")
    for note in facts.notes:
        yield Finding("store", None, note)


def _rights(config: Configuration, store: Store) -> Iterator[Finding]:
    """Prove what this host may do; only a host that writes backups is meant to be write-only."""
    if config.signing is None or isinstance(config.store, DirectoryStore):
        return
    for result in prove_write_only(store):
        yield Finding(
            f"may not {result.action}",
            True if result.ok else None if result.harmless else False,
            f"{result.observed}: {result.detail}" if result.detail else result.observed,
            None if result.ok else "the writer's policy should allow s3:PutObject and nothing else",
            Code.NOT_WRITE_ONLY.exit_status,
        )
