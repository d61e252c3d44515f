"""A managed database is dumped by a login that is signed anew for each connection."""

from __future__ import annotations

import contextlib
import os
import re
import urllib.parse
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from agent.backup.sources import DumpReport
from agent.backup.sources import _postgresql_client as client
from agent.backup.sources import postgresql as plugin
from agent.config.sources import PostgreSQLSource
from agent.errors import Art32Error, Code
from tests.fixtures.rds import KEY, REGION, SECRET, SESSION, USER, Rds

SCHEMA = "CREATE TABLE person AS SELECT i AS id, 'name ' || i AS name FROM generate_series(1, 99) i"


def source(rds: Rds, **changes: Any) -> PostgreSQLSource:
    settings = {
        "kind": "postgresql",
        "name": "app",
        "database": "app",
        "host": "localhost",
        "port": rds.server.port,
        "user": USER,
        "ssl_root_certificate": rds.certificate,
        "rds_iam_region": REGION,
        **changes,
    }
    return PostgreSQLSource.model_validate(settings)


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Give this process the credentials of a role, as the metadata service would."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_SESSION_TOKEN", SESSION)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))


@pytest.fixture
def judged(rds: Rds) -> Rds:
    rds.judge.tokens.clear()
    rds.judge.refused.clear()
    rds.judge.offset = 0
    rds.server.create("app", SCHEMA)
    return rds


def dumped(config: PostgreSQLSource) -> tuple[bytes, DumpReport]:
    with plugin.dump(config, "") as running:
        return b"".join(iter(running.read, b"")), running.finish()


def failure(config: PostgreSQLSource) -> Art32Error:
    with pytest.raises(Art32Error) as caught:
        dumped(config)
    return caught.value


def test_a_database_is_dumped_by_tokens_and_each_connection_has_its_own(judged: Rds) -> None:
    data, report = dumped(source(judged))
    assert b"99\tname 99\n" in data
    assert report.rows == {"public.person": 99}
    assert judged.judge.refused == []
    assert len(judged.judge.tokens) == 2  # the one that holds the snapshot, and pg_dump
    plugin.probe(source(judged))
    assert len(judged.judge.tokens) == 3


def test_no_token_stands_in_an_argument_an_environment_or_a_file(
    judged: Rds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    # more than a pipe takes: while it is read, the programs are there to be looked at
    judged.server.sql(
        "CREATE TABLE large AS SELECT repeat('x', 1000) FROM generate_series(1, 8000)",
        database="app",
    )
    seen = []
    with plugin.dump(source(judged), "") as running:
        assert running.read()
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if re.search(r"^Name:\s+(psql|pg_dump)$", (process / "status").read_text(), re.M):
                    seen += [(process / name).read_bytes() for name in ("cmdline", "environ")]
        while running.read():
            pass
        running.finish()
    assert any(b"pg_dump" in one for one in seen)
    (one, two) = judged.judge.tokens
    signatures = [urllib.parse.parse_qs(token)["X-Amz-Signature"][0] for token in (one, two)]
    for word in (*signatures, SECRET, KEY):
        assert not any(word.encode() in text for text in seen), "it is there to be seen"
    assert list(tmp_path.iterdir()) == []


def test_the_file_of_the_login_is_gone_with_the_block(judged: Rds) -> None:
    with client.login(source(judged), "app") as login:
        (descriptor,) = login.descriptors
        assert os.fstat(descriptor).st_mode & 0o777 == 0o600
        assert not os.get_inheritable(descriptor)
        assert SECRET not in str(login)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("AWS_SECRET_ACCESS_KEY", "another", "with a wrong signature"),
        ("AWS_ACCESS_KEY_ID", "another", "of another key"),
        ("AWS_SESSION_TOKEN", "another", "of another session"),
    ],
)
def test_who_is_not_that_role_is_refused_and_told_what_is_missing(
    judged: Rds, monkeypatch: pytest.MonkeyPatch, name: str, value: str, why: str
) -> None:
    monkeypatch.setenv(name, value)
    error = failure(source(judged))
    assert judged.judge.refused == [why]
    assert error.code is Code.SOURCE_FAILED
    assert "refuses the token" in error.sentence
    assert "rds-db:connect" in str(error.hint)


def test_a_token_ends_after_fifteen_minutes(judged: Rds) -> None:
    judged.judge.offset = 800
    plugin.probe(source(judged))
    judged.judge.offset = 901
    with pytest.raises(Art32Error, match="refuses the token"):
        plugin.probe(source(judged))
    assert judged.judge.refused == ["out of its time"]


def test_no_token_goes_to_a_server_that_cannot_prove_its_name(judged: Rds) -> None:
    for changes in (
        {"host": "127.0.0.1"},
        {"ssl_root_certificate": "/etc/ssl/certs/ca-certificates.crt"},
    ):
        assert "no verified TLS" in failure(source(judged, **changes)).sentence
    assert judged.judge.tokens == []


def test_a_machine_without_a_role_is_told_so(judged: Rds, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name)
    error = failure(source(judged))
    assert error.code is Code.SOURCE_FAILED
    assert "NoCredentialsError" in error.sentence
    assert judged.judge.tokens == []


@pytest.mark.parametrize(
    "changes",
    [
        {"ssl_mode": "require"},
        {"password_file": "/etc/art32/pgpass"},
        {"user": None},
        {"host": "/var/run/postgresql"},
        {"rds_iam_region": "Frankfurt"},
    ],
)
def test_what_would_give_a_token_away_or_have_none_is_refused(
    rds: Rds, changes: dict[str, object]
) -> None:
    with pytest.raises(ValidationError, match="rds_iam_region"):
        source(rds, **changes)
