"""Plaintext and secrets are looked for while backups and restores run, and afterwards.

Files: everything below the site, and what is new in the places for temporary files, is read over
and over. Processes: the arguments and the environment of every process are collected all the time.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.faults.harness import SOURCE, Interpreters, Site, command_source, site
from tests.fixtures.databases import PASSWORD, PostgreSQLServer
from tests.fixtures.keys import Keys, gpg
from tests.fixtures.repository import text

TEMPORARY = ("/tmp", "/dev/shm", "/run", "/var/tmp")
LARGEST = 16 << 20
ROWS = 300


@dataclass
class Watch:
    """What was seen: files that hold the canary, and every process's words."""

    needle: bytes
    site: Path
    allowed: tuple[Path, ...]
    files: set[Path] = field(default_factory=set)
    words: set[bytes] = field(default_factory=set)
    rounds: int = 0
    begun: float = field(default_factory=time.time)

    def look_at_processes(self) -> None:
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                for name in ("cmdline", "environ"):
                    with contextlib.suppress(OSError):
                        self.words.add(Path("/proc", entry, name).read_bytes())

    def look_at_files(self) -> None:
        for path in self._candidates():
            if any(path.is_relative_to(one) for one in self.allowed):
                continue
            with contextlib.suppress(OSError):
                small = path.is_file() and path.stat().st_size <= LARGEST
                if small and self.needle in path.read_bytes():
                    self.files.add(path)

    def _candidates(self) -> Iterator[Path]:
        yield from self._below(self.site)
        for top in TEMPORARY:
            with contextlib.suppress(OSError):
                for entry in os.scandir(top):
                    with contextlib.suppress(OSError):
                        if entry.stat(follow_symlinks=False).st_mtime >= self.begun:
                            yield from self._below(Path(entry.path))

    def _below(self, top: Path) -> Iterator[Path]:
        yield top
        for directory, _, names in os.walk(top):
            yield from (Path(directory, name) for name in names)

    def require_clean(self, *passwords: str) -> None:
        assert self.rounds > 0
        assert self.files == set()
        for secret in (self.needle, *(word.encode() for word in passwords)):
            assert not any(secret in words for words in self.words)


@contextlib.contextmanager
def watching(one: Site, needle: bytes, *allowed: Path) -> Iterator[Watch]:
    """Look at everything until the block ends, and once more."""
    watch = Watch(needle, one.directory, (one.target.parent, *allowed))
    over = threading.Event()

    def look(action: Callable[[], None]) -> None:
        while not over.is_set():
            action()
            watch.rounds += 1
            time.sleep(0.002)

    threads = [
        threading.Thread(target=look, args=(action,))
        for action in (watch.look_at_processes, watch.look_at_files)
    ]
    for thread in threads:
        thread.start()
    try:
        yield watch
    finally:
        over.set()
        for thread in threads:
            thread.join()
    watch.look_at_files()
    watch.look_at_processes()


def passphrases(one: Site) -> list[str]:
    """Return the passphrase of every backup of the site, with the restorer's key."""
    home = one.repository.keys.restorer_home
    sealed = one.repository.store.rglob("key.pgp")
    return [gpg(home, "--decrypt", stdin=path.read_bytes()).decode().strip() for path in sealed]


def private_key(one: Site) -> str:
    """Return a line in the middle of the host's private signing key."""
    lines = one.repository.keys.host.secret_file.read_text().splitlines()
    return max(lines, key=len)


def round_trip(one: Site, needle: bytes, target: str, *allowed: Path, password: str = "") -> None:
    with watching(one, needle, *allowed) as watch:
        said = [
            one.done("backup", "run"),
            one.done("backup", "list"),
            one.done("backup", "verify", "--tier", "decrypt"),
            one.done("restore", SOURCE, "--to", target),
            one.run("restore", SOURCE, "--to", target),  # refused: the target is there
        ]
    assert said[-1].status == 15
    hidden = [*passphrases(one), private_key(one), *([password] if password else [])]
    watch.require_clean(*hidden)
    for outcome in said:
        for secret in (needle.decode(), *hidden):
            assert secret not in outcome.stdout + outcome.stderr
    one.require_no_process()


