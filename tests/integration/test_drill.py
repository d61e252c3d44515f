"""Drills with real engines: what they show of good backups, and what they find in bad ones."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest

from agent import clock
from agent.backup import catalog, identity, make
from agent.backup.catalog import Backup
from agent.backup.drill import place as drill_place
from agent.backup.drill import record
from agent.backup.drill.rehearsal import Occasion, Rehearsal, _Drill
from agent.backup.manifest import Details
from agent.errors import Art32Error, Code
from agent.ledger import Record
from agent.store import open_store
from tests.fixtures.databases import MariaDBServer, PostgreSQLServer, postgresql_server
from tests.fixtures.keys import Keys, gpg
from tests.fixtures.repository import MakeRepository, Repository, text

SHOP = """
    CREATE TABLE orders (id int PRIMARY KEY, at timestamptz NOT NULL);
    INSERT INTO orders SELECT i, now() - interval '1 hour' FROM generate_series(1, 300) i;
    CREATE TABLE customers (id int PRIMARY KEY, name text);
    INSERT INTO customers SELECT i, 'name ' || i FROM generate_series(1, 40) i;
    CREATE INDEX by_name ON customers (name);
"""


def art32(site: Repository, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "agent", "--config", str(site.config_file), *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)


def events(site: Repository, event: str) -> list[dict[str, object]]:
    lines = (site.state / "ledger.jsonl").read_text().splitlines()
    return [one["facts"] for one in map(json.loads, lines) if one["event"] == event]


def shop(
    server: PostgreSQLServer, make_repository: MakeRepository, engines: Path, checks: str = ""
) -> Repository:
    server.create("shop", SHOP)
    return make_repository(
        '[[sources]]\nname = "app"\nkind = "postgresql"\ndatabase = "shop"\n'
        f"host = {text(server.socket)}\nuser = {text(server.admin)}",
        more=f'[drill]\ndirectory = {text(engines)}\n[[drill.checks]]\nsource = "app"\n{checks}',
    )


def test_a_good_backup_passes_and_nothing_of_the_engine_is_left(
    postgresql: PostgreSQLServer, make_repository: MakeRepository, engines: Path
) -> None:
    identifier = postgresql.sql("SELECT system_identifier FROM pg_control_system()")
    site = shop(
        postgresql,
        make_repository,
        engines,
        f'assertions = ["SELECT count(*) = 300 FROM orders"]\nsystem_identifier = "{identifier}"\n'
        'newest_row = "SELECT max(at) FROM orders"\nmaximum_loss_hours = 2\nmaximum_minutes = 60\n',
    )
    postgresql.sql("ALTER DATABASE shop SET default_transaction_read_only = on")
    site.back_up("app")
    done = art32(site, "--output", "json", "drill", "run", "app")
    assert done.returncode == 0, done.stdout + done.stderr
    (result,) = json.loads(done.stdout)["data"]
    shown = {check["name"]: check["good"] for check in result["checks"]}
    names = [
        "row counts",
        "amcheck",
        "settings",
        "system identifier",
        "assertion 1",
        "loss",
        "time",
    ]
    assert shown == dict.fromkeys(["freshness", "snapshot", *names], True)
    assert 3600 <= result["loss_seconds"] < 2 * 3600
    assert set(result["seconds"]) == {"catalog", "engine", "restore", "checks"}
    assert list(engines.iterdir()) == []
    (recorded,) = events(site, "drill-finished")
    assert recorded["result"] == "ok"
    assert "orders" not in (site.state / "ledger.jsonl").read_text()
    assert art32(site, "drill", "status").returncode == 14  # the keys have never answered


@pytest.mark.parametrize(
    ("checks", "said"),
    [
        (
            (
                'assertions = ["SELECT count(*) > 300 FROM orders", "SELECT 1 FROM nothing"]\n'
                'system_identifier = "42"\nnewest_row = "SELECT max(at) FROM orders"\n'
                "maximum_loss_hours = 0.5"
            ),
            [
                "FAIL assertion 1: does not hold",
                "FAIL assertion 2: the PostgreSQL server",
                "FAIL system identifier: the backup comes from",
                "FAIL loss: the newest row is of",
            ],
        ),
        (
            'newest_row = "SELECT now() + make_interval(days => 1)"\nmaximum_loss_hours = 2',
            ["FAIL loss: the newest row is of"],
        ),
        ('newest_row = "SELECT 42"', ["`newest_row` of source `app` gives no time with a zone"]),
    ],
)
def test_what_is_asked_and_not_shown_fails_the_drill(
    postgresql: PostgreSQLServer,
    make_repository: MakeRepository,
    engines: Path,
    checks: str,
    said: list[str],
) -> None:
    site = shop(postgresql, make_repository, engines, checks)
    site.back_up("app")
    done = art32(site, "drill", "run")
    assert done.returncode == 14
    assert [one for one in said if one not in done.stdout] == []
    assert "runbook: drill-failed" in done.stdout
    assert events(site, "drill-finished")[0]["result"] == "drill-failed"
    assert list(engines.iterdir()) == []


def test_a_hostile_dump_reaches_nothing_but_its_own_engine(
    postgresql: PostgreSQLServer, make_repository: MakeRepository, engines: Path, tmp_path: Path
) -> None:
    """A CHECK function that runs a program as the superuser of the throw-away server."""
    secret, trace = tmp_path / "secret", engines.parent / f"art32-trace-{os.getpid()}"
    secret.write_text("a key")
    secret.chmod(0o644)
    tmp_path.chmod(0o755)
    hostile = f"""
        CREATE FUNCTION act(int) RETURNS boolean LANGUAGE plpgsql AS $f$ BEGIN
            COPY (SELECT 1) TO PROGRAM 'touch {trace}; cat {secret}; id -u >/dev/null';
            RETURN true;
        EXCEPTION WHEN OTHERS THEN RETURN true; END $f$;
        CREATE TABLE trap (id int CHECK (act(id)));
    """
    postgresql.create("shop", SHOP + hostile)
    site = make_repository(
        '[[sources]]\nname = "app"\nkind = "postgresql"\ndatabase = "shop"\n'
        f"host = {text(postgresql.socket)}\nuser = {text(postgresql.admin)}",
        more=f"[drill]\ndirectory = {text(engines)}\n",
    )
    postgresql.sql("INSERT INTO trap VALUES (1)", database="shop")
    assert trace.exists(), "the trap does nothing"
    trace.unlink()
    site.back_up("app")
    done = art32(site, "drill", "run")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ok   row counts: 3 tables, 341 rows" in done.stdout
    assert not trace.exists()


def test_of_all_databases_each_is_drilled_and_each_must_pass(
    make_repository: MakeRepository, engines: Path
) -> None:
    """One has a policy for a role that only the live server has, and rows of its own to show."""
    with postgresql_server() as server:
        server.sql("CREATE ROLE clerk")
        policy = "ALTER TABLE orders ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON orders TO clerk"
        server.create("shop", f"{SHOP} {policy} USING (true);")
        site = make_repository(
            '[[sources]]\nname = "all"\nkind = "postgresql"\n'
            f"host = {text(server.socket)}\nuser = {text(server.admin)}",
            more=f'[drill]\ndirectory = {text(engines)}\n[[drill.checks]]\nsource = "all"\n'
            'database = "shop"\nassertions = ["SELECT count(*) = 300 FROM orders"]\n',
        )
        site.back_up("all")
    done = art32(site, "drill", "run")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "db1/all (database shop) " in done.stdout
    assert done.stdout.count("assertion 1: holds") == 1
    assert done.stdout.endswith("2 of 2 drills passed\n")
    drills = events(site, "drill-finished")
    assert [one["parts"] for one in drills] == [2, 2]
    assert len({str(one["campaign"]) for one in drills}) == 1
    assert "shop" not in (site.state / "ledger.jsonl").read_text()
    # a role that is no part of a policy is none of the backup's business
    assert art32(site, "--output", "json", "health", "backups").returncode in (14, 20)


def test_a_backup_of_mariadb_is_loaded_read_and_counted(
    mariadb: MariaDBServer, make_repository: MakeRepository, engines: Path
) -> None:
    mariadb.create(
        "shop",
        "CREATE TABLE orders (id int PRIMARY KEY, at datetime);"
        "INSERT INTO orders VALUES (1, UTC_TIMESTAMP()), (2, UTC_TIMESTAMP() - INTERVAL 1 DAY);"
        "CREATE TABLE none_yet (id int PRIMARY KEY);"
        "CREATE VIEW named AS SELECT shop.orders.id FROM shop.orders",
    )
    defaults = engines.parent / f"{engines.name}.cnf"
    defaults.write_text("[client]\nuser=root\n")
    defaults.chmod(0o600)
    site = make_repository(
        '[[sources]]\nname = "shop"\nkind = "mysql"\ndatabase = "shop"\n'
        f"socket = {text(mariadb.socket)}\ndefaults_file = {text(defaults)}",
        more=f"[drill]\ndirectory = {text(engines)}\n"
        '[[drill.checks]]\nsource = "shop"\nassertions = ["SELECT COUNT(*) = 2 FROM orders"]\n'
        'newest_row = "SELECT MAX(at) FROM orders"\nmaximum_loss_hours = 1\n',
    )
    site.back_up("shop")
    defaults.unlink()
    done = art32(site, "drill", "run")
    assert done.returncode == 0, done.stdout + done.stderr
    for line in (
        "row counts: 2 tables, 2 rows",
        "tables: 2 tables were read",
        "assertion 1: holds",
    ):
        assert f"  ok   {line}" in done.stdout
    assert list(engines.iterdir()) == []


@pytest.fixture
def tickets(make_repository: MakeRepository, engines: Path, tmp_path: Path) -> Repository:
    path = tmp_path / "tickets.db"
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute("PRAGMA journal_mode = wal")
        database.execute("CREATE TABLE ticket (id INTEGER PRIMARY KEY, at TEXT)")
        rows = [(f"2026-11-{day:02}T00:00:00Z",) for day in range(1, 21)]
        database.executemany("INSERT INTO ticket (at) VALUES (?)", rows)
    return make_repository(
        f'[[sources]]\nname = "tickets"\nkind = "sqlite"\npath = {text(path)}',
        more=f"[drill]\ndirectory = {text(engines)}\n"
        '[[drill.checks]]\nsource = "tickets"\n'
        'assertions = ["SELECT count(*) = 20 FROM ticket"]\n'
        'newest_row = "SELECT max(at) FROM ticket"\n',
    )


def test_an_sqlite_backup_is_opened_and_counted(tickets: Repository) -> None:
    tickets.back_up("tickets")
    done = art32(tickets, "drill", "run", "tickets")
    assert done.returncode == 0, done.stdout + done.stderr
    for line in ("integrity: ok", "row counts: 1 tables, 20 rows", "assertion 1: holds"):
        assert f"  ok   {line}" in done.stdout


def test_a_directory_must_hold_what_it_is_for(
    make_repository: MakeRepository, engines: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    (data / "invoices").mkdir(parents=True)
    (data / "invoices" / "1").write_text("1")
    (data / "passwd").symlink_to("/etc")
    site = make_repository(
        f'[[sources]]\nname = "uploads"\nkind = "directory"\npath = {text(data)}',
        more=f'[drill]\ndirectory = {text(engines)}\n[[drill.checks]]\nsource = "uploads"\n'
        'must_exist = ["./invoices/1", "./passwd/hostname"]\n',
    )
    site.back_up("uploads")
    done = art32(site, "drill", "run")
    assert done.returncode == 14
    assert "ok   `./invoices/1`: is there" in done.stdout
    assert "FAIL `./passwd/hostname`: is missing" in done.stdout


def test_rotating_takes_each_good_backup_in_turn(tickets: Repository) -> None:
    made = [tickets.back_up("tickets")[0].id for _ in range(3)]
    for _ in made:
        assert art32(tickets, "drill", "run", "--pick", "rotating").returncode == 0
    assert [one["id"] for one in events(tickets, "drill-finished")] == made
    assert art32(tickets, "drill", "run", "--pick", "rotating").returncode == 0
    assert events(tickets, "drill-finished")[-1]["id"] == made[0]


def test_the_loss_of_an_older_backup_is_measured_to_its_successor(
    tickets: Repository, tmp_path: Path
) -> None:
    def stored(hours: float, row: float) -> str:
        moment = clock.now() - timedelta(hours=row)
        with contextlib.closing(sqlite3.connect(tmp_path / "tickets.db")) as database, database:
            database.execute("UPDATE ticket SET at = ?", (clock.iso(moment),))
        made = tickets.back_up("tickets")[0]
        then = time.time() - hours * 3600
        (place,) = [one for one in tickets.backup_directories("tickets") if made.id in one.name]
        for path in place.iterdir():
            os.utime(path, (then, then))
        return made.id

    first, second = stored(30, 31), stored(5, 6)
    config = tickets.config_file
    config.write_text(config.read_text() + "maximum_loss_hours = 27\n")
    for id_, loss in ((first, 26), (second, 6)):
        done = art32(tickets, "--output", "json", "drill", "run", "tickets", "--id", id_)
        assert done.returncode == 0, done.stdout
        (result,) = json.loads(done.stdout)["data"]
        assert abs(result["loss_seconds"] - loss * 3600) < 300
    # whichever is drilled: there must be a recent one
    config.write_text(config.read_text() + "\n[retention]\nnewest_within_hours = 4\n")
    done = art32(tickets, "drill", "run", "tickets", "--id", first)
    assert done.returncode == 14
    assert "FAIL freshness: the newest good backup was stored 5 h 0 min ago" in done.stdout


def test_a_source_without_a_good_backup_keeps_no_other_from_its_turn(
    tickets: Repository, tmp_path: Path
) -> None:
    tickets.back_up("tickets")
    config = tickets.config_file
    config.write_text(config.read_text() + '\n[[drill.checks]]\nsource = "gone"\n')
    done = art32(tickets, "drill", "run", "--pick", "rotating")
    assert done.returncode == 14
    assert "FAIL no good backup of source `gone`" in done.stdout
    assert [(one["source"], one["result"]) for one in events(tickets, "drill-finished")] == [
        ("gone", "no-backup"),
        ("tickets", "ok"),
    ]
    config.write_text(config.read_text() + '\n[retention]\nretired = ["db1/gone"]\n')
    assert art32(tickets, "drill", "run").returncode == 0
    shown = art32(tickets, "drill", "status").stdout
    assert "gone" not in shown
    assert art32(tickets, "drill", "run", "typo").returncode == 10


def test_a_server_that_was_set_back_is_noticed(tickets: Repository) -> None:
    """Its log stood further in an earlier backup of the same cluster."""
    tickets.back_up("tickets")
    (backup,) = catalog_of(tickets)
    earlier = clock.iso(backup.stored_at - timedelta(days=1))
    facts = {"id": "1" * 16, "host": "db1", "source": "tickets", "result": "ok", "seconds": 1}
    facts |= {"stored_at": earlier, "system_identifier": "42", "snapshot_lsn": "1/20"}
    known = record.drills([Record(1, earlier, record.DRILLED, facts)])
    for lsn, warned in (("1/10", True), ("1/20", False), ("2/0", False)):
        done = Rehearsal("db1", "tickets", "1", backup=backup)
        own = {"system_identifier": "42", "snapshot_lsn": lsn}
        details = Details(kind="postgresql", plain_bytes=1, compressed_bytes=1, facts=own)
        occasion = Occasion("1", known=tuple(known))
        config = tickets.configuration()
        drill = _Drill(config, open_store(config.store), make.ledger_of(config), occasion, done)
        drill._origin(backup, details)
        assert any("set back" in one for one in done.warnings) is warned


def catalog_of(site: Repository) -> list[Backup]:
    config = site.configuration()
    with identity.reader(config) as reader:
        return catalog.read(open_store(config.store), reader, config.store.prefix)


def test_too_little_room_is_said_before_anything_is_restored(tmp_path: Path) -> None:
    details = Details(kind="postgresql", plain_bytes=1 << 60, compressed_bytes=1)
    with pytest.raises(Art32Error, match="too little room") as caught:
        drill_place.require_room(tmp_path, details)
    assert caught.value.code is Code.DISK
    small = details.model_copy(update={"plain_bytes": 1, "kind": "directory"})
    drill_place.require_room(tmp_path, small)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk to fill")
def test_a_disk_that_is_full_is_not_taken_for_a_bad_backup(tmp_path: Path) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(tmp_path)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("this machine mounts no tmpfs")
    try:
        error = Art32Error(Code.TARGET_FAILED, "server closed the connection unexpectedly")
        assert drill_place.explained(tmp_path, error) is error
        (tmp_path / "data").write_bytes(bytes(6 << 20))
        assert drill_place.explained(tmp_path, error).code is Code.DISK
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def damage(site: Repository, source: str, backup: str) -> None:
    (directory,) = (path for path in site.backup_directories(source) if backup in path.name)
    segment = next(path for path in directory.iterdir() if path.name.startswith("00000-"))
    segment.chmod(0o600)
    data = bytearray(segment.read_bytes())
    data[-1] ^= 1
    segment.write_bytes(data)


def standing(site: Repository, source: str) -> object:
    data = json.loads(art32(site, "--output", "json", "drill", "status").stdout)["data"]
    return next(one for one in data if one["name"] == f"{site.host}/{source}")["last_result"]


@pytest.mark.slow
def test_one_database_that_fails_is_hidden_by_no_other_of_its_set(
    postgresql: PostgreSQLServer, make_repository: MakeRepository, engines: Path
) -> None:
    postgresql.create("crm", SHOP)
    site = make_repository(
        f'[[sources]]\nname = "all"\nkind = "postgresql"\nhost = {text(postgresql.socket)}\n'
        f"user = {text(postgresql.admin)}",
        more=f"[drill]\ndirectory = {text(engines)}\n",
    )
    _, first, *_, last = site.back_up("all")
    damage(site, "all", first.id)
    assert art32(site, "drill", "run", "all", "--id", last.id).returncode == 14
    results = {one["id"]: one["result"] for one in events(site, "drill-finished")}
    assert (results[first.id], results[last.id]) == ("corrupt", "ok")
    assert standing(site, "all") == "corrupt"


def test_a_damaged_backup_fails_the_drill_and_is_recorded(tickets: Repository) -> None:
    (made,) = tickets.back_up("tickets")
    damage(tickets, "tickets", made.id)
    done = art32(tickets, "drill", "run", "tickets")
    assert done.returncode == 14
    assert "FAILED" in done.stdout
    assert events(tickets, "drill-finished")[0]["result"] == "corrupt"
    assert art32(tickets, "drill", "status").returncode == 14


def test_what_a_killed_drill_left_is_removed_by_the_next(
    tickets: Repository, engines: Path
) -> None:
    """The lock of a drill in progress keeps its directory; that of a dead one does not."""
    tickets.back_up("tickets")
    dead, alive = engines / "deadbeef", engines / "cafecafe"
    for directory in (dead, alive):
        directory.mkdir()
        (directory / "plaintext").write_text("x")
        directory.with_suffix(".lock").touch(mode=0o600)
    held = subprocess.Popen(
        ["flock", str(alive.with_suffix(".lock")), "sleep", "600"], start_new_session=True
    )
    try:
        while (
            subprocess.run(
                ["flock", "-n", str(alive.with_suffix(".lock")), "true"], check=False
            ).returncode
            == 0
        ):
            time.sleep(0.05)
        assert art32(tickets, "drill", "run", "tickets").returncode == 0
        assert not dead.exists()
        assert (alive / "plaintext").exists()
    finally:
        os.killpg(held.pid, signal.SIGKILL)
        held.wait()


def test_an_escrow_holder_shows_that_the_key_is_there(
    tickets: Repository, keys: Keys, tmp_path: Path
) -> None:
    message = tmp_path / "challenge.pgp"
    made = art32(tickets, "drill", "challenge", "escrow", "--to", str(message))
    assert made.returncode == 0, made.stderr
    number = made.stdout.split()[1]
    opened = gpg(keys.escrow.home, "--decrypt", stdin=message.read_bytes()).decode()
    assert f"art32 drill answer {number}" in opened
    answer = opened.rstrip().splitlines()[-1]
    assert answer not in (tickets.state / "ledger.jsonl").read_text()
    assert art32(tickets, "drill", "answer", number, stdin="wrong\n").returncode == 14
    assert "overdue: key operations, key escrow" in art32(
        tickets, "--output", "nagios", "drill", "status"
    ).stdout.replace("overdue: db1/tickets, ", "overdue: ")
    right = art32(tickets, "drill", "answer", number, stdin=f"{answer.lower()}\n")
    assert right.returncode == 0, right.stderr
    status = json.loads(art32(tickets, "--output", "json", "drill", "status").stdout)["data"]
    assert {one["name"]: one["overdue"] for one in status} == {
        "db1/tickets": True,
        "key operations": True,
        "key escrow": False,
    }


def test_nobody_but_the_holder_reads_a_challenge(
    tickets: Repository, keys: Keys, tmp_path: Path
) -> None:
    message = tmp_path / "challenge.pgp"
    assert art32(tickets, "drill", "challenge", "escrow", "--to", str(message)).returncode == 0
    with pytest.raises(AssertionError):
        gpg(keys.operations.home, "--decrypt", stdin=message.read_bytes())
    again = art32(tickets, "drill", "challenge", "escrow", "--to", str(message))
    assert again.returncode == 15
    assert "is there already" in again.stderr
