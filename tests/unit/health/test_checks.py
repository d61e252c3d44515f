"""Health on real conditions: a full disk, a listener, an ended certificate, a stale backup."""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import clock
from agent.config.model import Configuration
from agent.health import checks as all_checks
from agent.health import memory, prometheus
from agent.health.checks.disk import hours_to_full
from agent.health.examine import answer, examine
from agent.health.result import Result, State, graded
from agent.ledger import Ledger
from tests.fixtures.ports import free_port


def configuration(tmp_path: Path, **health: Any) -> Configuration:
    state = tmp_path / "state"
    state.mkdir(mode=0o700, exist_ok=True)
    return Configuration.model_validate(
        {
            "host": "web1",
            "state_directory": str(state),
            "store": {"kind": "directory", "path": str(tmp_path)},
            "health": health,
            "logs": {"scan": {"directory": str(tmp_path / "findings")}},
        }
    )


def results(config: Configuration, *only: str) -> dict[str, Result]:
    return {one.name: one for one in examine(config, only).results}


def test_every_check_says_something_on_any_machine_and_none_breaks(tmp_path: Path) -> None:
    found = results(configuration(tmp_path))
    assert len(found) > 12
    assert [one for one in found.values() if "a defect in art32" in one.detail] == []


def test_a_check_that_breaks_is_unknown_and_stops_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: object) -> Iterator[Result]:
        raise RuntimeError("a secret")

    real = all_checks.checks()
    monkeypatch.setattr("agent.health.examine.checks", lambda: {**real, "disk": broken})
    found = results(configuration(tmp_path), "disk", "memory")
    assert found["disk"].state is State.UNKNOWN
    assert "a secret" not in found["disk"].detail
    assert "memory" in found


def test_a_library_that_is_missing_makes_its_checks_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("psutil", "agent.health.checks.memory"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "psutil", None)
    found = results(configuration(tmp_path), "memory", "own_files")
    assert found["memory"].state is State.UNKNOWN
    assert found["memory"].detail == "the library `psutil` is not installed"
    assert found["own-files"].state is State.OK


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk to fill")
def test_a_disk_that_is_full_fails_and_one_without_inodes_too(tmp_path: Path) -> None:
    full, crowded = tmp_path / "full", tmp_path / "crowded"
    mounted = []
    try:
        for place, options in ((full, "size=1m"), (crowded, "size=1m,nr_inodes=20")):
            place.mkdir()
            mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
            if subprocess.run(mount, capture_output=True, check=False).returncode:
                pytest.skip("this machine mounts no tmpfs")
            mounted.append(place)
        (full / "junk").write_bytes(b"x" * 1_000_000)
        for number in range(18):
            (crowded / str(number)).touch()
        found = results(configuration(tmp_path, mounts=[str(full), str(crowded)]), "disk")
        assert found[f"disk:{full}"].state is State.FAIL
        assert found[f"disk:{full}"].runbook == "disk-full"
        assert found[f"disk:{crowded}"].state is State.OK
        assert found[f"inodes:{crowded}"].state is State.FAIL
    finally:
        for place in mounted:
            subprocess.run(["umount", str(place)], check=True)


@given(
    st.floats(1, 1e12),
    st.floats(0.1, 1e6),
    st.integers(4, 40),
)
def test_a_disk_that_fills_evenly_is_full_when_it_is(free: float, rate: float, count: int) -> None:
    samples = [(step * 600.0, free - rate * step * 600.0) for step in range(count)]
    hours = hours_to_full(samples)
    assert hours == pytest.approx(samples[-1][1] / rate / 3600, rel=1e-3, abs=1e-3)


@pytest.mark.parametrize(
    "samples", [[], [(0.0, 5.0), (900.0, 4.0)], [(0.0, 5.0), (1.0, 4.0), (2.0, 3.0)]]
)
def test_too_little_is_no_trend(samples: list[tuple[float, float]]) -> None:
    assert hours_to_full(samples) is None


@pytest.fixture
def listener() -> Iterator[int]:
    with socket.socket() as server:
        server.bind(("0.0.0.0", 0))
        server.listen()
        port: int = server.getsockname()[1]
        yield port


