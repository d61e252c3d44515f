"""The keys of this machine for one run: who reads, who signs, whose signatures count."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from agent.config.model import Configuration, PinnedKey
from agent.crypto import keys, recipients
from agent.crypto.home import Home, isolated_home
from agent.crypto.keys import PublicKey
from agent.crypto.recipients import CheckedRecipient
from agent.crypto.signatures import Keyring, sign
from agent.errors import Art32Error, Code
from agent.pins import document
from agent.pins import read as pins
from agent.pins.document import PinnedHost


@dataclass(frozen=True)
class Writer:
    """What a host needs to back up: checked recipients and a usable signing key, in a home.

    `imported` says that the recipients' keys are in that home, too, so that gpg need not read and
    check their files each time.
    """

    home: Home
    recipients: tuple[CheckedRecipient, ...]
    signer: PublicKey
    imported: bool = False

    def warnings(self) -> list[str]:
        """Return a sentence for each key that expires within 90 days."""
        found = [
            recipients.expiry_warning(
                recipient.key, "e", what=f"recipient `{recipient.config.name}`"
            )
            for recipient in self.recipients
        ]
        found.append(recipients.expiry_warning(self.signer, "s", what="this host's signing key"))
        return [warning for warning in found if warning]


def require_private(path: Path) -> None:
    """Raise PERMISSION when others may read the file of a signing key."""
    with contextlib.suppress(OSError):
        if path.stat().st_mode & 0o077:
            raise Art32Error(
                Code.PERMISSION,
                f"the signing key `{path}` can be read by others",
                hint=f"chmod 600 {path}",
            )


def _no_key_yet() -> Art32Error:
    return Art32Error(Code.KEY_MISSING, "this host has no signing key yet", hint="art32 host enrol")


@contextlib.contextmanager
def writer(config: Configuration) -> Iterator[Writer]:
    """Hold the keys of a host for the block; raise a key error when any of them is unusable."""
    if config.encryption is None or config.signing is None:
        raise Art32Error(
            Code.CONFIG_INVALID,
            "the configuration has no `encryption` and `signing`: this machine cannot back up",
            hint="art32 config sample",
        )
    with isolated_home() as home:
        what = "this host's signing key"
        checked = recipients.check(home, config.encryption.recipients)
        own = config.signing.pinned
        if own is None:
            raise _no_key_yet()
        require_private(own.key_file)
        signer = keys.read_file(home, own, what=what)
        keys.require_usable(signer, "s", what=what)
        keys.import_files(home, [own])
        sign(home, own.fingerprint, b"")  # not only hours later, after the dump
        yield Writer(home, checked, signer)


@dataclass(frozen=True)
class Pin:
    """A key whose signatures count for one host: where it is retired, up to a sequence number, and
    for what has none, up to a moment of the store's; where a list vouches for it, for what was
    stored until that ends. One with a `purpose`, `wal`, counts for the write-ahead log alone."""

    host: str
    fingerprint: str
    retired_after_sequence: int | None = None
    retired_at: datetime | None = None
    until: datetime | None = None
    purpose: str | None = None

    def ended(self, stored_at: datetime) -> bool:
        """Say whether the list that vouches for the key had ended when something was stored."""
        return self.until is not None and stored_at > self.until

    def covers(self, stored_at: datetime) -> bool:
        """Say whether a signature without a sequence counts, of what was stored at that moment."""
        if self.ended(stored_at):
            return False
        if self.retired_at is None:
            return self.retired_after_sequence is None
        return stored_at <= self.retired_at


@dataclass(frozen=True)
class Reader:
    """What judging backups needs: the pinned keys, in a home without any private key; and what a
    person should know of the list that they come from."""

    home: Home
    keyring: Keyring
    pins: tuple[Pin, ...]
    notes: tuple[str, ...] = ()


def pinned(config: Configuration) -> list[tuple[Pin, PinnedKey]]:
    """Return whose signatures count by the configuration: its signers, and this host's own key.

    Raise CONFIG_INVALID when there is nobody, and no root whose list could name somebody,
    KEY_MISSING on a host that has not made its key.
    """
    found: list[tuple[Pin, PinnedKey]] = [
        (
            Pin(signer.host, signer.fingerprint, signer.retired_after_sequence, signer.retired_at),
            signer,
        )
        for signer in config.signers
    ]
    own = config.signing.pinned if config.signing else None
    if own is not None and all(own.fingerprint != pin.fingerprint for pin, _ in found):
        found.append((Pin(config.host, own.fingerprint), own))
    if not found and not config.pins.roots and config.signing is not None:
        raise _no_key_yet()
    if not found and not config.pins.roots:
        raise Art32Error(
            Code.CONFIG_INVALID,
            "no `signers` and no `pins.roots` are configured: no backup can be told from a forgery",
            hint="add a [[pins.roots]] or a [[signers]] section with fingerprint and key file",
        )
    return found


@contextlib.contextmanager
def reader(config: Configuration, candidates: Sequence[PinnedHost] = ()) -> Iterator[Reader]:
    """Hold the pinned keys for the block: those of the configuration, and those of the list that a
    root has signed.

    A key that stands in both is that of the configuration's host; it is retired as soon as one of
    them says so, and at the lower number. `candidates` are judged as if they were pinned.
    Raise what reading the list raises.
    """
    found = pinned(config)
    now = pins.current(config)
    with isolated_home() as home:
        for pin, key in found:
            keys.read_file(home, key, what=f"the signer of `{pin.host}`")
        keys.import_public_halves(home, [key for _, key in found])
        listed = now.trusted.list.hosts if now.trusted else []
        keys.import_public_keys(
            home, [document.key_bytes(one.key) for one in (*listed, *candidates)]
        )
        until = now.trusted.until if now.trusted else None
        merged = _merged([pin for pin, _ in found], listed, until)
        merged += [Pin(one.host, one.fingerprint, purpose=one.purpose) for one in candidates]
        yield Reader(home, Keyring(home), tuple(merged), now.notes)


def _merged(
    configured: Sequence[Pin], listed: Sequence[PinnedHost], until: datetime | None
) -> list[Pin]:
    lines = {one.fingerprint: one for one in listed}
    result = []
    for pin in configured:
        line = lines.pop(pin.fingerprint, None)
        result.append(pin if line is None else _stricter(pin, line))
    result += [
        Pin(
            *(one.host, one.fingerprint, one.retired_after_sequence, one.retired_until),
            until=until,
            purpose=one.purpose,
        )
        for one in lines.values()
    ]
    return result


def _stricter(pin: Pin, line: PinnedHost) -> Pin:
    """Return a pin of the configuration, retired as soon as the list says so too."""
    if line.active:
        return pin
    ends = [
        (pin.retired_after_sequence, pin.retired_at),
        (line.retired_after_sequence, line.retired_until),
    ]
    known = [end for end in ends if end[0] is not None]
    numbers = [number for number, _ in known if number is not None]
    moments = [moment for _, moment in known if moment is not None]
    both = len(moments) == len(known)
    return replace(
        pin, retired_after_sequence=min(numbers), retired_at=min(moments) if both else None
    )
