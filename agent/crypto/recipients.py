"""The readers of a backup: who they are, that they still can read, and encryption to them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from agent import clock, run
from agent.config.model import Recipient
from agent.crypto import packets
from agent.crypto.home import Home
from agent.crypto.keys import PublicKey, read_file, require_usable
from agent.errors import Art32Error, Code

WARN_DAYS = (7, 30, 90)


@dataclass(frozen=True)
class CheckedRecipient:
    """A recipient whose key file was read and found usable a moment ago."""

    config: Recipient
    key: PublicKey


def check(home: Home, recipients: Sequence[Recipient]) -> tuple[CheckedRecipient, ...]:
    """Return the recipients with their keys; raise a key error when *any* of them is unusable.

    A file with a private key is refused: a host must not be able to read its own backups.
    """
    checked = []
    for recipient in recipients:
        what = f"recipient `{recipient.name}`"
        key = read_file(home, recipient, what=what)
        if key.private:
            raise Art32Error(
                Code.KEY_UNUSABLE,
                f"the key file `{recipient.key_file}` of {what} holds the private key",
                hint="export the public half alone (`gpg --export --armor`), and take the private "
                "key off this machine",
            )
        require_usable(key, "e", what=what)
        checked.append(CheckedRecipient(recipient, key))
    return tuple(checked)


def expiry_warning(key: PublicKey, capability: str, *, what: str) -> str | None:
    """Return a sentence when the key expires within 90, 30 or 7 days, None otherwise."""
    moment = clock.now()
    end = key.usable_until(capability, moment)
    if end is None:
        return None
    for days in WARN_DAYS:
        if end - moment <= timedelta(days=days):
            return (
                f"the key `{key.fingerprint}` of {what} expires within {days} days, on "
                f"{end.date().isoformat()}"
            )
    return None


def options(recipients: Sequence[CheckedRecipient], *, imported: bool = False) -> list[str]:
    """Return gpg's options for encryption to all of them that everybody can read (RFC 4880).

    `imported`: their keys are in the home, whatever their files hold by now.
    """
    files = [
        ("--recipient", one.key.fingerprint)
        if imported
        else ("--recipient-file", str(one.config.key_file))
        for one in recipients
    ]
    return [
        *("--rfc4880", "--cipher-algo", "AES256", "-z", "0"),
        *(option for pair in files for option in pair),
    ]


def encrypt(home: Home, data: bytes, recipients: Sequence[CheckedRecipient]) -> bytes:
    """Encrypt a small message to all recipients and prove that it is for exactly them.

    Raise KEY_UNUSABLE when gpg refuses, ENCRYPTION_INEFFECTIVE when the packets say otherwise.
    """
    done = run.run(
        home.command(*options(recipients), "--output", "-", "--encrypt"),
        stdin=data,
    )
    if done.returncode != 0:
        raise Art32Error(
            Code.KEY_UNUSABLE,
            "gpg does not encrypt to the configured recipients",
            hint="art32 doctor",
        )
    inspect(done.stdout, [recipient.key for recipient in recipients])
    return done.stdout


def inspect(message: bytes | memoryview, keys: Iterable[PublicKey]) -> None:
    """Raise ENCRYPTION_INEFFECTIVE unless a message is for exactly these keys.

    The ids in a message are those of subkeys; each must belong to one of the keys, and each key
    must be among them.
    """
    wanted = {key.fingerprint: key for key in keys}
    owners = {part.key_id: key.fingerprint for key in wanted.values() for part in key.parts}
    try:
        found = [owners.get(key_id) for key_id in packets.recipients_of(message)]
    except packets.MalformedError as error:
        raise Art32Error(
            Code.ENCRYPTION_INEFFECTIVE, f"the encrypted key is not what gpg should write: {error}"
        ) from error
    if None in found or set(found) != set(wanted) or len(found) != len(wanted):
        raise Art32Error(
            Code.ENCRYPTION_INEFFECTIVE,
            "the encrypted key is not for exactly the configured recipients",
            hint="art32 doctor",
        )
