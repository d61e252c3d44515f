"""Private-key operations with the user's own keys: opening a message, signing a small one.

Here, and only here, the user's own GnuPG home and agent are used: the agent asks for a passphrase,
on the terminal or a desktop, or a smart card to be inserted.
"""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from agent import redact, run
from agent.crypto.process import Running
from agent.errors import Art32Error, Code
from agent.memory import Buffer

PATIENCE = 600.0
_LIMIT = "4096"
# what pinentry needs to find the person who is to be asked
_PASSED_ON = ("TERM", "DISPLAY", "XAUTHORITY", "WAYLAND_DISPLAY", "DBUS_SESSION_BUS_ADDRESS")
_FAILED = re.compile(r"public key decryption failed: (.*)")


@dataclass(frozen=True)
class Attempt:
    """What came of it: the plaintext, or None with the reason.

    `locked` says that the private key is there and was not unlocked.
    """

    plaintext: bytes | None
    reason: str = ""
    locked: bool = False


def _terminal() -> str | None:
    if value := os.environ.get("GPG_TTY"):
        return value
    for descriptor in (0, 2, 1):
        with contextlib.suppress(OSError):
            return os.ttyname(descriptor)
    return None


def decrypting_parts(home: Path) -> frozenset[str]:
    """Return the fingerprints of the key packets of `home` that can decrypt.

    The private half is there, or on a smart card that gpg has seen. Nobody is asked for anything.
    """
    found = set()
    able = False
    for line in _private_keys(home):
        fields = line.split(":")
        if fields[0] in ("sec", "ssb"):
            # GnuPG's doc/DETAILS: field 15 is `#` where the private half is elsewhere
            able = "e" in fields[11] and fields[14] != "#"
        elif fields[0] == "fpr" and able:
            found.add(fields[9])
            able = False
    return frozenset(found)


def _private_keys(home: Path) -> list[str]:
    """Return gpg's own listing of the private keys of a home."""
    done = run.run(
        [
            *(run.find("gpg", package="gnupg"), "--homedir", str(home), "--no-options"),
            *("--batch", "--no-tty", "--quiet", "--no-auto-check-trustdb"),
            *("--with-colons", "--list-secret-keys"),
        ]
    )
    return done.stdout.decode("utf-8", "replace").split("\n")


def signing_primaries(home: Path) -> frozenset[str]:
    """Return the fingerprints of the primary keys of `home` of which any part can sign here."""
    found = set()
    primary, able, wanted = "", False, False
    for line in _private_keys(home):
        fields = line.split(":")
        if fields[0] in ("sec", "ssb"):
            wanted = fields[0] == "sec"
            able = "s" in fields[11] and fields[14] != "#"
        elif fields[0] == "fpr":
            primary = fields[9] if wanted else primary
            if able:
                found.add(primary)
            wanted = able = False
    return frozenset(found)


def sign(home: Path, fingerprint: str, data: bytes) -> bytes:
    """Return a binary detached signature by a private key of `home`.

    Waits up to ten minutes for a person: a passphrase, a card. Raise KEY_UNUSABLE.
    """
    done = _asking(
        home, ("--local-user", fingerprint, "--output", "-", "--detach-sign"), stdin=data
    )
    if done.returncode != 0 or not done.stdout:
        lines = done.stderr.decode("utf-8", "replace").split("\n")
        said = [line for line in lines if line.strip() and not line.startswith("[GNUPG:]")]
        raise Art32Error(
            Code.KEY_UNUSABLE,
            f"gpg does not sign with the key `{fingerprint}`: "
            + redact.line(said[-1] if said else "it does not say why"),
            hint="unlock the key, or insert its card and run `gpg --card-status` once",
        )
    return done.stdout


def _asking(home: Path, arguments: tuple[str, ...], *, stdin: bytes) -> run.Completed:
    """Run gpg in a home whose agent may ask a person."""
    terminal = _terminal()
    extra = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    if terminal is not None:
        extra["GPG_TTY"] = terminal
    command = [run.find("gpg", package="gnupg"), "--homedir", str(home), "--no-options", "--quiet"]
    if terminal is None:
        command.append("--no-tty")
    command += ["--status-fd", "2", *arguments]
    return run.run(command, stdin=stdin, extra_environment=extra, timeout=PATIENCE)


def decrypt(home: Path, message: bytes) -> Attempt:
    """Decrypt a message of at most 4 KiB with a private key of `home`.

    Waits up to ten minutes for a person. Succeeds only when gpg exits 0 and says DECRYPTION_OKAY.
    """
    done = _asking(home, ("--max-output", _LIMIT, "--decrypt"), stdin=message)
    lines = done.stderr.decode("utf-8", "replace").split("\n")
    status = [line.split()[1:3] for line in lines if line.startswith("[GNUPG:] ")]
    if done.returncode == 0 and ["DECRYPTION_OKAY"] in status:
        return Attempt(done.stdout)
    return _failure(lines, status)


def unwrap(home: Path, source: Buffer, target: Buffer) -> Attempt:
    """Take the encryption off a message of any size: `target`, which has the size of `source`,
    then holds a signed message (gpg(1), --unwrap).

    Nobody is asked for anything: a key with a passphrase must be in the agent's memory. The
    attempt's plaintext is empty when it succeeded.
    """
    command = [run.find("gpg", package="gnupg"), "--homedir", str(home), "--no-options", "--quiet"]
    # nothing that art32 writes is compressed by gpg: what is larger than its message is a bomb
    limit = ("--max-output", str(source.length))
    running = Running(
        lambda status_fd: [
            *(*command, "--batch", "--no-tty", "--status-fd", str(status_fd), *limit),
            *("--pinentry-mode", "error", "--unwrap", "--decrypt"),
        ],
        source,
        target,
    )
    status, lines = running.lines()
    if status == 0 and ["DECRYPTION_OKAY"] in lines and ["GOODMDC"] in lines:
        return Attempt(b"")
    said = running.stderr.decode("utf-8", "replace").split("\n")
    return _failure(said, [words[:2] for words in lines])


def _failure(lines: list[str], status: list[list[str]]) -> Attempt:
    """Return why gpg did not decrypt, from what it said and from its status lines."""
    said = [line for line in lines if line.strip() and not line.startswith("[GNUPG:]")]
    failed = [match[1] for line in said if (match := _FAILED.search(line))]
    reason = failed[-1] if failed else said[-1] if said else "gpg does not say why"
    # an agent that could ask nobody ends in "No secret key", as if there were none
    asked = any(fields[:1] == ["PINENTRY_LAUNCHED"] for fields in status)
    locked = asked or ["ERROR", "pkdecrypt_failed"] in status
    return Attempt(None, redact.line(reason), locked)
