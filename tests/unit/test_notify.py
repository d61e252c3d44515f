"""systemd's protocol: what is said, when, and to nobody when nobody asked."""

from __future__ import annotations

import os
import socket

import pytest

from agent import clock
from agent.notify import Manager
from tests.fixtures.databases import short_directory


def test_the_watchdog_hears_at_half_its_time_and_not_more_often(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    times = [100.0, 101.9, 102.0, 102.1]
    monkeypatch.setattr(clock, "monotonic", lambda: times.pop(0))
    with short_directory() as directory, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(f"{directory}/n")
        heard.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", f"{directory}/n")
        monkeypatch.setenv("WATCHDOG_USEC", "4000000")
        manager = Manager()
        assert manager.watchdog == 2
        for _ in range(4):
            manager.reassure()
        assert [heard.recv(100), heard.recv(100)] == [b"WATCHDOG=1"] * 2
        with pytest.raises(BlockingIOError):
            heard.recv(100)
        manager.tell("READY=1", "STATUS=2 pipes")
        assert heard.recv(100) == b"READY=1\nSTATUS=2 pipes"
    manager.tell("STOPPING=1")  # whoever listened is gone
    assert "NOTIFY_SOCKET" not in os.environ


def test_without_a_manager_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    monkeypatch.setenv("WATCHDOG_USEC", "4000000")
    manager = Manager()
    assert manager.watchdog is None
    manager.reassure()


def test_the_watchdog_of_another_process_is_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/nowhere")
    monkeypatch.setenv("WATCHDOG_USEC", "4000000")
    monkeypatch.setenv("WATCHDOG_PID", "1")
    assert Manager().watchdog is None


def test_an_abstract_socket_hears_too(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"art32-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(f"\0{name}")
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
        Manager().tell("READY=1")
        assert heard.recv(100) == b"READY=1"


def test_a_status_is_one_line_and_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with short_directory() as directory, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(f"{directory}/n")
        heard.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", f"{directory}/n")
        manager = Manager()
        for text in ("two\nREADY=1", "two READY=1", "three"):
            manager.status(text)
        assert [heard.recv(100), heard.recv(100)] == [b"STATUS=two READY=1", b"STATUS=three"]
        with pytest.raises(BlockingIOError):
            heard.recv(100)


def test_a_manager_that_does_not_read_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    with short_directory() as directory, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf:
        deaf.bind(f"{directory}/n")
        monkeypatch.setenv("NOTIFY_SOCKET", f"{directory}/n")
        manager = Manager()
        for number in range(5_000):  # far more than its queue takes (max_dgram_qlen)
            manager.status(str(number))
        deaf.setblocking(False)
        assert deaf.recv(100) == b"STATUS=0"
