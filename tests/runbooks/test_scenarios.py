"""Every runbook in a world that is broken for real: its blocks repair it, its verification is red
before and green after, and its undo takes it back."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent import clock
from tests.fixtures.databases import PostgreSQLServer
from tests.fixtures.hosts import Estate, Machine
from tests.fixtures.keys import Keys
from tests.fixtures.repository import MakeRepository, Repository, text
from tests.fixtures.rollbar import Rollbar
from tests.fixtures.s3 import LOCKED, S3Server
from tests.fixtures.waiting import until
from tests.runbooks.world import World

ROWS = 500
TOTAL = 7 * ROWS * (ROWS + 1) // 2
SHOP = f"""
    CREATE TABLE orders (id int PRIMARY KEY, total int NOT NULL);
    INSERT INTO orders SELECT i, i * 7 FROM generate_series(1, {ROWS}) i;
    CREATE TABLE customers (id int PRIMARY KEY);
    INSERT INTO customers SELECT generate_series(1, 50);
"""


@pytest.fixture
def server(postgresql: PostgreSQLServer) -> Iterator[PostgreSQLServer]:
    """The server with the role that restores; leaves no other database behind."""
    before = postgresql.names()
    postgresql.sql(
        "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'restorer')"
        " THEN CREATE ROLE restorer LOGIN CREATEDB; END IF; END $$"
    )
    yield postgresql
    for name in postgresql.names() - before:
        postgresql.sql(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def shop(server: PostgreSQLServer, make_repository: MakeRepository, tmp_path: Path) -> World:
    """A database `shop` with a backup of it."""
    server.create("shop", SHOP)
    site = make_repository(
        '[[sources]]\nname = "app"\nkind = "postgresql"\ndatabase = "shop"\n'
        f"host = {text(server.socket)}\nuser = {text(server.admin)}"
    )
    site.back_up("app")
    values = {
        "SOURCE": "app",
        "BACKUP_HOST": site.host,
        "DATABASE": "shop",
        "SOCKET": str(server.socket),
        "PORT": str(server.port),
        "ROLE": "restorer",
        "ADMIN": server.admin,
        "TABLE": "public.orders",
        "PROBE": f"SELECT count(*) = {ROWS} AND sum(total) = {TOTAL} FROM orders",
    }
    return World(tmp_path, site, values, [str(server.binaries)])


@pytest.fixture
def files(make_repository: MakeRepository, tmp_path: Path) -> World:
    """A directory `data` as the source `files`, without a backup yet."""
    data = tmp_path / "data"
    data.mkdir()
    (data / "file").write_bytes(os.urandom(5000))
    site = make_repository(f'[[sources]]\nname = "files"\nkind = "directory"\npath = {text(data)}')
    return World(tmp_path, site, {"SOURCE": "files", "BACKUP_HOST": site.host})


def test_a_dropped_database_comes_back_and_the_broken_one_stays_beside_it(
    shop: World, server: PostgreSQLServer
) -> None:
    server.sql("DELETE FROM orders WHERE id % 2 = 0", database="shop")
    shop.mends("restore-database")
    assert {"shop", "shop_broken"} <= server.names()
    assert "runbook-finished" in shop.events()
    assert "runbook-step failed" in shop.events()  # the verification that was red
    shop.undoes("restore-database")
    assert server.sql("SELECT count(*) FROM orders", database="shop") == str(ROWS // 2)
    assert "shop_broken" not in server.names()


def test_a_database_that_is_gone_comes_back(shop: World, server: PostgreSQLServer) -> None:
    server.sql("DROP DATABASE shop WITH (FORCE)")
    shop.mends("restore-database")
    assert server.sql("SELECT count(*) FROM customers", database="shop") == "50"


def test_one_table_comes_back_and_the_others_keep_what_was_written_since(
    shop: World, server: PostgreSQLServer
) -> None:
    server.sql("DROP TABLE orders; INSERT INTO customers VALUES (51)", database="shop")
    shop.mends("restore-table")
    assert server.sql("SELECT count(*) FROM customers", database="shop") == "51"
    shop.undoes("restore-table")
    assert "shop_table" not in server.names()
    assert shop.verified("restore-table")


def test_a_table_that_is_there_is_not_overwritten(shop: World, server: PostgreSQLServer) -> None:
    server.sql("DELETE FROM orders", database="shop")
    done = shop.follow("restore-table")
    assert done.returncode == 14
    assert "step 2 of `restore-table`" in done.stderr
    assert "hint: read what it printed" in done.stderr
    assert server.sql("SELECT count(*) FROM orders", database="shop") == "0"


def test_stock_tools_bring_a_database_back(shop: World, server: PostgreSQLServer) -> None:
    server.sql(
        "ALTER DATABASE shop SET work_mem = '5MB'; REVOKE CONNECT ON DATABASE shop FROM PUBLIC"
    )
    shop.site.back_up("app")
    work = shop.directory / "work"
    work.mkdir()
    shop.values |= {
        "BACKUP": str(shop.site.backup_directories("app")[-1]),
        "SIGNER_KEY": str(shop.site.keys.host.public_file),
        "WORK": str(work),
        "DATABASE": "shop_by_hand",
    }
    done = shop.mends("restore-database-stock-tools")
    said = done.stdout + done.stderr
    assert "ALTER DATABASE shop SET work_mem TO '5MB';" in said
    assert "REVOKE CONNECT,TEMPORARY ON DATABASE shop FROM PUBLIC;" in said
    assert "set_config" not in said
    shop.undoes("restore-database-stock-tools")
    assert "shop_by_hand" not in server.names()
    assert list(work.iterdir()) == []


def test_stock_tools_refuse_a_flipped_bit_before_anything_is_decrypted(
    shop: World, server: PostgreSQLServer
) -> None:
    backup = shop.site.backup_directories("app")[-1]
    segment = next(path for path in backup.iterdir() if path.name.startswith("00000-"))
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 1
    segment.chmod(0o600)
    segment.write_bytes(data)
    work = shop.directory / "work"
    work.mkdir()
    shop.values |= {
        "BACKUP": str(backup),
        "SIGNER_KEY": str(shop.site.keys.host.public_file),
        "WORK": str(work),
        "DATABASE": "shop_by_hand",
    }
    done = shop.follow("restore-database-stock-tools")
    assert done.returncode == 14
    assert "step 2 of" in done.stderr
    assert not (work / "dump").exists()
    assert "shop_by_hand" not in server.names()


def test_a_source_that_is_down_is_started_and_backed_up(files: World) -> None:
    """The source's directory is a mount that is gone; its unit brings it back."""
    data, away = files.directory / "data", files.directory / "away"
    data.rename(away)
    files.tool("systemctl", f'[ "$1 $2" = "start data.mount" ]; mv {away} {data}')
    files.values["UNIT"] = "data.mount"
    assert files.art32("backup", "run", "files").returncode == 15
    files.mends("backup-failed")


