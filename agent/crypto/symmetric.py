"""Symmetric OpenPGP messages under one passphrase of 256 random bits.

The passphrase goes to gpg through a pipe. S2K runs at a low count: it strengthens guessable
passphrases, and this one is not. Count 65536, because gpg takes 1024 for "ask the agent".
"""

from __future__ import annotations

import base64
import os
import secrets
import threading

from agent import redact, run
from agent.crypto import packets
from agent.crypto.home import Home
from agent.errors import Art32Error, Code

OVERHEAD = 128 << 10
_READ = 1 << 20

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
        "--no-autostart",
        "--no-random-seed-file",
        "--pinentry-mode",
        "loopback",
        "--passphrase-fd",
        str(passphrase_fd),
        "--status-fd",
        str(status_fd),
        *arguments,
    )


class _Filter:
    """A gpg that turns its input into its output, both in memory, with its status lines."""

    def __init__(self, home: Home, passphrase: str, *arguments: str, room: int) -> None:
        passphrase_fd = _passphrase_pipe(passphrase)
        status_read, status_write = os.pipe()
        try:
            self._process = run.Process(
                _command(home, passphrase_fd, status_write, *arguments),
                stdin=run.PIPE,
                pass_fds=(passphrase_fd, status_write),
            )
        except BaseException:
            os.close(status_read)
            raise
        finally:
            os.close(passphrase_fd)
            os.close(status_write)
        self._status_fd = status_read
        self._output = bytearray(room)  # pages that are never written to cost nothing
        self._reader = threading.Thread(target=self._collect, daemon=True)
        self._reader.start()

    def _collect(self) -> None:
        descriptor = self._process.stdout.fileno()
        length = 0
        with memoryview(self._output) as view:
            while count := os.readv(descriptor, [view[length : length + _READ]]):
                length += count
        del self._output[length:]
        while chunk := os.read(descriptor, _READ):  # more than was foreseen
            self._output += chunk

    def write(self, data: Bytes) -> None:
        view = memoryview(data)
        descriptor = self._process.stdin.fileno()
        try:
            while view:
                view = view[os.write(descriptor, view) :]
        except BrokenPipeError:
            self.kill()
            raise Art32Error(
                Code.TOOL_FAILED,
                f"gpg ended early: {redact.diagnostic(self._process.stderr)}",
            ) from None

    def close_input(self) -> None:
        self._process.stdin.close()

    def result(self) -> tuple[int, bytearray, list[str]]:
        """Wait for the end; return the exit status, the output, and the status keywords."""
        self._reader.join()
        status = self._process.wait()
        with os.fdopen(self._status_fd, "rb") as lines:
            self._status_fd = -1
            text = lines.read().decode("ascii", "replace")
        self._process.__exit__()
        keywords = [line.split()[1] for line in text.splitlines() if line.startswith("[GNUPG:] ")]
        return status, self._output, keywords

    def kill(self) -> None:
        self._process.kill()
        self._reader.join()
        self._process.__exit__()
        if self._status_fd >= 0:
            os.close(self._status_fd)
            self._status_fd = -1


class Encryption(_Filter):
    """One message in the making: `write` plaintext, then `finish` it.

    `room` is how many bytes of plaintext to expect; more is slower.
    """

    def __init__(self, home: Home, passphrase: str, *, room: int = 0) -> None:
        super().__init__(
            home,
            passphrase,
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
            room=room + OVERHEAD if room else 0,
        )

    def finish(self) -> bytearray:
        """Return the whole message; raise ENCRYPTION_INEFFECTIVE unless it is an encrypted one."""
        status, output, keywords = self.result()
        if status != 0 or "END_ENCRYPTION" not in keywords:
            raise Art32Error(
                Code.TOOL_FAILED,
                f"gpg failed to encrypt: {redact.diagnostic(self._process.stderr)}",
            )
        try:
            packets.check_symmetric(output)
        except packets.MalformedError as error:
            raise Art32Error(
                Code.ENCRYPTION_INEFFECTIVE,
                f"a segment is not what gpg should write: {error}",
            ) from error
        return output


def encrypt(home: Home, passphrase: str, data: bytes) -> bytearray:
    """Return a small message encrypted whole."""
    encryption = Encryption(home, passphrase)
    encryption.write(data)
    encryption.close_input()
    return encryption.finish()


def decrypt(home: Home, passphrase: str, message: Bytes, *, what: str) -> bytearray:
    """Return a message's plaintext, held back until gpg has said that it is whole.

    Raise CORRUPT unless gpg exits 0 and reports DECRYPTION_OKAY and GOODMDC.
    """
    try:
        packets.check_symmetric(message)
    except packets.MalformedError as error:
        raise Art32Error(Code.CORRUPT, f"{what} is not an encrypted segment: {error}") from error
    # what art32 writes is not compressed by gpg: plaintext larger than its message is a bomb
    size = len(message)
    decryption = _Filter(home, passphrase, "--max-output", str(size), "--decrypt", room=size)
    try:
        decryption.write(message)
    except Art32Error as error:
        raise Art32Error(
            Code.CORRUPT, f"{what} does not decrypt: gpg does not read it to its end"
        ) from error
    decryption.close_input()
    status, output, keywords = decryption.result()
    whole = {"DECRYPTION_OKAY", "GOODMDC", "END_DECRYPTION"} <= set(keywords)
    if status != 0 or not whole or keywords.count("PLAINTEXT") != 1:
        raise Art32Error(Code.CORRUPT, f"{what} does not decrypt: gpg reports damage")
    return output
