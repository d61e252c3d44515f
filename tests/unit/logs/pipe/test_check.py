"""What `doctor` says about pipes that would lose lines, or leave them raw."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.config.load import parse
from agent.config.model import Configuration
from agent.logs.pipe import check, sockets


def configuration(directory: Path, **pipe: object) -> Configuration:
    one = {"name": "a", "listen": "udp:127.0.0.1:5514", "to": str(directory / "a.log"), **pipe}
    document = {
        "host": "h",
        "store": {"kind": "directory", "path": str(directory)},
        "logs": {"pipes": [one]},
    }
    return parse(document, origin="test")


def about(config: Configuration, word: str) -> list[tuple[bool | None, str]]:
    return [
        (found.good, found.hint or "")
        for found in check.examine(config)
        if word in found.detail or word in found.subject
    ]


@pytest.mark.parametrize(("length", "good"), [("10", False), ("511", False), ("512", True)])
def test_a_short_queue_of_unix_datagrams_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, length: str, good: bool
) -> None:
    file = tmp_path / "max_dgram_qlen"
    file.write_text(length + "\n")
    monkeypatch.setattr(check, "_QUEUE", file)
    config = configuration(tmp_path, listen=f"unix-datagram:{tmp_path}/s")
    (found,) = about(config, "log datagrams")
    assert found[0] is good
    assert "net.unix.max_dgram_qlen=512" in found[1]
    assert about(configuration(tmp_path), "log datagrams") == []  # UDP has no such queue


def test_a_receive_buffer_that_the_kernel_refuses_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ((good, _),) = about(configuration(tmp_path, receive_buffer=65536), "receive buffer")
    assert good is True
    monkeypatch.setattr(sockets, "enlarge", lambda _socket, _size: 212992)
    ((good, hint),) = about(configuration(tmp_path), "receive buffer")
    assert good is None
    assert "net.core.rmem_max=67108864" in hint


def test_a_file_in_the_place_of_a_fifo_fails_because_it_may_be_raw(tmp_path: Path) -> None:
    path = tmp_path / "f"
    config = configuration(tmp_path, listen=f"fifo:{path}")
    assert about(config, "is no FIFO") == []
    path.write_text("raw")
    ((good, _),) = about(config, "is no FIFO")
    assert good is False


def test_an_output_that_is_a_link_or_nowhere_fails(tmp_path: Path) -> None:
    assert about(configuration(tmp_path), "a.log")[0][0] is True
    (tmp_path / "a.log").symlink_to("/etc/passwd")
    assert about(configuration(tmp_path), "no ordinary file")[0][0] is False
    assert about(configuration(tmp_path, to="/nowhere/a.log"), "cannot be written")[0][0] is False


def test_without_pipes_nothing_is_said(tmp_path: Path) -> None:
    config = configuration(tmp_path)
    without = config.model_copy(update={"logs": config.logs.model_copy(update={"pipes": ()})})
    assert check.examine(without) == []
