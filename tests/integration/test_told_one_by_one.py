"""What goes wrong with single backups, drills and rotated logs is reported one by one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from agent import clock, report
from agent.report.drain import drain
from tests.fixtures.repository import MakeRepository, Repository, text
from tests.fixtures.rollbar import Rollbar

UNIT = {"INVOCATION_ID": "0123456789abcdef" * 2}  # as under systemd: a timer sends


@pytest.fixture
def site(make_repository: MakeRepository, rollbar_server: Rollbar, tmp_path: Path) -> Repository:
    """Two sources, `one` and `two`, and a log; reports go to a server of the tests."""
    token = tmp_path / "token"
    token.write_text("a" * 32 + "\n")
    token.chmod(0o600)
    sources = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_bytes(os.urandom(2_000_000))
        sources.append(
            f'[[sources]]\nname = "{name}"\nkind = "directory"\npath = {text(tmp_path / name)}'
        )
    return make_repository(
        "\n".join(sources),
        more=f"[report]\ntoken_file = {text(token)}\n"
        f'endpoint = "{rollbar_server.address}/api/1/"\n'
        f"[drill]\ndirectory = {text(tmp_path / 'drill')}\n"
        f"[logs.scan]\ndirectory = {text(tmp_path / 'scan')}\n"
        f'[[logs.rotate]]\nname = "site"\npath = {text(tmp_path / "access.log")}\n'
        'method = "copytruncate"\nscan = true\n',
    )


def art32(site: Repository, *arguments: str) -> int:
    done = subprocess.run(
        [sys.executable, "-m", "agent", "--config", str(site.config_file), *arguments],
        env={**os.environ, **UNIT},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "warning: this cannot be reported" not in done.stderr
    return done.returncode


def told(site: Repository, server: Rollbar) -> list[tuple[str, Any, Any, Any]]:
    """Send what waits; return verb, code or rule, what it is about, and the page of each report."""
    config = site.configuration()
    queue = report.open_queue(config)
    drain(config, queue, report.open_masker(config, queue), force=True)
    found = [(one["context"], one["body"]["message"]) for one in server.items]
    return [(v, m.get("code"), m.get("about"), m.get("runbook")) for v, m in found]


def damage(site: Repository, source: str) -> None:
    segment = next(site.backup_directories(source)[-1].glob("00000-*"))
    data = bytearray(segment.read_bytes())
    data[-1] ^= 1
    segment.chmod(0o600)
    segment.write_bytes(data)


def test_each_source_with_a_bad_backup(site: Repository, rollbar_server: Rollbar) -> None:
    for name in ("one", "two"):
        site.back_up(name)
        damage(site, name)
    assert art32(site, "backup", "verify") == 14
    assert told(site, rollbar_server) == [
        ("backup verify", "corrupt", "one", "backup-suspect"),
        ("backup verify", "corrupt", "two", "backup-suspect"),
    ]


def test_a_backup_that_became_much_smaller(
    site: Repository, rollbar_server: Rollbar, tmp_path: Path
) -> None:
    site.back_up("one")
    (tmp_path / "one" / "file").write_bytes(b"little")
    assert art32(site, "backup", "run", "one") == 20
    assert art32(site, "backup", "verify", "--newest") == 14  # `two` has no backup at all
    assert told(site, rollbar_server) == [
        ("backup run", "suspicious", "one", "backup-suspect"),
        ("backup verify", "no-backup", "two", "backup-stale"),
        ("backup verify", "suspicious", "one", "backup-suspect"),
    ]


def test_a_newest_backup_that_is_old(site: Repository, rollbar_server: Rollbar) -> None:
    for name in ("one", "two"):
        site.back_up(name)
    for path in (site.store / site.host / "one").rglob("*"):
        os.utime(path, (1_700_000_000, 1_700_000_000))
    assert art32(site, "backup", "verify", "--newest") == 14
    assert told(site, rollbar_server) == [("backup verify", "stale", "one", "backup-stale")]
    name = f"{site.host}/one"
    site.config_file.write_text(
        f"{site.config_file.read_text()}\n[retention]\nretired = [{text(name)}]\n".replace(
            'name = "one"', 'name = "uno"'
        )
    )
    assert art32(site, "backup", "verify", "--newest", "--source", "one") == 0


def test_each_drill_that_fails_and_the_others_are_done(
    site: Repository, rollbar_server: Rollbar
) -> None:
    for name in ("one", "two"):
        site.back_up(name)
    damage(site, "one")
    assert art32(site, "drill", "run") == 14
    assert art32(site, "drill", "status") == 14
    found = told(site, rollbar_server)
    assert found[0] == ("drill run", "corrupt", f"{site.host}/one", "backup-suspect")
    assert [one for one in found if one[0] == "drill run"] == found[:1]
    assert ("drill status", "drill-failed", f"{site.host}/one", "drill-failed") in found
    assert ("drill status", "drill-failed", "key escrow", "key-lost") in found
    lines = (site.state / "ledger.jsonl").read_text().splitlines()
    drills = [one["facts"] for one in map(json.loads, lines) if one["event"] == "drill-finished"]
    assert [(one["source"], one["result"]) for one in drills] == [("one", "corrupt"), ("two", "ok")]


def test_attacks_in_a_log_that_is_rotated(
    site: Repository, rollbar_server: Rollbar, tmp_path: Path
) -> None:
    pytest.importorskip("hyperscan")
    moment = f"{clock.now():%d/%b/%Y:%H:%M:%S} +0000"
    line = f'203.0.113.9 - - [{moment}] "GET /.env HTTP/1.1" 404 5 "-" "curl/8"\n'
    (tmp_path / "access.log").write_text(line * 20)
    assert art32(site, "logs", "rotate", "--force") in (0, 20)
    rules = [about for verb, _, about, _ in told(site, rollbar_server) if verb == "logs rotate"]
    assert rules
    assert "203.0.113.9" not in rollbar_server.everything()
