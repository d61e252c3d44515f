"""A private key with a passphrase: gpg asks for it on the terminal of whoever restores."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import struct
import sys
import tempfile
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent import run
from agent.crypto import keys as listing
from agent.errors import ExitStatus
from tests.fixtures.keys import Keys, ThrowAwayKey
from tests.fixtures.repository import Repository, write_repository
from tests.fixtures.waiting import PATIENCE, until

PASSPHRASE = "open sesame"
SOURCE = '[[sources]]\nname = "app"\nkind = "command"\ncommand = ["echo", "the content"]\n'


@pytest.fixture
def site(tmp_path: Path, keys: Keys) -> Iterator[Repository]:
    """A site with one backup for a key that has a passphrase, and with that key's home."""
    with tempfile.TemporaryDirectory(prefix="art32-locked-", ignore_cleanup_errors=True) as name:
        home = Path(name)
        gpg = ["gpg", "--homedir", name, "--batch", "--quiet", "--pinentry-mode", "loopback"]
        new = ("--quick-generate-key", "locked", "future-default", "default", "never")
        assert run.run([*gpg, "--passphrase", PASSPHRASE, *new]).returncode == 0
        public = run.run([*gpg, "--armor", "--export"]).stdout
        (tmp_path / "locked.asc").write_bytes(public)
        colons = run.run([*gpg, "--with-colons", "--list-keys"]).stdout.decode()
        (key,) = listing.parse_colons(colons)
        locked = ThrowAwayKey(
            name="locked",
            home=home,
            fingerprint=key.fingerprint,
            public_file=tmp_path / "locked.asc",
            secret_file=tmp_path / "unused",
        )
        made = write_repository(tmp_path / "site", keys, SOURCE, recipients=[locked, keys.escrow])
        text = made.config_file.read_text().replace(str(keys.restorer_home), str(home))
        made.config_file.write_text(text)
        made.back_up("app")
        run.run(["gpgconf", "--homedir", name, "--kill", "all"])
        yield made
        run.run(["gpgconf", "--homedir", name, "--kill", "all"])


def restore_argv(site: Repository, target: Path) -> list[str]:
    program = [sys.executable, "-m", "agent", "--config", str(site.config_file)]
    return [*program, "restore", "app", "--to", str(target)]


def echoes(terminal: int) -> bool:
    return bool(termios.tcgetattr(terminal)[3] & termios.ECHO)


def on_a_terminal(argv: list[str], asked: bytes, answer: str) -> tuple[int, bytes]:
    """Run a program on a new terminal, answer when it asks; return its status and all it showed."""
    child, terminal = pty.fork()
    if child == 0:
        os.environ.pop("GPG_TTY", None)
        os.environ["TERM"] = "xterm"
        os.execv(argv[0], argv)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    seen, answered = b"", False
    with contextlib.suppress(OSError):  # the end of a terminal
        while run.readable([terminal], PATIENCE):
            piece = os.read(terminal, 4096)
            seen += piece
            if not answered and asked in seen:
                # what is typed before is lost
                until(lambda: not echoes(terminal), "who asks reads")
                time.sleep(0.3)
                os.write(terminal, answer.encode() + b"\r")
                answered = True
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), seen


def test_the_passphrase_is_asked_for_on_the_terminal(site: Repository, tmp_path: Path) -> None:
    target = tmp_path / "back"
    status, seen = on_a_terminal(restore_argv(site, target), b"assphrase", PASSPHRASE)
    assert status == ExitStatus.OK, seen[-500:]
    assert target.read_bytes() == b"the content\n"
    assert PASSPHRASE.encode() not in seen


def test_where_nobody_can_be_asked_the_error_says_so(site: Repository, tmp_path: Path) -> None:
    target = tmp_path / "back"
    done = run.run(["setsid", *restore_argv(site, target)], extra_environment={"TERM": "dumb"})
    assert done.returncode == ExitStatus.KEY
    assert b"was not unlocked" in done.stderr
    assert b"on a terminal" in done.stderr
    assert not target.exists()
