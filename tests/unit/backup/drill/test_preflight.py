"""What `doctor` says of drills: engines, room, neighbours, what a killed drill left."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from agent import clock
from agent.backup import make
from agent.backup.drill import preflight, record
from agent.backup.finding import Finding
from agent.config.model import Configuration


@pytest.fixture
def config(tmp_path: Path) -> Configuration:
    """A restorer that has not drilled yet."""
    return Configuration.model_validate(
        {
            "host": "restorer",
            "state_directory": str(tmp_path / "state"),
            "store": {"kind": "directory", "path": str(tmp_path / "store")},
            "service": {"role": "restorer"},
            "drill": {"directory": str(tmp_path / "d")},
        }
    )


def found(config: Configuration) -> list[Finding]:
    return list(preflight.look(config))


def of(config: Configuration, subject: str) -> list[bool | None]:
    return [one.good for one in found(config) if one.subject == subject]


def drilled(config: Configuration, **facts: object) -> None:
    given = {"id": "0" * 16, "host": "db1", "source": "app", "result": "ok", "seconds": 1.0}
    make.ledger_of(config).append(record.DRILLED, **{**given, **facts})  # type: ignore[arg-type]


def test_a_machine_that_does_not_drill_hears_nothing(config: Configuration) -> None:
    service = config.service.model_copy(update={"role": "writer"})
    assert found(config.model_copy(update={"service": service})) == []


def test_an_engine_that_was_needed_and_is_gone_is_a_failure(
    config: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert of(config, "engine sqlite3") == []
    drilled(config, kind="sqlite")
    which = shutil.which
    monkeypatch.setattr(
        shutil, "which", lambda name, **more: None if name == "sqlite3" else which(name, **more)
    )
    assert of(config, "engine sqlite3") == [False]
    (engines,) = [one for one in found(config) if one.subject == "engines"]
    assert "not " in engines.detail
    assert "sqlite3" in engines.detail


def test_too_little_room_for_the_largest_backup_is_a_failure(config: Configuration) -> None:
    assert of(config, "drill directory") == [True]
    free = shutil.disk_usage(config.drill.directory.parent).free
    drilled(config, plain_bytes=free * 2 // 3)
    assert of(config, "drill directory") == [None]
    drilled(config, plain_bytes=free * 2)
    assert of(config, "drill directory") == [False]


def test_a_path_that_no_socket_takes_is_a_failure(config: Configuration, tmp_path: Path) -> None:
    long = config.drill.model_copy(update={"directory": tmp_path / ("x" * 90)})
    assert of(config.model_copy(update={"drill": long}), "drill directory") == [False]


def test_a_directory_in_a_servers_data_is_a_failure(config: Configuration, tmp_path: Path) -> None:
    (tmp_path / "PG_VERSION").write_text("15\n")
    assert of(config, "drill directory") == [True, False]


def test_a_server_that_runs_here_is_said(
    config: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    sleep = shutil.which("sleep")
    assert sleep is not None
    with subprocess.Popen(["a-server", "60"], executable=sleep) as child:
        monkeypatch.setattr(preflight, "_SERVERS", ("sleep",))
        try:
            assert None in of(config, "drills")
        finally:
            child.kill()


def test_what_a_killed_drill_left_is_said_and_a_living_one_is_not(config: Configuration) -> None:
    directory = config.drill.directory
    for name in ("deadbeef", "cafecafe"):
        (directory / name).mkdir(parents=True)
        (directory / f"{name}.lock").touch(mode=0o600)
    descriptor = os.open(directory / "cafecafe.lock", os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        said = [one.detail for one in found(config) if "left plaintext" in one.detail]
    finally:
        os.close(descriptor)
    assert said == [f"a drill that was killed left plaintext in `{directory / 'deadbeef'}`"]


def test_the_last_drills_age_is_said(config: Configuration) -> None:
    drilled(config)
    assert of(config, "drill db1/app") == [True]
    drilled(config, finished=clock.iso(clock.parse_iso("2026-01-01T00:00:00Z")), source="old")
    assert of(config, "drill db1/old") == [None]
