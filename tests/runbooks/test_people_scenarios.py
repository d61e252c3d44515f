"""Runbooks about people: one person's data, and the evidence that somebody asks for."""

from __future__ import annotations

from pathlib import Path

from tests.fixtures.databases import PostgreSQLServer
from tests.fixtures.repository import MakeRepository, text
from tests.runbooks.world import World


def test_one_person_goes_and_the_statements_that_replay_it_stay(
    postgresql: PostgreSQLServer, make_repository: MakeRepository, tmp_path: Path
) -> None:
    postgresql.create(
        "people",
        "CREATE TABLE person (id int PRIMARY KEY, mail text);"
        "CREATE TABLE bill (id int PRIMARY KEY, person int REFERENCES person);"
        "INSERT INTO person VALUES (1, 'anna.canary@example.org'), (2, 'ben@example.org');"
        "INSERT INTO bill VALUES (10, 1), (20, 2);",
    )
    site = make_repository(
        f'[[sources]]\nname = "files"\nkind = "directory"\npath = {text(tmp_path)}'
    )
    erase, gone, register = tmp_path / "erase", tmp_path / "gone", tmp_path / "register"
    erase.write_text("DELETE FROM bill WHERE person = 1;\nDELETE FROM person WHERE id = 1;\n")
    gone.write_text("SELECT count(*) = 0 FROM person WHERE mail = 'anna.canary@example.org';\n")
    world = World(
        tmp_path,
        site,
        {
            "ERASE": str(erase),
            "GONE": str(gone),
            "REGISTER": str(register),
            "REQUEST": "2026-17",
            "DAYS": "65",
            "DATABASE": "people",
            "SOCKET": str(postgresql.socket),
            "PORT": str(postgresql.port),
            "ADMIN": postgresql.admin,
        },
        [str(postgresql.binaries)],
    )
    try:
        done = world.mends("delete-person")
        assert postgresql.sql("SELECT string_agg(mail, ',') FROM person", database="people") == (
            "ben@example.org"
        )
        kept = [path.read_text() for path in register.iterdir()]
        ledger = (site.state / "ledger.jsonl").read_text()
        assert not [
            text for text in (*kept, ledger, done.stdout, done.stderr) if "anna.canary" in text
        ]
        # a statement that fails takes all back
        postgresql.sql(
            "INSERT INTO person VALUES (1, 'anna.canary@example.org')", database="people"
        )
        erase.write_text("DELETE FROM person WHERE id = 1;\nDELETE FROM nothing WHERE id = 1;\n")
        assert world.follow("delete-person").returncode == 14
        assert postgresql.sql("SELECT count(*) FROM person", database="people") == "2"
    finally:
        postgresql.sql("DROP DATABASE people WITH (FORCE)")


def test_a_ledger_that_was_changed_is_found_kept_and_replaced(
    make_repository: MakeRepository, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "file").write_bytes(b"content")
    site = make_repository(f'[[sources]]\nname = "files"\nkind = "directory"\npath = {text(data)}')
    site.back_up("files")
    site.back_up("files")
    ledger = site.state / "ledger.jsonl"
    first, *rest = ledger.read_text().splitlines()
    changed = "\n".join([first.replace('"files"', '"filez"'), *rest]) + "\n"
    assert changed != ledger.read_text()
    world = World(tmp_path, site, {"BACKUP_HOST": site.host, "STATE": str(site.state)})
    ledger.write_text(changed)
    world.mends("verify-evidence")
    (kept,) = site.state.glob("ledger.jsonl.broken-*")
    assert kept.read_text().startswith(changed)  # the page's own run went on with it
    world.undoes("verify-evidence")
    assert ledger.read_text().startswith(changed)
    assert not world.verified("verify-evidence")
