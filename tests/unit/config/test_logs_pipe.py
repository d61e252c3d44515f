"""The sections `[[logs.pipes]]`: what they take, and what they say to what they do not."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from agent.config.logs import Logs
from agent.config.logs_pipe import LogPipe


def pipe(**more: object) -> LogPipe:
    return LogPipe.model_validate(
        {"name": "a", "listen": "udp:127.0.0.1:5514", "to": "/var/log/a.log", **more}
    )


@pytest.mark.parametrize(
    "listen",
    [
        "udp:127.0.0.1:5514",
        "udp:[::1]:5514",
        "unix-datagram:/run/art32/log",
        "unix-stream:/run/art32/log",
        "fifo:/var/lib/art32/x.fifo",
    ],
)
def test_an_endpoint_is_read_and_written_the_same(listen: str) -> None:
    assert str(pipe(listen=listen).endpoint) == listen


@pytest.mark.parametrize(
    ("listen", "reason"),
    [
        ("udp:0.0.0.0:5514", "loopback"),
        ("udp:[::]:5514", "loopback"),
        ("udp:203.0.113.1:5514", "loopback"),
        ("udp:127.0.0.1:0", "between 1 and 65535"),
        ("udp:127.0.0.1:70000", "between 1 and 65535"),
        ("udp:999.0.0.1:5514", "no address and port"),
        ("udp:localhost:5514", "must be"),
        ("tcp:127.0.0.1:5514", "must be"),
        ("fifo:relative", "must be"),
        ("unix-stream:/" + "a" * 107, "at most 107 bytes"),
        ("", "must be"),
    ],
)
def test_an_endpoint_that_others_could_reach_or_that_makes_no_sense_is_refused(
    listen: str, reason: str
) -> None:
    with pytest.raises(ValidationError, match=reason):
        pipe(listen=listen)


@pytest.mark.parametrize("to", ["relative", "journald:a b", "journald:", "syslog", ""])
def test_an_output_is_a_path_or_a_journal(to: str) -> None:
    with pytest.raises(ValidationError, match="absolute path"):
        pipe(to=to)


def test_two_pipes_share_neither_name_nor_endpoint_nor_file() -> None:
    one = {"name": "a", "listen": "udp:127.0.0.1:1", "to": "/a"}
    two = {"name": "b", "listen": "udp:127.0.0.1:2", "to": "/b"}
    assert len(Logs.model_validate({"pipes": [one, two]}).pipes) == 2
    for key in one:
        with pytest.raises(ValidationError, match=f"the same `{key}`"):
            Logs.model_validate({"pipes": [one, {**two, key: one[key]}]})
    both = [{**one, "to": "journald"}, {**two, "to": "journald"}]
    assert len(Logs.model_validate({"pipes": both}).pipes) == 2


def test_a_fifo_brings_bare_lines_unless_told_otherwise() -> None:
    assert pipe(listen="fifo:/a").framing == "lines"
    assert pipe(listen="fifo:/a", format="syslog").framing == "syslog"
    assert pipe().framing == "syslog"
