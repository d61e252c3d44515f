"""Detached signatures: made by the host's key, judged against pinned keys alone.

`gpgv` exits 0 for a good signature by a revoked or an expired key, so its status lines decide,
together with what the pinned keys themselves say.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path

from agent import run
from agent.crypto import packets
from agent.crypto.home import Home
from agent.crypto.keys import PublicKey, listed
from agent.crypto.process import Running, Status
from agent.errors import Art32Error, Code
from agent.memory import Buffer


class Validity(Enum):
    """What a signature is worth."""

    GOOD = "good"
    UNKNOWN_SIGNER = "signed by a key that is not pinned"
    BAD = "the signature does not fit the data"
    REVOKED = "signed by a key that has been revoked"
    OUTSIDE_VALIDITY = "signed at a time when the key was not valid"


@dataclass(frozen=True)
class Signature:
    """A judged signature; signer (the primary's fingerprint) and time only where it verified."""

    validity: Validity
    signer: str | None = None
    made_at: datetime | None = None


def sign(home: Home, fingerprint: str, data: bytes) -> bytes:
    """Return a binary detached signature by a key that was imported into the home."""
    done = run.run(
        home.command(
            *("--pinentry-mode", "error"),  # nobody is there to be asked for a passphrase
            *("--local-user", fingerprint, "--output", "-", "--detach-sign"),
        ),
        stdin=data,
    )
    if done.returncode != 0 or not done.stdout:
        raise Art32Error(
            Code.KEY_UNUSABLE,
            f"gpg does not sign with the key `{fingerprint}`",
            hint="the signing key must have no passphrase and must not be expired: art32 doctor",
        )
    return done.stdout


class Keyring:
    """The pinned public keys of a home, as `gpgv` reads them."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self.keys: Mapping[str, PublicKey] = listed(home)
        self._file = home.path / "pinned.pgp"
        exported = run.run(home.command("--export"))
        self._file.write_bytes(exported.stdout)

    def verify(self, data: bytes, signature: bytes) -> Signature:
        """Judge a detached signature; never raises for what a store might hold."""
        path = self._home.path / f"signature-{secrets.token_hex(8)}"
        path.write_bytes(signature)
        try:
            done = self._gpgv(path, data)
        finally:
            path.unlink()
        status = done.stdout.decode("utf-8", "replace")
        lines = [line.split()[1:] for line in status.split("\n") if line.startswith("[GNUPG:] ")]
        return self._judge(lines)

    def open(self, signed: Buffer, target: Buffer) -> tuple[Signature, dict[str, str]]:
        """Judge a message that holds what it signs; write that to `target`, which has its size.

        Return the judgement and the signed notations (RFC 4880 5.2.3.16). What `target` holds is
        worth nothing unless the signature is good. Never raises for what a store might hold.
        """
        try:
            packets.check_signed(signed.view)
        except packets.MalformedError:
            return Signature(Validity.BAD), {}
        status, lines = Running(
            lambda status_fd: [*self._command(status_fd), "--output", "-", "-"], signed, target
        ).lines()
        if sum(words[0] == "PLAINTEXT" for words in lines) != 1:
            return Signature(Validity.BAD), {}
        found = self._judge(lines)
        if found.validity is Validity.GOOD and status != 0:
            return Signature(Validity.BAD), {}
        return found, _notations(lines)

    def _command(self, status_fd: int) -> list[str]:
        return [
            *(run.find("gpgv", package="gpgv"), "--homedir", str(self._home.path)),
            *("--status-fd", str(status_fd), "--keyring", str(self._file)),
        ]

    def _gpgv(self, path: Path, data: bytes) -> run.Completed:
        return run.run([*self._command(1), str(path), "-"], stdin=data)

    def _judge(self, lines: Status) -> Signature:
        by_keyword = {words[0]: words[1:] for words in lines}
        if sum(words[0] == "NEWSIG" for words in lines) != 1:
            return Signature(Validity.BAD)
        if "BADSIG" in by_keyword:
            return Signature(Validity.BAD)
        if "NO_PUBKEY" in by_keyword:
            return Signature(Validity.UNKNOWN_SIGNER)
        valid = by_keyword.get("VALIDSIG")
        if valid is None or len(valid) < 10 or valid[8] != "00":  # 01 ignores line ends
            return Signature(Validity.BAD)
        key = self.keys.get(valid[9])
        part = key.part(valid[0]) if key else None
        if key is None or part is None:
            return Signature(Validity.UNKNOWN_SIGNER)
        made_at = datetime.fromtimestamp(int(valid[2]), UTC)
        if "REVKEYSIG" in by_keyword or key.revoked or part.validity == "r":
            return Signature(Validity.REVOKED, key.fingerprint, made_at)
        ends = [end for end in (part.expires, key.parts[0].expires) if end is not None]
        if made_at < part.created or any(made_at >= end for end in ends):
            return Signature(Validity.OUTSIDE_VALIDITY, key.fingerprint, made_at)
        if "GOODSIG" not in by_keyword and "EXPKEYSIG" not in by_keyword:
            return Signature(Validity.BAD)
        return Signature(Validity.GOOD, key.fingerprint, made_at)


def _notations(lines: Status) -> dict[str, str]:
    """Return notations by name; one that comes twice is none (GnuPG's doc/DETAILS)."""
    found: dict[str, list[str]] = {}
    doubled = set()
    name = ""
    for words in lines:
        if words[0] == "NOTATION_NAME":
            name = words[1]
            if name in found:
                doubled.add(name)
            found[name] = []
        elif words[0] == "NOTATION_DATA":  # in pieces of 50 characters
            found.setdefault(name, []).extend(words[1:])
    return {name: "".join(pieces) for name, pieces in found.items() if name not in doubled}