def test_a_stopped_timer_is_found_and_started(files: World) -> None:
    files.site.back_up("files")
    old = time.time() - 72 * 3600
    for path in files.site.store.rglob("*"):
        os.utime(path, (old, old))
    log = files.directory / "systemctl.log"
    files.tool("systemctl", f'echo "$@" >>{log}')
    files.values["TIMER"] = "art32-backup.timer"
    files.mends("backup-stale")
    assert "enable --now art32-backup.timer" in log.read_text()
    files.undoes("backup-stale")
    assert log.read_text().endswith("disable --now art32-backup.timer\n")


def test_passwords_that_are_guessed_are_allowed_no_more(files: World) -> None:
    """The journal and sshd are this world's own: the guessing stops where keys alone count."""
    journal, drop_in = files.directory / "journal", files.directory / "00-keys-only.conf"
    record = {
        "SYSLOG_IDENTIFIER": "sshd",
        "SYSLOG_PID": "1",
        "MESSAGE": "Failed password for root from 203.0.113.7 port 50022 ssh2",
    }
    journal.write_text(f"{json.dumps(record)}\n" * 250)
    files.tool(
        "journalctl", f'if [[ "$*" == *"--lines=1 "* ]]; then echo "{{}}"; else cat {journal}; fi'
    )
    files.tool("sshd", f'[ "$1" = -t ]; grep -qx "PasswordAuthentication no" {drop_in}')
    files.tool("systemctl", f'[ "$*" = "reload ssh" ]; : >{journal}')
    files.values["DROP_IN"] = str(drop_in)
    done = files.mends("login-burst")
    assert "203.0.113.7" not in done.stdout + done.stderr
    files.undoes("login-burst")
    assert not drop_in.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk to fill")