def test_a_port_that_nobody_named_is_a_finding_and_a_named_one_is_not(
    tmp_path: Path, listener: int
) -> None:
    name = f"port:{listener}/tcp"
    stranger = results(configuration(tmp_path), "listeners")[name]
    assert (stranger.state, stranger.runbook) == (State.FAIL, "host-compromised")
    named = configuration(tmp_path, listeners=[{"port": listener}])
    assert results(named, "listeners")[name].state is State.OK
    other = configuration(tmp_path, listeners=[{"port": listener, "program": "nginx"}])
    assert results(other, "listeners")[name].state is State.FAIL


def test_a_port_that_should_listen_and_does_not_fails(tmp_path: Path, listener: int) -> None:
    silent = free_port()
    config = configuration(tmp_path, listeners=[{"port": silent}], check_listeners=False)
    found = results(config, "listeners")
    assert found[f"port:{silent}/tcp"].state is State.FAIL
    assert f"port:{listener}/tcp" not in found


def test_what_listens_on_the_loopback_alone_is_no_finding(tmp_path: Path) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        found = results(configuration(tmp_path), "listeners")
        assert f"port:{server.getsockname()[1]}/tcp" not in found


def certificate(directory: Path, days: int) -> tuple[Path, Path]:
    """Make a certificate that ends in so many days; in the past for negative ones."""
    key, path = directory / f"{days}.key", directory / f"{days}.pem"
    now = datetime.now(UTC)
    begin, end = (
        f"{moment:%Y%m%d%H%M%SZ}"
        for moment in (now - timedelta(days=400), now + timedelta(days=days))
    )
    (directory / "ca").mkdir(exist_ok=True)
    (directory / "index").write_text("")
    (directory / "serial").write_text("01\n")
    settings = directory / "ca.conf"
    settings.write_text(
        f"[ca]\ndefault_ca=x\n[x]\ndir={directory}\nnew_certs_dir={directory}/ca\n"
        f"database={directory}/index\nserial={directory}/serial\ndefault_md=sha256\npolicy=p\n"
        "[p]\ncommonName=supplied\n"
    )
    request = directory / "request"
    quiet: dict[str, Any] = {"check": True, "capture_output": True}
    subprocess.run(
        [
            *("openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-keyout", key, "-subj", "/CN=localhost", "-out", request),
        ],
        **quiet,
    )
    subprocess.run(
        [
            *(
                "openssl",
                "ca",
                "-config",
                settings,
                "-selfsign",
                "-keyfile",
                key,
                "-batch",
                "-notext",
            ),
            *("-startdate", begin, "-enddate", end, "-in", request, "-out", path),
        ],
        **quiet,
    )
    return path, key


@pytest.mark.parametrize(
    ("days", "state"), [(90, State.OK), (20, State.WARN), (6, State.FAIL), (-3, State.FAIL)]
)
def test_a_certificate_that_ends_is_seen_coming(tmp_path: Path, days: int, state: State) -> None:
    path, _ = certificate(tmp_path, days)
    config = configuration(tmp_path, certificates=[{"file": str(path)}])
    assert results(config, "certificates")[f"certificate:{path}"].state is state


def test_a_server_is_asked_for_its_certificate_even_when_it_has_ended(tmp_path: Path) -> None:
    path, key = certificate(tmp_path, -3)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path, key)
    with socket.socket() as plain:
        plain.bind(("127.0.0.1", 0))
        plain.listen()
        address = f"localhost:{plain.getsockname()[1]}"

        def serve() -> None:
            connection, _ = plain.accept()
            with connection, context.wrap_socket(connection, server_side=True):
                pass

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        config = configuration(tmp_path, certificates=[{"server": address}])
        found = results(config, "certificates")[f"certificate:{address}"]
        thread.join(10)
    assert (found.state, found.detail) == (State.FAIL, "ended 3 days ago")


