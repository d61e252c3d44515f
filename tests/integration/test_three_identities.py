"""A host that may only write, a keeper, a restorer: three configurations, one real S3 server."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agent.cli import main
from agent.config.model import S3Store
from agent.errors import ExitStatus
from tests.fixtures.keys import Keys
from tests.fixtures.repository import HOST, Repository, text, write_repository
from tests.fixtures.s3 import LOCKED, VERSIONED, S3Server


@dataclass(frozen=True)
class Said:
    """The exit status of a command line, its standard output and error."""

    status: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        return json.loads(self.out)["data"]


class Machine:
    """One machine with its own credentials and its own state."""

    def __init__(self, site: Repository, capsys: pytest.CaptureFixture[str]) -> None:
        self._site = site
        self._capsys = capsys

    def __call__(self, *arguments: str) -> Said:
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(["--config", str(self._site.config_file), "--output", "json", *arguments])
        out, err = self._capsys.readouterr()
        return Said(int(ended.value.code or 0), out, err)


def _section(config: S3Store) -> str:
    lines = ["[store]"]
    for key, value in config.model_dump(mode="json", exclude_none=True).items():
        lines.append(f"{key} = {json.dumps(value)}")
    return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Trio:
    """The three machines of one bucket, and the file that is backed up."""

    host: Machine
    keeper: Machine
    restorer: Machine
    source: Path


@pytest.fixture(params=[VERSIONED, LOCKED])
def trio(
    request: pytest.FixtureRequest,
    seaweedfs: S3Server,
    tmp_path: Path,
    keys: Keys,
    capsys: pytest.CaptureFixture[str],
) -> Trio:
    source = tmp_path / "tickets"
    source.write_bytes(b"a line of a ticket\n" * 50_000)
    sources = f'[[sources]]\nname = "app"\nkind = "command"\ncommand = ["cat", {text(source)}]\n'
    prefix = seaweedfs.config(request.param).prefix

    def machine(identity: str) -> Machine:
        config = seaweedfs.config(request.param, identity, prefix=prefix)
        directory = tmp_path / identity
        site = write_repository(directory, keys, sources, store=_section(config))
        if identity != "writer":
            site.config_file.write_text(_reading_only(_section(config), directory / "state", keys))
        return Machine(site, capsys)

    return Trio(machine("writer"), machine("keeper"), machine("restorer"), source)


def _reading_only(store: str, state: Path, keys: Keys) -> str:
    """Return the configuration of a machine that backs nothing up: it pins the host's key."""
    return (
        f"host = {text(HOST)}\nstate_directory = {text(state)}\n{store}\n"
        f"[[signers]]\nhost = {text(HOST)}\nfingerprint = {text(keys.host.fingerprint)}\n"
        f"key_file = {text(keys.host.public_file)}\n"
        f"[restore]\ngnupg_home = {text(keys.restorer_home)}\n"
    )


def test_a_host_writes_and_sees_only_its_own_ledger(trio: Trio) -> None:
    made = trio.host("backup", "run")
    assert made.status == ExitStatus.OK, made.err
    (backup,) = made.data[0]["backups"]
    listed = trio.host("backup", "list")
    assert listed.status == ExitStatus.OK
    assert listed.data["from"] == "local ledger"
    assert [one["id"] for one in listed.data["backups"]] == [backup["id"]]
    for refused in (
        ("restore", "app", "--to", "/nonexistent/file"),
        ("backup", "verify"),
        ("backup", "delete", backup["id"], "--apply", "--below-floor"),
    ):
        said = trio.host(*refused)
        assert said.status == ExitStatus.PERMISSION, said
        assert "Traceback" not in said.err
    assert trio.keeper("backup", "list").data["backups"][0]["state"] == "complete"


def test_doctor_proves_that_the_host_can_only_write(trio: Trio) -> None:
    said = trio.host("doctor")
    results = {one["subject"]: one["result"] for one in said.data}
    tried = {subject: result for subject, result in results.items() if subject.startswith("may")}
    assert len(tried) >= 10
    assert "fail" not in tried.values(), tried
    assert tried["may not read an object"] == "ok"
    assert tried["may not delete a version"] == "ok"
    assert said.status in (ExitStatus.OK, ExitStatus.WARNINGS)


def test_the_keeper_lists_and_verifies_without_any_private_key(trio: Trio) -> None:
    assert trio.host("backup", "run").status == ExitStatus.OK
    listed = trio.keeper("backup", "list")
    assert listed.data["from"] == "store"
    (backup,) = listed.data["backups"]
    assert backup["state"] == "complete"
    verified = trio.keeper("backup", "verify", "--tier", "hashes")
    assert verified.status == ExitStatus.OK, verified
    assert [one["good"] for one in verified.data] == [True]


def test_the_restorer_brings_it_back(trio: Trio, tmp_path: Path) -> None:
    assert trio.host("backup", "run").status == ExitStatus.OK
    target = tmp_path / "back"
    said = trio.restorer("restore", "app", "--to", str(target))
    assert said.status == ExitStatus.OK, said.err
    assert target.read_bytes() == trio.source.read_bytes()


def test_a_deletion_ends_the_backup_or_says_what_a_lock_keeps(trio: Trio) -> None:
    assert trio.host("backup", "run").status == ExitStatus.OK
    (backup,) = trio.keeper("backup", "list").data["backups"]
    deleted = trio.keeper("backup", "delete", backup["id"], "--apply", "--below-floor")
    (result,) = deleted.data["deleted"]
    left = trio.keeper("backup", "list").data["backups"]
    if backup["retained_until"] is None and result["shredded"]:
        assert deleted.status == ExitStatus.OK
        assert left == []
    else:
        assert deleted.status == ExitStatus.WARNINGS
        assert result["retained"] > 0
        assert [one["state"] for one in left] == ["complete"]
        assert trio.keeper("backup", "verify").status == ExitStatus.OK


def test_an_object_that_somebody_overwrote_still_restores(
    trio: Trio, seaweedfs: S3Server, tmp_path: Path
) -> None:
    assert trio.host("backup", "run").status == ExitStatus.OK
    (backup,) = trio.keeper("backup", "list").data["backups"]
    client = seaweedfs.client()
    overwritten = 0
    for bucket in (VERSIONED, LOCKED):
        listed = client.get_paginator("list_objects_v2").paginate(Bucket=bucket)  # of all tests
        names = [item["Key"] for page in listed for item in page.get("Contents", [])]
        for name in names:
            if backup["id"] in name:
                client.put_object(Bucket=bucket, Key=name, Body=b"planted")
                overwritten += 1
    assert overwritten >= 5
    target = tmp_path / "back"
    said = trio.restorer("restore", "app", "--to", str(target))
    assert said.status == ExitStatus.OK, said.err
    assert target.read_bytes() == trio.source.read_bytes()