def test_a_full_disk_is_found_and_emptied(files: World) -> None:
    state = files.site.state
    state.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=100m,mode=0700", "tmpfs", str(state)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("this machine mounts no tmpfs")
    try:
        junk = state / "forgotten.dump"
        with contextlib.suppress(OSError), junk.open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 65536)
        assert shutil.disk_usage(state).free == 0
        files.values |= {"PLACE": str(state), "REMOVE": str(junk)}
        assert files.art32("backup", "run", "files").returncode == 13
        files.mends("disk-full")
        assert not junk.exists()
        assert files.art32("backup", "run", "files").returncode == 0
    finally:
        subprocess.run(["umount", str(state)], check=True)


def test_a_store_that_refuses_takes_backups_again_with_new_credentials(
    seaweedfs: S3Server, make_repository: MakeRepository, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "file").write_bytes(b"content")
    credentials, new = tmp_path / "credentials", tmp_path / "new"
    new.write_text((seaweedfs.directory / "credentials").read_text())
    wrong = (seaweedfs.directory / "credentials").read_text().replace("aws_secret", "#\naws_secret")
    credentials.write_text(
        "\n".join(
            "aws_secret_access_key = revoked" if "aws_secret_access_key" in line else line
            for line in wrong.splitlines()
        )
    )
    credentials.chmod(0o600)
    store = seaweedfs.config(LOCKED, "writer", credentials_file=str(credentials), attempts=1)
    lines = "\n".join(
        f"{key} = {text(value) if isinstance(value, str) else str(value).lower()}"
        for key, value in store.model_dump(mode="json").items()
        if value is not None
    )
    site = make_repository(
        f'[[sources]]\nname = "files"\nkind = "directory"\npath = {text(data)}',
        store=f"[store]\n{lines}",
    )
    world = World(tmp_path, site, {"SOURCE": "files"})
    world.values |= {"CREDENTIALS": str(credentials), "NEW_CREDENTIALS": str(new)}
    world.mends("store-refused")


def test_an_expired_key_is_replaced_by_the_extended_one(
    make_repository: MakeRepository, keys: Keys, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "file").write_bytes(b"content")
    installed = tmp_path / "operations.asc"
    expired = keys.expired_recipient
    shutil.copy(expired.public_file, installed)
    site = make_repository(
        f'[[sources]]\nname = "files"\nkind = "directory"\npath = {text(data)}',
        recipients=(expired, keys.escrow),
    )
    configuration = site.config_file.read_text()
    site.config_file.write_text(configuration.replace(str(expired.public_file), str(installed)))
    extended = keys.directory / "expired_recipient_before.asc"
    world = World(tmp_path, site, {"SOURCE": "files"})
    world.values |= {
        "NEW_KEY": str(extended),
        "KEY": str(installed),
        "FINGERPRINT": expired.fingerprint,
    }
    assert world.art32("backup", "run", "files").returncode == 12
    world.mends("key-rotate")
    world.undoes("key-rotate")
    assert installed.read_bytes() == expired.public_file.read_bytes()


def test_a_key_of_another_fingerprint_is_not_put_into_place(
    files: World, keys: Keys, tmp_path: Path
) -> None:
    installed = tmp_path / "operations.asc"
    shutil.copy(keys.operations.public_file, installed)
    files.values |= {
        "NEW_KEY": str(keys.escrow.public_file),
        "KEY": str(installed),
        "FINGERPRINT": keys.operations.fingerprint,
    }
    done = files.follow("key-rotate")
    assert done.returncode == 14
    assert "step 1 of `key-rotate`" in done.stderr
    assert installed.read_bytes() == keys.operations.public_file.read_bytes()


