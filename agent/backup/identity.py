"""The keys of this machine for one run: who reads, who signs, whose signatures count."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from agent.config.model import Configuration, PinnedKey
from agent.crypto import keys, recipients
from agent.crypto.home import Home, isolated_home
from agent.crypto.keys import PublicKey
from agent.crypto.recipients import CheckedRecipient
from agent.crypto.signatures import Keyring, sign
from agent.errors import Art32Error, Code


@dataclass(frozen=True)
class Writer:
    """What a host needs to back up: checked recipients and a usable signing key, in a home."""

    home: Home
    recipients: tuple[CheckedRecipient, ...]
    signer: PublicKey

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


def _private(path: Path) -> None:
    with contextlib.suppress(OSError):
        if path.stat().st_mode & 0o077:
            raise Art32Error(
                Code.PERMISSION,
                f"the signing key `{path}` can be read by others",
                hint=f"chmod 600 {path}",
            )


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
        _private(config.signing.key_file)
        signer = keys.read_file(home, config.signing, what=what)
        keys.require_usable(signer, "s", what=what)
        keys.import_files(home, [config.signing])
        sign(home, config.signing.fingerprint, b"")  # not only hours later, after the dump
        yield Writer(home, checked, signer)


@dataclass(frozen=True)
class Pin:
    """A key whose signatures count for one host; where it is retired, up to a sequence number,
    and for what has none, up to a moment of the store's."""

    host: str
    fingerprint: str
    retired_after_sequence: int | None = None
    retired_at: datetime | None = None

    def covers(self, stored_at: datetime) -> bool:
        """Say whether a signature without a sequence counts, of what was stored at that moment."""
        if self.retired_at is None:
            return self.retired_after_sequence is None
        return stored_at <= self.retired_at


@dataclass(frozen=True)
class Reader:
    """What judging backups needs: the pinned keys, in a home without any private key."""

    home: Home
    keyring: Keyring
    pins: tuple[Pin, ...]


def pinned(config: Configuration) -> list[tuple[Pin, PinnedKey]]:
    """Return whose signatures count: the configured signers, and this host's own key.

    Raise CONFIG_INVALID when there is nobody.
    """
    found: list[tuple[Pin, PinnedKey]] = [
        (
            Pin(signer.host, signer.fingerprint, signer.retired_after_sequence, signer.retired_at),
            signer,
        )
        for signer in config.signers
    ]
    own = config.signing
    if own is not None and all(own.fingerprint != pin.fingerprint for pin, _ in found):
        found.append((Pin(config.host, own.fingerprint), own))
    if not found:
        raise Art32Error(
            Code.CONFIG_INVALID,
            "no `signers` are configured: no backup can be told from a forgery",
            hint="add a [[signers]] section with the host's fingerprint and public key file",
        )
    return found


@contextlib.contextmanager
def reader(config: Configuration) -> Iterator[Reader]:
    """Hold the pinned keys for the block."""
    found = pinned(config)
    with isolated_home() as home:
        for pin, key in found:
            keys.read_file(home, key, what=f"the signer of `{pin.host}`")
        keys.import_public_halves(home, [key for _, key in found])
        keyring = Keyring(home)
        yield Reader(home, keyring, tuple(pin for pin, _ in found))
