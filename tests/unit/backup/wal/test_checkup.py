"""Doctor's part, where no server is needed; the rest is in tests/integration/test_wal_watch.py."""

from __future__ import annotations

import os
import pwd
import socket
from pathlib import Path

import pytest

from agent.backup.wal import checkup, health
from agent.backup.wal.health import Standing
from agent.config.model import Configuration
from tests.fixtures.databases import short_directory
from tests.fixtures.keys import Keys
from tests.fixtures.repository import text, write_repository


def configuration(directory: Path, keys: Keys) -> Configuration:
    wal = f"[wal]\nsocket = {text(directory / 's')}\nclients = []\n"
    return write_repository(directory / "site", keys, "", more=wal).configuration()


def said(config: Configuration, subject: str) -> list[tuple[bool | None, str]]:
    return [(one.good, one.detail) for one in checkup.examine(config) if one.subject == subject]


@pytest.mark.parametrize("timeout", [0, 3600])
def test_an_archive_timeout_that_loses_a_quiet_hour_is_looked_at(
    keys: Keys, monkeypatch: pytest.MonkeyPatch, timeout: int
) -> None:
    standing = Standing(None, timeout, 0, 0, 0)
    monkeypatch.setattr(health, "standing", lambda _: standing)
    with short_directory() as directory:
        ((good, detail),) = said(configuration(directory, keys), "wal archiver")
    assert good is None
    assert f"`archive_timeout` is {timeout} s" in detail


def test_a_socket_that_is_none_or_another_programs_is_seen(keys: Keys) -> None:
    with short_directory() as directory:
        config = configuration(directory, keys)
        path = directory / "s"
        path.touch()
        ((good, detail),) = said(config, "wal socket")
        assert (good, detail) == (False, f"`{path}` is no socket")
        path.unlink()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
            other.bind(str(path))
            other.listen(1)
            ((good, detail),) = said(config, "wal socket")
        assert good is False
        assert "does not answer: protocol wrong type for socket" in detail


@pytest.mark.parametrize("settings", [None, "silent"])
def test_a_service_that_says_nothing_is_not_taken_for_one_that_answers(
    keys: Keys, monkeypatch: pytest.MonkeyPatch, settings: str | None
) -> None:
    monkeypatch.setattr(checkup, "_PATIENCE", 0.2)
    with (
        short_directory() as directory,
        socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener,
    ):
        config = configuration(directory, keys)
        listener.bind(str(directory / "s"))
        if settings is not None:
            listener.listen(1)
        ((good, detail),) = said(config, "wal socket")
    assert good is False
    assert "stale" in detail if settings is None else "timed out" in detail


@pytest.mark.skipif(os.geteuid() == pwd.getpwnam("nobody").pw_uid, reason="these are its own files")
@pytest.mark.parametrize(
    ("mode", "parent", "barred"),
    [(0o666, 0o755, None), (0o660, 0o755, "s"), (0o666, 0o700, "inner")],
)
def test_the_modes_say_who_is_barred_and_where(mode: int, parent: int, barred: str | None) -> None:
    with short_directory() as directory:
        path = directory / "inner" / "s"
        path.parent.mkdir()
        path.touch()
        path.chmod(mode)
        path.parent.chmod(parent)
        found = checkup._barred(path, pwd.getpwnam("nobody"))
        assert (found.name if found else None) == barred