@pytest.fixture
def needle() -> bytes:
    return f"canary-{secrets.token_hex(12)}".encode()


@contextlib.contextmanager
def a_site(keys: Keys, interpreters: Interpreters, section: str) -> Iterator[Site]:
    with site(keys, interpreters) as one:
        head, _, _ = one.repository.config_file.read_text().partition("[[sources]]")
        one.repository.config_file.write_text(head + section.replace("SITE", str(one.directory)))
        (one.directory / "source").mkdir()
        yield one


def test_a_file_leaves_no_plaintext(keys: Keys, interpreters: Interpreters, needle: bytes) -> None:
    section = command_source("cat", "SITE/source/file")
    with a_site(keys, interpreters, section) as one:
        source = one.directory / "source"
        (source / "file").write_bytes(b"".join(needle + os.urandom(400) for _ in range(ROWS)))
        round_trip(one, needle, str(one.target), source)
        assert one.target.read_bytes() == (source / "file").read_bytes()


def test_an_sqlite_database_leaves_no_plaintext(
    keys: Keys, interpreters: Interpreters, needle: bytes
) -> None:
    section = f'[[sources]]\nname = "{SOURCE}"\nkind = "sqlite"\npath = "SITE/source/app.db"\n'
    with a_site(keys, interpreters, section) as one:
        source = one.directory / "source"
        with contextlib.closing(sqlite3.connect(source / "app.db")) as database, database:
            database.execute("create table person (name text)")
            database.executemany("insert into person values (?)", [(needle.decode(),)] * ROWS)
        round_trip(one, needle, str(one.target), source)
        assert os.listdir(source) == ["app.db"]


def test_a_directory_leaves_no_plaintext(
    keys: Keys, interpreters: Interpreters, needle: bytes
) -> None:
    section = f'[[sources]]\nname = "{SOURCE}"\nkind = "directory"\npath = "SITE/source"\n'
    with a_site(keys, interpreters, section) as one:
        source = one.directory / "source"
        for number in range(20):
            (source / f"{needle.decode()}-{number}").write_bytes(needle * 50)
        for path in (one.directory, one.target.parent):
            path.chmod(0o755)
        round_trip(one, needle, str(one.target), source)
        assert sorted(os.listdir(one.target)) == sorted(os.listdir(source))


def test_a_postgresql_database_leaves_no_plaintext_and_no_password(
    keys: Keys, interpreters: Interpreters, needle: bytes, postgresql_tcp: PostgreSQLServer
) -> None:
    server = postgresql_tcp
    name = f"canary_{secrets.token_hex(4)}"
    server.create(name, f"create table p as select '{needle.decode()}' from generate_series(1,300)")
    section = "\n".join(
        [
            f'[[sources]]\nname = "{SOURCE}"\nkind = "postgresql"\ndatabase = "{name}"',
            f'host = "127.0.0.1"\nport = {server.port}\nuser = {text(server.admin)}',
            'password_file = "SITE/source/pgpass"\nssl_mode = "disable"\n',
        ]
    )
    with a_site(keys, interpreters, section) as one:
        passfile = one.directory / "source" / "pgpass"
        passfile.touch(mode=0o600)
        passfile.write_text(f"127.0.0.1:{server.port}:*:{server.admin}:{PASSWORD}\n")
        with watching(one, needle, server.socket, one.directory / "source") as watch:
            said = one.done("backup", "run")
        hidden = [*passphrases(one), private_key(one), PASSWORD]
        assert len(hidden) == 3
        watch.require_clean(*hidden[:2])
        ours = [words for words in watch.words if str(one.directory).encode() in words]
        assert ours
        assert not any(PASSWORD.encode() in words for words in ours)
        assert PASSWORD not in said.stdout + said.stderr
