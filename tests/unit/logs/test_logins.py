"""Failed logins: counted right, from a real journal and from a file, and nothing but counted."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import clock
from agent.config.model import Configuration
from agent.health.examine import examine
from agent.health.result import Result, State
from agent.logs import logins
from agent.logs.scan import rules
from tests.fixtures.waiting import until

CANARY = "198.51.100.211"
NOW = datetime(2026, 11, 24, 6, 10, tzinfo=UTC)


def auth_log(path: Path, *lines: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the machine one without a journal and with that log."""
    path.write_text("".join(f"{line}\n" for line in lines))
    monkeypatch.setattr(logins, "AUTH_LOG", path)
    monkeypatch.setattr(shutil, "which", lambda _: None)


def at(minute: int, said: str) -> str:
    return f"2026-11-24T06:{minute:02}:00.123456+00:00 web1 {said}"


def test_what_fails_is_counted_once_and_what_succeeds_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    auth_log(
        tmp_path / "auth.log",
        at(1, f"sshd[1]: Failed password for root from {CANARY} port 50022 ssh2"),
        at(1, f"sshd[1]: Failed password for root from {CANARY} port 50022 ssh2"),
        # the end of the same connection
        at(
            1,
            f"sshd[1]: Connection closed by authenticating user root {CANARY} port 50022 [preauth]",
        ),
        # a server that takes keys alone says no more than this
        at(2, f"sshd-session[2]: Connection closed by invalid user x {CANARY} port 1 [preauth]"),
        # nobody tried to log in
        at(2, f"sshd[3]: Connection closed by {CANARY} port 1 [preauth]"),
        at(
            3, f"sshd[4]: Accepted publickey for jane from {CANARY} port 1 ssh2: ED25519 SHA256:abc"
        ),
        at(4, "sudo[5]: pam_unix(sudo:auth): authentication failure; logname=jane uid=1000"),
        # sshd has said so itself
        at(4, "sshd[6]: pam_unix(sshd:auth): authentication failure; logname= uid=0"),
        at(
            5,
            "postfix/smtpd[7]: warning: unknown[198.51.100.211]: SASL LOGIN authentication failed",
        ),
        # a program that anybody may call like that
        at(5, f"myapp[8]: Failed password for root from {CANARY} port 50022 ssh2"),
        "no line of syslog",
        monkeypatch=monkeypatch,
    )
    assert logins.failed(NOW - timedelta(minutes=15)) == {"ssh": 3, "mail": 1, "local": 1}
    # from 06:02 on
    assert logins.failed(NOW - timedelta(minutes=8)) == {"ssh": 1, "mail": 1, "local": 1}


def test_without_a_journal_and_without_a_log_nothing_is_claimed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    auth_log(tmp_path / "auth.log", monkeypatch=monkeypatch)
    (tmp_path / "auth.log").unlink()
    assert logins.failed(NOW) is None


def test_a_journal_that_may_not_be_read_is_not_taken_for_a_quiet_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """journalctl shows a user who may read nothing just that, and ends well."""
    monkeypatch.setattr(logins, "AUTH_LOG", tmp_path / "none")
    monkeypatch.setattr(shutil, "which", lambda _: "/bin/true")
    assert logins.failed(NOW) is None


def test_the_rules_that_it_counts_by_are_there() -> None:
    found = {rule.id: rule for rule in rules.load()}
    assert set(logins._RULES) <= set(found)
    ended = found[logins._ENDED]
    assert all("(?P<user>" in message for message in ended.messages if "user" in message)


@given(st.lists(st.binary(max_size=80)))
def test_no_log_breaks_it(lines: list[bytes]) -> None:
    said = logins._lines([b"Nov 24 06:03:00 web1 sshd[1]: " + one for one in lines], 0)
    assert logins.count(said)["mail"] == 0


def configuration(tmp_path: Path, **health: object) -> Configuration:
    return Configuration.model_validate(
        {
            "host": "web1",
            "state_directory": str(tmp_path / "state"),
            "store": {"kind": "directory", "path": str(tmp_path)},
            "health": health,
        }
    )


def result(config: Configuration) -> Result:
    (found,) = examine(config, ("logins",)).results
    return found


@pytest.mark.parametrize(("count", "state"), [(19, State.OK), (20, State.WARN), (200, State.FAIL)])
def test_a_burst_warns_and_a_large_one_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, state: State
) -> None:
    line = at(5, f"sshd[1]: Failed password for jane from {CANARY} port 50022 ssh2")
    auth_log(tmp_path / "auth.log", *[line] * count, monkeypatch=monkeypatch)
    monkeypatch.setattr(clock, "now", lambda: NOW)
    found = result(configuration(tmp_path))
    assert (found.state, found.value) == (state, count)
    assert f"{count} by ssh" in found.detail
    assert not {"jane", CANARY} & set(found.detail.replace(",", " ").split())
    assert (found.runbook is None) is (state is State.OK)


def test_whoever_wants_no_count_gets_none(tmp_path: Path) -> None:
    assert examine(configuration(tmp_path, check_logins=False), ("logins",)).results == ()


def test_a_real_journal_is_counted(
    tmp_path: Path, journal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = tmp_path / "journalctl"
    tool.write_text(f'#!/bin/sh\nexec /usr/bin/journalctl --namespace={journal} "$@"\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    socket = f"/run/systemd/journal.{journal}/dev-log"
    mark = uuid.uuid4().hex
    for tag, text in (
        *[("sshd", f"Failed password for jane from {CANARY} port 50022 ssh2")] * 25,
        ("sshd", f"Failed password for invalid user \xff{mark} from {CANARY} port 1 ssh2"),
        ("other", f"Failed password for root from {CANARY} port 50022 ssh2"),
        ("sshd", f"Accepted password for {mark} from {CANARY} port 1 ssh2"),
    ):
        logger = ["logger", "--socket", socket, "--tag", tag, "-i", "--", text]
        subprocess.run(logger, check=True)
    read = ["journalctl", "--quiet", "--output=json"]
    until(
        lambda: mark in subprocess.run(read, capture_output=True, text=True).stdout,
        "the last record",
    )
    found = result(configuration(tmp_path))
    assert (found.state, found.value) == (State.WARN, 26)
    said = json.dumps(vars(found))
    assert CANARY not in said
    assert "jane" not in said