def test_the_escrow_key_opens_what_the_lost_one_did(
    files: World, keys: Keys, tmp_path: Path
) -> None:
    files.site.back_up("files")
    configuration = files.site.config_file.read_text()
    empty, home = tmp_path / "empty", tmp_path / "gnupg"
    empty.mkdir(mode=0o700)
    files.site.config_file.write_text(configuration.replace(str(keys.restorer_home), str(home)))
    home.symlink_to(empty)
    assert not files.verified("key-lost")
    home.unlink()
    home.symlink_to(keys.escrow.home)  # fetched from the safe, as the page says
    done = files.follow("key-lost")
    assert done.returncode == 20
    assert "not done, by hand or at all: step 2, 3" in done.stderr + done.stdout
    assert files.verified("key-lost")


def test_a_damaged_backup_is_replaced_by_a_good_one_and_kept(files: World) -> None:
    files.site.back_up("files")
    (damaged,) = files.site.backup_directories("files")
    segment = next(path for path in damaged.iterdir() if path.name.startswith("00000-"))
    data = segment.read_bytes()
    segment.chmod(0o600)
    segment.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    files.mends("backup-suspect")
    assert damaged.exists()
    assert len(files.site.backup_directories("files")) == 2


def test_a_backup_that_fails_its_drill_is_replaced_by_one_that_passes(files: World) -> None:
    place = files.directory / "drill"
    configuration = files.site.config_file
    configuration.write_text(f"{configuration.read_text()}\n[drill]\ndirectory = {text(place)}\n")
    files.site.back_up("files")
    (damaged,) = files.site.backup_directories("files")
    segment = next(path for path in damaged.iterdir() if path.name.startswith("00000-"))
    data = segment.read_bytes()
    segment.chmod(0o600)
    segment.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    files.values["PLACE"] = str(files.directory)
    files.mends("drill-failed")
    assert list(place.iterdir()) == []


def test_a_log_whose_directory_others_may_write_to_is_rotated_again(
    files: World, tmp_path: Path
) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "app.log").write_text("198.51.100.7 came by\n")
    configuration = files.site.config_file
    configuration.write_text(
        f'{configuration.read_text()}\n[[logs.rotate]]\nname = "app"\n'
        f'path = {text(logs / "app.log")}\nmethod = "copytruncate"\n'
    )
    logs.chmod(0o777)
    files.values |= {"DIRECTORY": str(logs), "LOG": "app", "MODE": "0777"}
    files.mends("log-rotation-failed")
    assert (logs / "app.log").read_text() == ""
    files.undoes("log-rotation-failed")
    assert logs.stat().st_mode & 0o777 == 0o777


def test_a_backup_is_deleted_and_nothing_else(files: World) -> None:
    first = files.site.back_up("files")[0]
    files.site.back_up("files")
    files.values |= {"BACKUP_ID": first.id, "EXTRA_OPTIONS": "--below-floor"}
    files.mends("delete-backups")
    assert len(files.site.backup_directories("files")) == 1


def test_what_a_stolen_key_signs_is_no_good_backup_any_more(
    files: World, make_repository: MakeRepository, keys: Keys
) -> None:
    trusted = files.site.back_up("files")[0]
    forged = files.site.back_up("files")[0]
    keeper = make_repository(
        "",
        host="keeper",
        signing=keys.other_host,
        store=f'[store]\nkind = "directory"\npath = {text(files.site.store)}',
        signers=[(files.site.host, keys.host)],
    )
    world = World(files.directory, keeper, {"BACKUP_HOST": files.site.host})
    world.values |= {"LAST_TRUSTED": "1", "LATER_BACKUP": forged.id}
    world.values["FINGERPRINT"] = keys.host.fingerprint
    before = keeper.config_file.read_text()
    world.mends("host-compromised")
    shown = world.art32("backup", "list", "--host", files.site.host)
    assert f"{trusted.id}" in shown.stdout
    world.undoes("host-compromised")
    assert keeper.config_file.read_text() == before
    assert not world.verified("host-compromised")


