"""Hostile directories: links, strangers, exchanged files. Nothing outside is ever touched."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent.errors import Art32Error, Code
from agent.logs.rotate import cut, directory, names
from agent.logs.rotate.directory import LogDirectory
from tests.unit.logs.rotate.conftest import Section

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


def refusal(path: Path, owner: str | None = None, group: str | None = None) -> Art32Error:
    with (
        pytest.raises(Art32Error) as caught,
        directory.opened(path, directory.trust(owner, group)),
    ):
        pass
    assert caught.value.hint
    return caught.value


def cut_it(section: Section, path: Path, *, owner: str | None = None) -> cut.Cut | None:
    log = section()
    with directory.opened(path, directory.trust(owner, None)) as place:
        return cut.cut(log, place, "access.log", force=True)


def test_a_symbolic_link_is_never_followed_to_a_log(
    section: Section, logs: Path, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"x")
    (logs / "access.log").symlink_to(secret)
    with pytest.raises(Art32Error) as caught:
        cut_it(section, logs)
    assert caught.value.code is Code.LOG_UNSAFE
    assert (logs / "access.log").is_symlink()


def test_a_hard_link_is_refused(section: Section, logs: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"x")
    os.link(tmp_path / "secret", logs / "access.log")
    with pytest.raises(Art32Error) as caught:
        cut_it(section, logs)
    assert caught.value.code is Code.LOG_UNSAFE
    assert "more than one name" in caught.value.sentence


@pytest.mark.parametrize("kind", ["fifo", "directory"])
def test_what_is_no_regular_file_is_refused_without_waiting(
    section: Section, logs: Path, kind: str
) -> None:
    if kind == "fifo":
        os.mkfifo(logs / "access.log")
    else:
        (logs / "access.log").mkdir()
    with pytest.raises(Art32Error) as caught:
        cut_it(section, logs)
    assert caught.value.code is Code.LOG_UNSAFE


def test_a_link_on_the_way_is_refused(logs: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(logs)
    assert refusal(tmp_path / "link").code is Code.LOG_UNSAFE


def test_a_directory_that_is_not_there_is_missing(tmp_path: Path) -> None:
    assert refusal(tmp_path / "nowhere").code is Code.SOURCE_MISSING


@pytest.mark.parametrize(("mode", "fine"), [(0o755, True), (0o757, False), (0o1777, True)])
def test_a_directory_where_everybody_writes_is_refused(logs: Path, mode: int, fine: bool) -> None:
    logs.chmod(mode)
    if fine:
        with directory.opened(logs, directory.trust(None, None)):
            return
    assert refusal(logs).code is Code.LOG_UNSAFE


@as_root
def test_a_directory_in_the_hands_of_a_stranger_is_refused_until_he_is_named(logs: Path) -> None:
    os.chown(logs, NOBODY, -1)
    assert refusal(logs).code is Code.LOG_UNSAFE
    with directory.opened(logs, directory.trust("nobody", None)) as place:
        assert place.names() == []


@as_root
def test_a_directory_where_a_group_writes_is_refused_until_it_is_named(logs: Path) -> None:
    os.chown(logs, -1, 65534)
    logs.chmod(0o775)
    assert refusal(logs).code is Code.LOG_UNSAFE
    with directory.opened(logs, directory.trust(None, "nogroup")) as place:
        assert place.names() == []


@as_root
def test_a_strangers_file_is_refused_in_a_shared_directory(section: Section, logs: Path) -> None:
    logs.chmod(0o1777)
    (logs / "access.log").write_bytes(b"x")
    os.chown(logs / "access.log", NOBODY, -1)
    with pytest.raises(Art32Error) as caught:
        cut_it(section, logs)
    assert caught.value.code is Code.LOG_UNSAFE
    assert cut_it(section, logs, owner="nobody") is not None


def test_a_name_that_is_taken_is_never_replaced(
    section: Section, logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (logs / "access.log").write_bytes(b"x")
    segment = names.new("access.log", datetime.now(UTC))
    (logs / segment.name).write_bytes(b"mine")
    monkeypatch.setattr(names, "new", lambda file, moment: segment)
    with pytest.raises(Art32Error):
        cut_it(section, logs)
    assert (logs / segment.name).read_bytes() == b"mine"
    assert (logs / "access.log").read_bytes() == b"x"


def test_a_file_that_was_exchanged_is_not_removed(logs: Path) -> None:
    (logs / "one").write_bytes(b"1")
    with (
        directory.opened(logs, directory.trust(None, None)) as place,
        place.reading("one") as descriptor,
    ):
        (logs / "two").write_bytes(b"2")
        os.rename(logs / "two", logs / "one")
        assert not place.remove("one", descriptor)
    assert (logs / "one").read_bytes() == b"2"


def test_an_exchange_between_looking_and_renaming_is_noticed(
    section: Section, logs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever owns the directory swaps the log for a link at the worst moment."""
    secret = tmp_path / "secret"
    secret.write_bytes(b"root's")
    (logs / "access.log").write_bytes(b"x")
    rename = LogDirectory.rename

    def swap(self: LogDirectory, old: str, new: str) -> None:
        (logs / "access.log").unlink()
        (logs / "access.log").symlink_to(secret)
        rename(self, old, new)

    monkeypatch.setattr(LogDirectory, "rename", swap)
    with pytest.raises(Art32Error) as caught:
        cut_it(section, logs)
    assert caught.value.code is Code.LOG_UNSAFE
    assert secret.read_bytes() == b"root's"


def test_a_file_knows_when_it_was_made(logs: Path) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    (logs / "new").touch()
    with (
        directory.opened(logs, directory.trust(None, None)) as place,
        place.reading("new") as descriptor,
    ):
        made = directory.begun(descriptor)
    assert made is not None
    assert before <= made <= datetime.now(UTC)