def test_a_certificate_that_cannot_be_read_is_unknown(tmp_path: Path) -> None:
    (tmp_path / "junk.pem").write_text("junk")
    files = [tmp_path / "none.pem", tmp_path / "junk.pem"]
    config = configuration(tmp_path, certificates=[{"file": str(one)} for one in files])
    found = results(config, "certificates")
    assert {one.state for one in found.values()} == {State.UNKNOWN}


def backed_up(tmp_path: Path, hours_ago: float, *, last: str = "ok") -> Configuration:
    config = configuration(tmp_path)
    source = {"name": "app", "kind": "directory", "path": str(tmp_path)}
    keys = {"fingerprint": "A" * 40, "key_file": str(tmp_path / "key")}
    changed = config.model_dump(mode="json") | {
        "sources": [source],
        "signing": keys,
        "encryption": {
            "recipients": [
                {"name": name, "fingerprint": letter * 40, "key_file": str(tmp_path / name)}
                for name, letter in (("operations", "B"), ("escrow", "C"))
            ]
        },
    }
    ledger = Ledger(config.state_directory / "ledger.jsonl")
    facts: dict[str, Any] = {"id": "0" * 16, "source": "app", "path": "p", "member": None}
    facts |= {
        "set": None,
        "set_size": None,
        "plain_bytes": 1,
        "stored_bytes": 1,
        "suspicious": False,
    }
    moment = clock.now() - timedelta(hours=hours_ago)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("agent.clock.now", lambda: moment)
        ledger.append("backup-complete", **facts)
        ledger.append("backup-run-finished", run="1", source="app", result=last, backups=1)
    return Configuration.model_validate(changed)


@pytest.mark.parametrize(
    ("hours", "last", "state", "runbook"),
    [
        (2, "ok", State.OK, "backup-stale"),
        (27, "ok", State.FAIL, "backup-stale"),
        (2, "source-failed", State.WARN, "backup-failed"),
        (-5, "ok", State.UNKNOWN, "backup-stale"),
    ],
)
def test_a_stale_backup_fails_and_a_failed_run_warns(
    tmp_path: Path, hours: float, last: str, state: State, runbook: str
) -> None:
    found = results(backed_up(tmp_path, hours, last=last), "backups")["backup:app"]
    assert (found.state, found.runbook) == (state, runbook)


def test_a_set_of_which_a_database_fails_each_night_is_no_good_backup(tmp_path: Path) -> None:
    config = backed_up(tmp_path, 30)
    ledger = Ledger(config.state_directory / "ledger.jsonl")
    facts: dict[str, Any] = {"source": "app", "path": "p", "plain_bytes": 1, "stored_bytes": 1}

    def finished(night: int, number: int) -> None:
        ids = {"id": f"{night * 10 + number:016x}", "member": f"{number:016x}"}
        ledger.append("backup-complete", **facts, **ids, set=f"{night:016x}", set_size=3)

    for night in (1, 2):
        for _ in range(3):  # a part that was settled again counts once
            finished(night, 1)
        ledger.append("backup-run-finished", run="1", source="app", result="source-failed")
    found = results(config, "backups")["backup:app"]
    assert (found.state, round(found.value or 0)) == (State.FAIL, 30)
    finished(2, 2)
    assert results(config, "backups")["backup:app"].state is State.FAIL
    finished(2, 3)
    found = results(config, "backups")["backup:app"]
    assert (found.state, round(found.value or 0)) == (State.WARN, 0)
    ledger.append("backup-deleted", id=f"{21:016x}")
    assert results(config, "backups")["backup:app"].state is State.FAIL


def test_files_that_others_can_read_are_found(tmp_path: Path) -> None:
    config = configuration(tmp_path)
    assert results(config, "own_files")["own-files"].state is State.OK
    config.state_directory.chmod(0o755)
    assert results(config, "own_files")["own-files"].state is State.FAIL