def test_the_clock_of_a_breach_counts_72_hours(files: World, tmp_path: Path) -> None:
    record = tmp_path / "record"
    files.values |= {"AWARE": "2026-11-24 03:14 UTC", "RECORD": str(record)}
    files.mends("personal-data-breach")
    assert "due at: 2026-11-27 03:14 UTC" in record.read_text()
    assert record.stat().st_mode & 0o077 == 0


@pytest.fixture
def waiting(directory_estate: Estate, tmp_path: Path) -> tuple[World, Machine]:
    """A keeper's world in which the host `db1` has enrolled and made a backup; and the host."""
    estate = directory_estate
    keeper, host = estate.reader(), estate.host("db1")
    host.done("host", "enrol")
    host.done("backup", "run")
    site = Repository(
        keeper.directory,
        keeper.config_file,
        estate.objects,
        keeper.directory / "state",
        "keeper",
        estate.keys,
    )
    world = World(tmp_path, site, {"BACKUP_HOST": "db1", "FINGERPRINT": host.fingerprint})
    return world, host


def test_a_new_host_is_accepted_and_refused_again(waiting: tuple[World, Machine]) -> None:
    world, _ = waiting
    world.mends("host-enrol")
    world.undoes("host-enrol")
    assert not world.verified("host-enrol")


def test_a_recreated_host_is_accepted_in_place_of_the_old_one(
    waiting: tuple[World, Machine], directory_estate: Estate
) -> None:
    world, _ = waiting
    assert world.follow("host-enrol").returncode == 20  # a session on the host is done by hand
    new = directory_estate.host("db1", machine="recreated")
    new.done("host", "enrol")
    new.done("backup", "run")
    world.values |= {"FINGERPRINT": new.fingerprint, "OPTIONS": "--replaces"}
    assert world.follow("host-enrol").returncode == 20
    shown = world.art32("backup", "list", "--host", "db1")
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.count("complete") == 2
    assert f"retired, db1, since {clock.now():%Y}" in world.art32("host", "list").stdout


def test_the_key_of_a_compromised_host_is_retired_in_the_list(
    waiting: tuple[World, Machine],
) -> None:
    world, host = waiting
    world.follow("host-enrol")
    host.done("backup", "run")
    first, forged = (one["id"] for one in host.done("backup", "list").data["backups"])
    world.values |= {"LAST_TRUSTED": "1", "LATER_BACKUP": forged}
    world.mends("host-compromised")
    shown = world.art32("backup", "list", "--host", "db1").stdout
    assert [line.split()[-3] for line in shown.splitlines()[1:]] == ["complete", "suspect"]
    assert first in shown
    world.undoes("host-compromised")
    assert not world.verified("host-compromised")


def test_reports_that_rollbar_refuses_go_out_with_a_new_token(
    make_repository: MakeRepository, rollbar_server: Rollbar, tmp_path: Path
) -> None:
    token, fresh = tmp_path / "token", tmp_path / "fresh"
    for path, character in ((token, "a"), (fresh, "b")):
        path.write_text(character * 32 + "\n")
        path.chmod(0o600)
    site = make_repository(
        f'[report]\ntoken_file = {text(token)}\nendpoint = "{rollbar_server.address}/api/1/"'
    )
    rollbar_server.refused = {"a" * 32}
    world = World(tmp_path, site, {"TOKEN": str(token), "NEW_TOKEN": str(fresh)})
    assert world.art32("backup", "run").returncode == 78  # nothing to back up: that is reported
    until(lambda: rollbar_server.requests, "a process of its own sends it")
    (lock,) = site.state.rglob("drain.lock")
    with lock.open() as held:  # and has heard the answer when it lets go
        fcntl.flock(held, fcntl.LOCK_EX)
    assert rollbar_server.items == []
    world.mends("rollbar-silent")
    assert "config-invalid" in [one["body"]["message"].get("code") for one in rollbar_server.items]
    assert token.read_text() == fresh.read_text()
    assert token.stat().st_mode & 0o777 == 0o600
