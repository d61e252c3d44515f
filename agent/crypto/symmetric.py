"""Symmetric OpenPGP messages under one passphrase of 256 random bits.

The passphrase goes to gpg through a pipe. S2K runs at a low count: it strengthens guessable
passphrases, and this one is not. Count 65536, because gpg takes 1024 for "ask the agent".
"""

from __future__ import annotations

import base64
import os
import secrets

from agent import redact
from agent.crypto import packets
from agent.crypto.home import Home
from agent.crypto.process import Running
from agent.errors import Art32Error, Code
from agent.memory import Buffer

OVERHEAD = 128 << 10

Bytes = bytes | bytearray | memoryview


def new_passphrase() -> str:
    """Return 256 random bits as one line of base64, the content of `key.pgp`."""
    return base64.b64encode(secrets.token_bytes(32)).decode()


def _passphrase_pipe(passphrase: str) -> int:
    reading, writing = os.pipe()
    try:
        os.write(writing, passphrase.encode() + b"\n")
    finally:
        os.close(writing)
    return reading


def _command(home: Home, passphrase_fd: int, status_fd: int, *arguments: str) -> list[str]:
    return home.command(
        "--no-keyring",
        "--no-random-seed-file",
        "--pinentry-mode",
        "loopback",
        "--passphrase-fd",
        str(passphrase_fd),
        "--status-fd",
        str(status_fd),
        *arguments,
    )


class _Running(Running):
    """A gpg under the passphrase."""

    def __init__(
        self, home: Home, passphrase: str, source: Buffer, target: Buffer, *arguments: str
    ) -> None:
        passphrase_fd = _passphrase_pipe(passphrase)
        try:
            super().__init__(
                lambda status_fd: _command(home, passphrase_fd, status_fd, *arguments),
                source,
                target,
                pass_fds=(passphrase_fd,),
            )
        finally:
            os.close(passphrase_fd)


class Encryption(_Running):
    """The encryption of a buffer to another, in progress; at most `OVERHEAD` bytes are added."""

    def __init__(self, home: Home, passphrase: str, source: Buffer, target: Buffer) -> None:
        super().__init__(
            home,
            passphrase,
            source,
            target,
            "--rfc4880",
            "--cipher-algo",
            "AES256",
            "--s2k-mode",
            "3",
            "--s2k-count",
            "65536",
            "--s2k-digest-algo",
            "SHA256",
            "-z",
            "0",
            "--symmetric",
        )

    def finish(self) -> None:
        """Wait for the whole message; raise TOOL_FAILED when there is none, and
        ENCRYPTION_INEFFECTIVE unless it is an encrypted one."""
        status, keywords = self.result()
        if status != 0 or "END_ENCRYPTION" not in keywords:
            raise Art32Error(
                Code.TOOL_FAILED,
                f"gpg failed to encrypt: {redact.diagnostic(self.stderr)}",
            )
        try:
            packets.check_symmetric(self._target.view)
        except packets.MalformedError as error:
            raise Art32Error(
                Code.ENCRYPTION_INEFFECTIVE,
                f"a segment is not what gpg should write: {error}",
            ) from error


def encrypt(home: Home, passphrase: str, data: Bytes) -> bytes:
    """Return a small message encrypted whole."""
    source, target = Buffer(len(data)), Buffer(len(data) + OVERHEAD)
    source.append(memoryview(data))
    Encryption(home, passphrase, source, target).finish()
    return bytes(target.view)


def decrypt(home: Home, passphrase: str, source: Buffer, target: Buffer, *, what: str) -> None:
    """Decrypt one buffer to another, which has at least its size.

    Raise CORRUPT unless gpg exits 0 and reports DECRYPTION_OKAY and GOODMDC: what the target then
    holds is worth nothing.
    """
    try:
        packets.check_symmetric(source.view)
    except packets.MalformedError as error:
        raise Art32Error(Code.CORRUPT, f"{what} is not an encrypted segment: {error}") from error
    # what art32 writes is not compressed by gpg: plaintext larger than its message is a bomb
    limit = str(source.length)
    running = _Running(home, passphrase, source, target, "--max-output", limit, "--decrypt")
    status, keywords = running.result()
    whole = {"DECRYPTION_OKAY", "GOODMDC", "END_DECRYPTION"} <= set(keywords)
    if status != 0 or not whole or keywords.count("PLAINTEXT") != 1:
        raise Art32Error(Code.CORRUPT, f"{what} does not decrypt: gpg reports damage")


def decrypted(home: Home, passphrase: str, message: Bytes, *, what: str) -> bytes:
    """Return a small message's plaintext; raise CORRUPT as `decrypt` does."""
    source, target = Buffer(len(message)), Buffer(len(message))
    source.append(memoryview(message))
    decrypt(home, passphrase, source, target, what=what)
    return bytes(target.view)
