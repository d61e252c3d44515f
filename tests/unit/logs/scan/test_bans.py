from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from agent import clock
from agent.config.logs_scan import Scan
from agent.logs.scan import Scanner, open_scanner
from agent.logs.scan.bans import STOPPED, BanList
from agent.logs.scan.publish import publish, read_findings, read_state

SSH = "{} web1 sshd[9]: Failed password for root from {} port 1 ssh2\n"
PROXY = "10.0.0.9"


@pytest.fixture(autouse=True)
def _one_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no test run over the end of a day or of a minute."""
    now = clock.now()
    monkeypatch.setattr(clock, "now", lambda: now)


def settings(directory: Path, **more: Any) -> Scan:
    bans = {"mode": "on", "file": directory / "bans.txt"}
    return Scan.model_validate(
        {
            "directory": directory,
            "trusted_proxies": ["10.0.0.0/24"],
            "exempt_networks": ["192.0.2.0/24", "2001:db8:aaaa::/48"],
            "bans": {**bans, **more},
        }
    )


def attack(scanner: Scanner, *addresses: str, form: Any = "syslog", again: int = 5) -> None:
    now = clock.iso(clock.now())
    for address in addresses:
        scanner.feed(
            (SSH.format(now, address) * again).encode(),
            source="auth.log",
            format=form,
            segment=address,
        )


def banned(directory: Path) -> list[str]:
    file = directory / "bans.txt"
    return file.read_text().splitlines() if file.exists() else []


def test_who_guesses_passwords_is_listed_ipv6_by_its_64(tmp_path: Path) -> None:
    chosen = settings(tmp_path)
    scanner = open_scanner(chosen)
    attack(scanner, "203.0.113.7", "2001:db8:1:2::7")
    assert publish(chosen, scanner, "watch") == []
    assert banned(tmp_path) == ["2001:db8:1:2::/64", "203.0.113.7"]
    assert (tmp_path / "bans.txt").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "address", [PROXY, "192.0.2.77", "127.0.0.1", "::1", "fe80::1", "2001:db8:aaaa:1::5"]
)
def test_own_networks_proxies_and_loopback_are_reported_and_never_banned(
    tmp_path: Path, address: str
) -> None:
    chosen = settings(tmp_path)
    scanner = open_scanner(chosen)
    attack(scanner, address)
    publish(chosen, scanner, "watch")
    assert len(read_findings(tmp_path)) == 1
    assert banned(tmp_path) == []


def test_a_file_whose_format_was_only_guessed_bans_nobody(tmp_path: Path) -> None:
    chosen = settings(tmp_path)
    scanner = open_scanner(chosen)
    attack(scanner, "203.0.113.7", form="auto")
    publish(chosen, scanner, "watch")
    assert (len(read_findings(tmp_path)), banned(tmp_path)) == (1, [])


def test_off_writes_no_list_and_a_dry_run_only_records(tmp_path: Path) -> None:
    for mode, recorded in (("off", 0), ("dry-run", 1)):
        directory = tmp_path / mode
        chosen = settings(directory, mode=mode)
        scanner = open_scanner(chosen)
        attack(scanner, "203.0.113.7")
        publish(chosen, scanner, "watch")
        assert banned(directory) == []
        assert len(BanList.read(directory).until) == recorded


def test_more_than_50_in_a_minute_stop_all_banning_until_a_person_has_looked(
    tmp_path: Path,
) -> None:
    chosen = settings(tmp_path)
    scanner = open_scanner(chosen)
    attack(scanner, "203.0.113.7")
    publish(chosen, scanner, "watch")
    attack(scanner, *(f"198.51.100.{number}" for number in range(50)))
    (warning,) = publish(chosen, scanner, "watch")
    assert "banning has stopped" in warning
    assert banned(tmp_path) == []
    assert read_state(tmp_path)["bans_stopped"] is True
    attack(scanner, "203.0.113.99")
    assert "banning has stopped" in publish(chosen, scanner, "watch")[0]
    (tmp_path / STOPPED).unlink()
    attack(scanner, "203.0.113.100")
    assert publish(chosen, scanner, "watch") == []
    assert "203.0.113.100" in banned(tmp_path)
    assert not any(one.startswith("198.51.100.") for one in banned(tmp_path))


def test_a_ban_is_over_after_its_time_and_an_old_log_bans_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = settings(tmp_path, minutes=10)
    scanner = open_scanner(chosen)
    attack(scanner, "203.0.113.7")
    publish(chosen, scanner, "watch")
    assert banned(tmp_path) == ["203.0.113.7"]
    real = clock.now()
    monkeypatch.setattr(clock, "now", lambda: real + timedelta(minutes=11))
    publish(chosen, scanner, "watch")
    assert banned(tmp_path) == []
    other = open_scanner(chosen)
    lines = SSH.format(clock.iso(real), "203.0.113.8") * 5
    other.feed(lines.encode(), source="auth.log", format="syslog")
    publish(chosen, other, "rotate")
    assert banned(tmp_path) == []


def test_a_web_request_never_bans_whatever_it_says(tmp_path: Path) -> None:
    chosen = settings(tmp_path)
    scanner = open_scanner(chosen)
    line = (
        '203.0.113.7 - - [24/Nov/2026:06:03:00 +0000] "GET /.env HTTP/1.1" 200 1 "-" "-" '
        '"198.51.100.1"\n'
    )
    scanner.feed((line * 100).encode(), source="access.log", format="combined")
    publish(chosen, scanner, "watch")
    assert banned(tmp_path) == []
    assert not any(one.may_ban for one in scanner.findings())


@pytest.mark.parametrize(
    ("peer", "forwarded", "who"),
    [
        ("203.0.113.7", "198.51.100.1", "203.0.113.7"),  # a stranger's word
        (PROXY, "198.51.100.1", "198.51.100.1"),
        (PROXY, "198.51.100.1, 203.0.113.5", "203.0.113.5"),  # the first is the client's word
        (PROXY, "198.51.100.1, 203.0.113.5, 10.0.0.8", "203.0.113.5"),
        (PROXY, "2001:db8:1:2::9", "2001:db8:1:2::/64"),
        (PROXY, "198.51.100.1:4711", "198.51.100.1"),
        (PROXY, "10.0.0.8", ""),
    ],
)
def test_whom_a_request_accuses(tmp_path: Path, peer: str, forwarded: str, who: str) -> None:
    scanner = open_scanner(settings(tmp_path))
    line = (
        f'{peer} - - [24/Nov/2026:06:03:00 +0000] "GET /.env HTTP/1.1" 404 1 "-" "-" "{forwarded}"'
    )
    scanner.feed(line.encode(), source="x")
    assert [one.who for one in scanner.findings()] == [who]


def test_publishing_twice_counts_nothing_twice(tmp_path: Path) -> None:
    chosen = settings(tmp_path)
    for _ in range(2):  # the same segment again, as after a kill
        scanner = open_scanner(chosen)
        attack(scanner, "203.0.113.7")
        publish(chosen, scanner, "rotate:auth.log.7.raw")
    assert [one.count for one in read_findings(tmp_path)] == [5]
    assert len(list((tmp_path / "records").glob("*/*.json"))) == 1