@pytest.mark.parametrize(
    ("states", "failed", "state", "said"),
    [
        ("active active", "", State.OK, "2 units of Art32 are active"),
        ("active inactive", "", State.FAIL, "`art32-health.timer` is not active"),
        ("active active", "art32-verify@db1.service x", State.FAIL, "verify@db1.service` has fail"),
        ("active failed", "art32-health.timer x", State.FAIL, "`art32-health.timer` has failed"),
        ("unknown", "", State.UNKNOWN, "systemd does not answer"),
    ],
)
def test_art32_s_own_units_are_looked_at_where_it_runs_by_systemd(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    states: str,
    failed: str,
    state: State,
    said: str,
) -> None:
    """systemctl is a script here; `make vmtest` asks a real systemd."""
    from agent.health.checks import units

    wants = tmp_path / "system" / "timers.target.wants"
    wants.mkdir(parents=True)
    monkeypatch.setattr(units, "_ENABLED", wants.parent)
    monkeypatch.setattr(
        units, "own_units", lambda _: ("art32-logs-pipe.service", "art32-health.timer")
    )
    tool = tmp_path / "systemctl"
    tool.write_text(
        f'#!/bin/sh\ncase $1 in is-active) printf "%s\\n" {states} ;; *) echo "{failed}" ;; esac\n'
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert "art32-units" not in results(configuration(tmp_path), "units")
    (wants / "art32-health.timer").touch()
    found = results(configuration(tmp_path), "units")["art32-units"]
    assert (found.state, said in found.detail) == (state, True)


def test_an_update_that_waits_is_as_old_as_when_it_was_first_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """apt itself is a script here: no test may depend on what the machine's mirror has today."""
    tools = tmp_path / "tools"
    tools.mkdir()
    apt = tools / "apt-get"
    line = "Inst openssl [3.0.1] (3.0.2 Debian-Security:12/stable-security [amd64])"
    apt.write_text(f"#!/bin/sh\necho '{line}'\necho 'Inst vim [1] (2 Debian:12/stable [amd64])'\n")
    apt.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    config = configuration(tmp_path)
    assert results(config)["updates"].state is State.OK
    now = clock.now()
    monkeypatch.setattr("agent.clock.now", lambda: now + timedelta(hours=73))
    found = results(config)["updates"]
    assert found.state is State.FAIL
    assert found.value == pytest.approx(73, abs=0.1)
    assert found.detail.startswith("1 security updates wait")
    apt.write_text("#!/bin/sh\n")
    assert results(config)["updates"].state is State.OK
    assert memory.load(config.state_directory).first_seen == {}


def test_since_when_lasts_until_the_state_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listener: int
) -> None:
    config = configuration(tmp_path)
    name = f"port:{listener}/tcp"
    first = examine(config)
    now = clock.now()
    monkeypatch.setattr("agent.clock.now", lambda: now + timedelta(hours=1))
    second = examine(config)
    assert second.since[name] == first.since[name]
    (config.state_directory / memory.NAME).write_text("{ torn")
    assert examine(config).since[name] == clock.iso(now + timedelta(hours=1))


def test_the_worst_stands_first_and_decides_the_status(tmp_path: Path, listener: int) -> None:
    found = examine(configuration(tmp_path), ("listeners", "own_files"))
    said = answer(found)
    assert said.status == 14
    assert said.data[0]["state"] == "fail"
    assert "runbook: host-compromised" in "\n".join(said.lines)
    assert f"port:{listener}/tcp" in said.summary
    json.dumps(said.data)


def test_prometheus_gets_a_state_and_a_value_for_each_check(tmp_path: Path) -> None:
    found = examine(configuration(tmp_path), ("memory",))
    path = tmp_path / "art32.prom"
    prometheus.write(found, path)
    text = path.read_text()
    assert 'art32_check_state{check="memory"} ' in text
    assert 'art32_check_value{check="memory",unit="%"} ' in text
    assert path.stat().st_mode & 0o777 == 0o644
    for line in text.splitlines():
        assert line.startswith(("# ", "art32_"))


@pytest.mark.parametrize(
    ("value", "state"), [(0, State.OK), (49.9, State.OK), (50, State.WARN), (90, State.FAIL)]
)
def test_a_value_is_graded_from_its_thresholds_on(value: float, state: State) -> None:
    assert graded(value, warn=50, fail=90) is state
