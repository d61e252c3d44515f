"""An isolated GnuPG home: short, private, empty at the start, gone at the end.

The user's own keyring, options, agent and key servers play no part. A home that a killed run left
behind is swept by the next one, its agent with it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from agent import run
from agent.errors import Art32Error, Code

_NAME = re.compile(r"^art32-gpg-\d+-[0-9a-f]{8}$")
_ATTEMPTS = 5
_MADE_BY_AGENT = "private-keys-v1.d"  # at its start
_SOCKET_LIMIT = 107  # sun_path, unix(7)
_LONGEST_SOCKET = len("/S.gpg-agent.browser")


@dataclass(frozen=True)
class Home:
    """A GnuPG home directory and the program that uses it."""

    path: Path

    def command(self, *arguments: str, starts_agent: bool = False) -> list[str]:
        """Return the argv of a `gpg` that asks nobody, looks nothing up and reads no options.

        Only an agent takes private keys: a command that does not start one imports no more than
        the public half of a key, and then says with its status that it could not do all.
        """
        return [
            run.find("gpg", package="gnupg"),
            "--homedir",
            str(self.path),
            "--no-options",
            "--batch",
            "--no-tty",
            "--quiet",
            "--no-auto-key-locate",
            "--disable-dirmngr",
            "--trust-model",
            "always",
            *(() if starts_agent else ("--no-autostart",)),
            *arguments,
        ]


def _parents() -> Iterator[Path]:
    """Yield where a home may stand: memory-backed directories of this user first."""
    for variable in ("RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR"):
        if value := os.environ.get(variable):
            yield Path(value.split(":")[0])
    yield Path("/run")
    yield Path(tempfile.gettempdir())
    yield Path("/tmp")  # noqa: S108


def _parent() -> Path:
    room = _SOCKET_LIMIT - _LONGEST_SOCKET - len("/art32-gpg-4194304-12345678")
    for directory in _parents():
        if len(str(directory)) <= room and os.access(directory, os.W_OK | os.X_OK):
            return directory
    raise Art32Error(
        Code.PERMISSION,
        "no short, writable directory for a temporary GnuPG home",
        hint="set `XDG_RUNTIME_DIR` or `RuntimeDirectory=` to a directory of this user",
    )


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[bool]:
    """Hold the lock of a home of this user; False when it is another's, alive, or gone."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        yield False
        return
    try:
        yield _lock(descriptor, path)
    finally:
        os.close(descriptor)


def _lock(descriptor: int, path: Path) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        mine, there = os.fstat(descriptor), path.lstat()
    except OSError:
        return False
    return mine.st_uid == os.geteuid() and os.path.samestat(mine, there)


def _remove(path: Path) -> None:
    if (path / _MADE_BY_AGENT).exists():
        end = ["gpg-connect-agent", "--homedir", str(path), "--no-autostart", "KILLAGENT", "/bye"]
        with contextlib.suppress(Art32Error):
            run.run(end, timeout=10)
    shutil.rmtree(path, ignore_errors=True)


def _sweep(parent: Path) -> None:
    with contextlib.suppress(OSError), os.scandir(parent) as entries:
        for entry in entries:
            if _NAME.match(entry.name):
                with _locked(Path(entry.path)) as stale:
                    if stale:
                        _remove(Path(entry.path))


@contextlib.contextmanager
def isolated_home() -> Iterator[Home]:
    """Hold an empty GnuPG home for the block; its agent and its files end with it."""
    parent = _parent()
    _sweep(parent)
    for _ in range(_ATTEMPTS):  # a sweep may come between a directory and its lock
        path = parent / f"art32-gpg-{os.getpid()}-{secrets.token_hex(4)}"
        try:
            path.mkdir(mode=0o700)
            with _locked(path) as held:
                if held:
                    yield Home(path)
                    return
        finally:
            try:
                _remove(path)
            except BaseException:  # a signal: it comes once, and must not leave a key behind
                _remove(path)
                raise
    raise Art32Error(
        Code.PERMISSION,
        f"a temporary GnuPG home in `{parent}` cannot be locked",
        hint="set `XDG_RUNTIME_DIR` or `RuntimeDirectory=` to a directory on a local file system",
    )
