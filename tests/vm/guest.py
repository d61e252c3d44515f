"""Runs inside the virtual machine, as root, by its own Python: every unit for real.

Prints one line a fact, `vmtest ok: ...` or `vmtest FAILED: ...`, and at the end `vmtest done`.
"""

from __future__ import annotations

import http.server
import json
import os
import shutil
import socket
import subprocess
import sys
import textwrap
import threading
import time
import traceback
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).parent
CREDENTIALS = Path("/etc/credstore")
CONFIG = Path("/etc/art32/agent.toml")
STORE = Path("/srv/backups")
UPLOADS = Path("/srv/uploads")
S3_PORT, ROLLBAR_PORT = 8333, 8334
KEYS: dict[str, str] = {}
REPORTS: list[bytes] = []


def sh(*argv: str, check: bool = True, stdin: str = "") -> str:
    """Run a program and return what it printed, errors too; raise when it fails."""
    done = subprocess.run(
        argv,
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        env={**os.environ, "LC_ALL": "C.UTF-8", "SYSTEMD_PAGER": "", "SYSTEMD_COLORS": "0"},
    )
    if check and done.returncode != 0:
        raise AssertionError(f"`{' '.join(argv)}` exited with {done.returncode}:\n{done.stdout}")
    return done.stdout


def expect(fact: bool, what: str) -> None:
    if not fact:
        raise AssertionError(what)


def show(unit: str, *names: str) -> dict[str, str]:
    text = sh("systemctl", "show", unit, *(f"--property={name}" for name in names))
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def start(unit: str, *, result: str = "success") -> None:
    """Start a unit to its end and want that result; its journal is part of the failure."""
    sh("systemctl", "start", unit, check=False)
    found = show(unit, "Result", "ExecMainStatus", "ActiveState")
    if found["Result"] != result:
        text = sh("journalctl", "--unit", unit, "--no-pager", "--lines", "25", "-o", "cat")
        raise AssertionError(f"{unit}: {found}\n{text}")


def active(unit: str) -> bool:
    return sh("systemctl", "is-active", unit, check=False).strip() == "active"


def make_key(name: str, usage: str) -> None:
    home = Path("/root/keys") / name
    home.mkdir(parents=True, mode=0o700)
    gpg = ("gpg", "--homedir", str(home), "--batch", "--quiet", "--passphrase", "")
    kinds = {"sign": ("ed25519", "sign"), "encrypt": ("future-default", "default")}[usage]
    sh(*gpg, "--quick-generate-key", f"{name}, test", *kinds, "1y")
    listing = sh(*gpg, "--with-colons", "--list-keys")
    KEYS[name] = next(line.split(":")[9] for line in listing.splitlines() if line[:3] == "fpr")
    public = Path("/etc/art32") / f"{name}.asc"
    public.write_text(sh(*gpg, "--armor", "--export"))
    public.chmod(0o644)
    if usage == "sign":
        keep(CREDENTIAL_OF[name], sh(*gpg, "--armor", "--export-secret-keys"))
    sh("gpgconf", "--homedir", str(home), "--kill", "all")


def keep(credential: str, text: str) -> None:
    """Put a secret where systemd finds it for the units that name it."""
    CREDENTIALS.mkdir(mode=0o700, exist_ok=True)
    secret = CREDENTIALS / credential
    secret.touch(mode=0o600)
    secret.write_text(text)


CREDENTIAL_OF = {"db1": "art32.signing-key", "db1-wal": "art32.wal-signing-key"}


def recipients() -> str:
    return "".join(
        f'[[encryption.recipients]]\nname = "{name}"\nfingerprint = "{KEYS[name]}"\n'
        f'key_file = "/etc/art32/{name}.asc"\n'
        for name in ("operations", "escrow")
    )


def configure_writer(store: str = f'kind = "directory"\npath = "{STORE}"') -> None:
    CONFIG.write_text(
        f'host = "db1"\n[store]\n{store}\n'
        + textwrap.dedent(
            f"""\
            [signing]
            fingerprint = "{KEYS["db1"]}"
            key_file = "/etc/credstore/art32.signing-key"
            """
        )
        + recipients()
        + textwrap.dedent(
            f"""\
            [[sources]]
            name = "app"
            kind = "postgresql"
            database = "app"
            host = "/var/run/postgresql"
            user = "art32_backup"
            [[sources]]
            name = "uploads"
            kind = "directory"
            path = "{UPLOADS}"
            [[sources]]
            name = "tickets"
            kind = "sqlite"
            path = "/srv/tickets/tickets.db"
            [[sources]]
            name = "export"
            kind = "command"
            command = ["/bin/echo", "exported"]
            every = "6 hours"
            [[sources]]
            name = "shop"
            kind = "mysql"
            database = "shop"
            socket = "/run/mysqld/mysqld.sock"
            [[sources]]
            name = "server"
            kind = "basebackup"
            host = "/var/run/postgresql"
            user = "art32_replication"
            [wal]
            clients = ["postgres"]
            [wal.signing]
            fingerprint = "{KEYS["db1-wal"]}"
            key_file = "/etc/credstore/art32.wal-signing-key"
            [report]
            token_file = "/etc/credstore/art32.rollbar-token"
            endpoint = "http://127.0.0.1:{ROLLBAR_PORT}/api/1/"
            [[logs.rotate]]
            name = "nginx"
            path = "/var/log/nginx/access.log"
            preset = "nginx"
            owner = "www-data"
            group = "adm"
            [[logs.pipes]]
            name = "web"
            listen = "udp:127.0.0.1:5514"
            to = "/var/log/art32/web.log"
            [[logs.watch.files]]
            path = "/var/log/nginx/error.log"
            [health]
            clock_required = false
            [[health.listeners]]
            port = 80
            program = "nginx"
            """
        )
    )


def configure_reader(role: str) -> None:
    CONFIG.write_text(
        textwrap.dedent(
            f"""\
            host = "{role}"
            [store]
            kind = "directory"
            path = "{STORE}"
            [[signers]]
            host = "db1"
            fingerprint = "{KEYS["db1"]}"
            key_file = "/etc/art32/db1.asc"
            [[signers]]
            host = "db1"
            fingerprint = "{KEYS["db1-wal"]}"
            key_file = "/etc/art32/db1-wal.asc"
            [service]
            role = "{role}"
            [restore]
            gnupg_home = "/var/lib/art32-drill/keys"
            engine_user = "art32-engine"
            [drill]
            directory = "/var/lib/art32-drill/engines"
            """
        )
    )


class Rollbar(http.server.BaseHTTPRequestHandler):
    """Takes every report."""

    def do_POST(self) -> None:
        REPORTS.append(self.rfile.read(int(self.headers["Content-Length"])))
        said = b'{"err": 0, "result": {}}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_: object) -> None:
        pass


SHOP = """
CREATE DATABASE shop;
USE shop;
CREATE TABLE shop.orders AS SELECT seq AS id FROM seq_1_to_500;
CREATE USER `art32-mysql`@localhost IDENTIFIED VIA unix_socket;
GRANT SELECT, SHOW VIEW, TRIGGER, EVENT, LOCK TABLES ON shop.* TO `art32-mysql`@localhost;
"""


# What is shown, in this order.


def the_package_installs_and_enables_nothing() -> None:
    sh("dpkg", "--install", str(HERE / "art32.deb"))
    expect(sh("art32", "--version").startswith("art32 "), "no version")
    expect("backup" in sh("art32", "--help"), "no help")
    enabled = sh(
        *("systemctl", "list-unit-files", "--state=enabled", "art32-*", "--no-legend"), check=False
    )
    expect(enabled.strip() == "", f"enabled: {enabled}")
    status = Path("/var/lib/art32").stat()
    expect(status.st_mode & 0o7777 == 0o2770, oct(status.st_mode))
    expect(Path("/var/lib/art32").group() == "art32", "group of the state")
    sh("dpkg", "--install", str(HERE / "art32.deb"))  # and once more
    for name in (
        "man/man1/art32-backup.1.gz",
        "man/man5/art32.toml.5.gz",
        "bash-completion/completions/art32",
        "zsh/vendor-completions/_art32",
        "fish/vendor_completions.d/art32.fish",
    ):
        expect((Path("/usr/share") / name).is_file(), name)
    words = ". /usr/share/bash-completion/completions/art32; COMP_WORDS=(art32 ba); COMP_CWORD=1"
    expect(sh("bash", "-c", f"{words}; _art32; echo $COMPREPLY").strip() == "backup", "completion")


def a_host_is_set_up() -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", ROLLBAR_PORT), Rollbar)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    make_key("db1", "sign")
    make_key("db1-wal", "sign")
    keep("art32.rollbar-token", "a1b2c3d4" * 4)
    make_key("operations", "encrypt")
    make_key("escrow", "encrypt")
    STORE.mkdir()
    shutil.chown(STORE, "root", "art32")
    STORE.chmod(0o2770)
    UPLOADS.mkdir()
    (UPLOADS / "private").mkdir(mode=0o700)
    for number, user in enumerate(("www-data", "games", "daemon")):
        file = UPLOADS / "private" / user
        file.write_text(f"file {number}\n" * 1000)
        shutil.chown(file, user, user)
        file.chmod(0o600 + number)
    os.chown(UPLOADS / "private", 4711, 4712)
    place = Path("/srv/tickets")
    place.mkdir()
    os.chown(place, 4711, 4711)
    sh(
        *("setpriv", "--reuid=4711", "--regid=4711", "--clear-groups", "sqlite3"),
        str(place / "tickets.db"),
        stdin="PRAGMA journal_mode=wal; CREATE TABLE t(a); INSERT INTO t VALUES (1), (2);",
    )
    postgres = ("runuser", "-u", "postgres", "--", "psql", "--quiet", "--set=ON_ERROR_STOP=1")
    sh(*postgres, stdin="CREATE ROLE art32_backup LOGIN; GRANT pg_read_all_data TO art32_backup;")
    sh(*postgres, stdin="CREATE ROLE art32_replication LOGIN REPLICATION;")
    sh(*postgres, stdin="CREATE DATABASE app;")
    sh(*postgres, "app", stdin="CREATE TABLE orders AS SELECT generate_series(1, 5000) AS id;")
    place = Path("/etc/postgresql/15/main")
    access = place / "pg_hba.conf"
    access.write_text(
        "local all art32_backup peer map=art32\n"
        "local replication art32_replication peer map=art32\n" + access.read_text()
    )
    with (place / "pg_ident.conf").open("a") as users:
        users.write("art32 art32-pg art32_backup\nart32 art32-pg art32_replication\n")
    (place / "conf.d" / "archive.conf").write_text(
        "archive_mode = on\narchive_command = 'art32 wal push %p'\n"
    )
    sh("systemctl", "restart", "postgresql@15-main")
    sh("mariadb", stdin=SHOP)
    Path("/var/log/art32").mkdir()
    shutil.chown("/var/log/art32", "art32-logs", "adm")
    configure_writer()
    shutil.chown(CONFIG, "root", "art32")
    CONFIG.chmod(0o640)
    sh("art32", "config", "check")


def apply_enables_what_the_configuration_asks_for() -> None:
    before = sh("art32", "service", "apply", "--dry-run")
    expect("enable art32-backup-postgresql@app.timer" in before, before)
    sh("art32", "service", "apply")
    expect(sh("art32", "service", "apply", "--dry-run").strip() == "nothing to change", "again")
    for unit in (
        "art32-backup-postgresql@app.timer",
        "art32-backup-directory@uploads.timer",
        "art32-logs-rotate.timer",
        "art32-health.timer",
        "art32-logs-pipe.service",
        "art32-logs-watch.service",
        "art32-wal.socket",
        "art32-report-drain.timer",
    ):
        if not active(unit):
            raise AssertionError(sh("journalctl", "--unit", unit, "--no-pager", "-o", "cat"))
    sh("art32", "service", "list")


def each_kind_of_source_is_backed_up_by_its_unit() -> None:
    start("art32-backup-postgresql@app.service")
    start("art32-backup-sqlite@tickets.service")
    start("art32-backup-command@export.service")
    start("art32-backup-mysql@shop.service")
    soon = show("art32-backup-command@export.timer", "TimersCalendar")["TimersCalendar"]
    expect("00/6:10:00" in soon and "03:15" not in soon, soon)
    owners = {path.name: path.stat().st_uid for path in Path("/srv/tickets").iterdir()}
    expect(set(owners.values()) == {4711}, f"SQLite's files belong to {owners}")


def a_base_backup_and_the_log_are_shipped() -> None:
    sql = ("runuser", "-u", "postgres", "--", "psql", "--quiet", "-c")
    sh(*sql, "CREATE TABLE written (a int)", "-c", "SELECT pg_switch_wal()")
    for _ in range(120):
        if any(STORE.glob("wal/**/*.pgp")):
            break
        time.sleep(1)
    text = sh("journalctl", "--unit", "art32-wal", "--no-pager", "-o", "cat", check=False)
    expect(any(STORE.glob("wal/**/*.pgp")), f"no segment of the log: {text}")
    start("art32-backup-basebackup@server.service")


def the_enrolment_is_published_again_without_harm() -> None:
    start("art32-enrol.service")
    start("art32-enrol.service")
    names = sorted(path.stem for path in STORE.glob("enroll/db1/*.json"))
    expect(names == sorted([KEYS["db1"], KEYS["db1-wal"]]), str(names))


def reports_are_sent_by_their_unit() -> None:
    start("art32-report-drain.service")
    text = b"".join(REPORTS).decode()
    expect('"code": "source-missing"' in text, f"{len(REPORTS)} reports: {text}")
    expect("203.0.113.77" not in text and "127.0.0.1" not in text, text)


def a_host_that_can_only_write_proves_it() -> None:
    place = Path("/srv/s3")
    place.mkdir(mode=0o700)
    program = ("systemd-run", "--unit=s3", "--property=Type=exec", str(HERE / "weed"), "server")
    sh(
        *program,
        f"-dir={place}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        "-master.telemetry=false",
        "-master.volumeSizeLimitMB=64",
        "-s3",
        f"-s3.port={S3_PORT}",
        f"-s3.config={HERE / 'identities.json'}",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
    )
    for _ in range(120):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{S3_PORT}/status", timeout=5)
        except urllib.error.HTTPError:
            break
        except OSError:
            time.sleep(2)
        else:
            break
    bucket = """
import boto3, sys, time
client = boto3.client("s3", endpoint_url=sys.argv[1], region_name="us-east-1",
    aws_access_key_id="admin-key", aws_secret_access_key="admin-secret-of-the-tests")
for attempt in range(60):
    try:
        client.create_bucket(Bucket="backups", ObjectLockEnabledForBucket=True)
        break
    except Exception:
        time.sleep(2)
client.put_object_lock_configuration(Bucket="backups", ObjectLockConfiguration={
    "ObjectLockEnabled": "Enabled",
    "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}}})
"""
    sh("/opt/art32/bin/python", "-", f"http://127.0.0.1:{S3_PORT}", stdin=bucket)
    settings = (
        f'kind = "s3"\nbucket = "backups"\nendpoint = "http://127.0.0.1:{S3_PORT}"\n'
        'region = "us-east-1"\npath_style = true\n'
        'credentials_file = "/etc/credstore/art32.store-credentials"'
    )
    configure_writer(settings)
    for identity, result in (("writer", "success"), ("admin", "exit-code")):
        keep(
            "art32.store-credentials",
            f"[default]\naws_access_key_id = {identity}-key\n"
            f"aws_secret_access_key = {identity}-secret-of-the-tests\n",
        )
        sh("art32", "service", "apply")
        start("art32-backup-command@export.service")
        start("art32-doctor.service", result=result)
    sh("systemctl", "stop", "s3")
    (CREDENTIALS / "art32.store-credentials").unlink()
    configure_writer()
    sh("art32", "service", "apply")


def a_timer_starts_its_unit() -> None:
    unit = "art32-backup-directory@uploads"
    place = Path(f"/run/systemd/system/{unit}.timer.d")
    place.mkdir(parents=True)
    (place / "soon.conf").write_text(
        "[Timer]\nOnActiveSec=1\nRandomizedDelaySec=0\nAccuracySec=1\n"
    )
    sh("systemctl", "daemon-reload")
    sh("systemctl", "restart", f"{unit}.timer")
    for _ in range(120):
        found = show(f"{unit}.service", "ExecMainExitTimestampMonotonic", "Result")
        if found["ExecMainExitTimestampMonotonic"] not in ("", "0"):
            break
        time.sleep(1)
    text = sh("journalctl", "--unit", f"{unit}.service", "--no-pager", "-o", "cat")
    expect(found["Result"] == "success" and "uploads: backup" in text, text)


def the_state_is_shared_and_nobody_elses() -> None:
    listing = sh("art32", "backup", "list")
    for source in ("app", "uploads", "tickets", "export", "shop", "server"):
        expect(source in listing, listing)
    ledger = Path("/var/lib/art32/ledger.jsonl").stat()
    expect(ledger.st_mode & 0o7777 == 0o660, oct(ledger.st_mode))
    state = list(Path("/var/lib/art32").rglob("*"))
    # the pipe's process id is for whoever rotates its files, and nobody else gets that far
    open_ = [str(path) for path in state if path.stat().st_mode & 0o007 and path.suffix != ".pid"]
    expect(open_ == [], f"open to others: {open_}")
    expect(not list(Path("/run").glob("art32-gpg-*")), "a GnuPG home is left in /run")


def a_restore_brings_back_owners_and_modes() -> None:
    target = Path("/srv/uploads-restored")
    home = ("env", "GNUPGHOME=/root/keys/operations")
    sh(*home, "art32", "restore", "uploads", "--to", str(target))

    def owners(top: Path) -> dict[str, tuple[int, int, int]]:
        return {
            str(path.relative_to(top)): (
                (found := path.lstat()).st_uid,
                found.st_gid,
                found.st_mode,
            )
            for path in top.rglob("*")
        }

    expect(owners(target) == owners(UPLOADS), f"{owners(target)} != {owners(UPLOADS)}")
    expect(len(owners(target)) == 4, "not all files")


def the_pipe_scrubs_and_the_watch_runs() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        line = b"<134>Nov 23 10:00:00 web nginx: 203.0.113.77 GET /index.html"
        sender.sendto(line, ("127.0.0.1", 5514))
    file = Path("/var/log/art32/web.log")
    for _ in range(30):
        if file.exists() and file.read_text():
            break
        time.sleep(1)
    text = file.read_text()
    expect("index.html" in text and "203.0.113.77" not in text, text)
    expect("pipes" in show("art32-logs-pipe.service", "StatusText")["StatusText"], "no status")
    expect(active("art32-logs-watch.service"), "the watch has ended")


def logs_are_rotated_by_their_unit() -> None:
    sh("curl", "--silent", "http://127.0.0.1/first")
    override = Path("/run/systemd/system/art32-logs-rotate.service.d")
    override.mkdir(parents=True)
    (override / "force.conf").write_text(
        "[Service]\nExecStart=\nExecStart=/usr/bin/art32 logs rotate --force\n"
    )
    sh("systemctl", "daemon-reload")
    start("art32-logs-rotate.service")
    sh("curl", "--silent", "http://127.0.0.1/second")
    log = Path("/var/log/nginx/access.log")
    expect("/second" in log.read_text() and "/first" not in log.read_text(), log.read_text())
    raw = [path.name for path in log.parent.iterdir() if "access" in path.name]
    expect(raw == ["access.log"], f"left: {raw}")
    expect(any(STORE.glob("logs/db1/nginx/*/manifest.json.sig")), "no segment in the store")
    start("art32-logs-digest.service")


def health_looks_and_publishes() -> None:
    start("art32-health.service")
    results = json.loads(Path("/var/lib/art32/health/results.json").read_text())["results"]
    found = {one["name"]: (one["state"], one["detail"]) for one in results}
    for name in ("keys", "own-files", "port:80/tcp", "backup:app", "log:nginx", "memory", "logins"):
        expect(found.get(name, ("", ""))[0] == "ok", f"{name}: {found.get(name)}")
    expect(found["art32-units"][0] == "ok", f"units: {found['art32-units']}")
    unknown = {name: one for name, one in found.items() if one[0] == "unknown"}
    expect(unknown == {}, f"unknown: {unknown}")
    expect("art32_check_state" in Path("/var/lib/art32-metrics/art32.prom").read_text(), "metrics")
    start("art32-health-publish.service")


def a_failing_unit_is_reported() -> None:
    sh("systemctl", "stop", "postgresql@15-main")
    start("art32-backup-postgresql@app.service", result="exit-code")
    sh("systemctl", "start", "postgresql@15-main")
    report = "art32-report@art32-backup-postgresql@app.service.service"
    text = sh("journalctl", "--unit", report, "--no-pager", "-o", "cat")
    expect("Starting" in text, f"no report was started: {text}")


def the_keeper_verifies_and_prunes() -> None:
    configure_reader("keeper")
    sh("art32", "service", "apply")
    expect(not active("art32-backup-postgresql@app.timer"), "the writer's timer is still there")
    start("art32-verify@db1.service")
    start("art32-prune.service")
    start("art32-logs-prune.service")


def the_restorer_drills() -> None:
    configure_reader("restorer")
    sh("cp", "-a", "/root/keys/operations", "/var/lib/art32-drill/keys")
    sh("art32", "service", "apply")
    # both parts: what holds the key may make no room, so that the other one has to
    start("art32-drill@db1.service")
    text = sh("journalctl", "--unit", "art32-drill@db1.service", "--no-pager", "-o", "cat")
    for source in ("app", "uploads", "tickets", "export", "shop", "server"):
        expect(source in text, f"no drill of {source}: {text}")
    found = show("art32-drill-engine.service", "ExecMainStartTimestampMonotonic", "Result")
    expect(found["ExecMainStartTimestampMonotonic"] not in ("", "0"), f"no engine: {found}")
    expect(not list(Path("/var/lib/art32-drill/engines").iterdir()), "an engine is left")


def the_firewall_loads() -> None:
    rules = HERE / "nftables.conf"
    sh("nft", "--file", str(rules))
    expect("metadata" in sh("nft", "list", "ruleset"), "no rules")
    sh("nft", "flush", "ruleset")


def an_upgrade_keeps_what_is_enabled() -> None:
    configure_writer()
    sh("art32", "service", "apply")
    before = sorted(path.name for path in Path("/etc/systemd/system").glob("*.wants/art32-*"))
    pid = show("art32-logs-pipe.service", "MainPID")
    sh("dpkg", "--install", str(HERE / "art32-next.deb"))
    after = sorted(path.name for path in Path("/etc/systemd/system").glob("*.wants/art32-*"))
    expect(len(after) > 6 and before == after, f"{before} != {after}")
    expect(show("art32-logs-pipe.service", "MainPID") != pid, "the pipe runs the old code")
    expect(active("art32-logs-pipe.service"), "the pipe has not come back")
    start("art32-backup-postgresql@app.service")


def what_is_removed_leaves_the_data() -> None:
    backups = sorted(str(path) for path in STORE.rglob("*.sig"))
    sh("dpkg", "--remove", "art32")
    expect(not shutil.which("art32"), "the command is still there")
    expect(not list(Path("/etc/systemd/system").glob("*.wants/art32-*")), "units are enabled")
    left = sh("systemctl", "list-units", "--plain", "--no-legend", "--state=active", "art32-*")
    expect(left.strip() == "", f"still there: {left}")
    expect(CONFIG.exists() and Path("/var/lib/art32/ledger.jsonl").exists(), "data")
    sh("dpkg", "--purge", "art32")
    expect(not CONFIG.exists(), "purging left the configuration")
    expect(not Path("/var/lib/art32/scan").exists(), "purging left findings, with addresses")
    expect(Path("/var/lib/art32/ledger.jsonl").exists(), "purging took the ledger")
    expect((CREDENTIALS / "art32.signing-key").exists(), "purging took the key")
    expect(sorted(str(path) for path in STORE.rglob("*.sig")) == backups, "backups are gone")


STEPS: tuple[Callable[[], None], ...] = (
    the_package_installs_and_enables_nothing,
    a_host_is_set_up,
    apply_enables_what_the_configuration_asks_for,
    each_kind_of_source_is_backed_up_by_its_unit,
    a_base_backup_and_the_log_are_shipped,
    the_enrolment_is_published_again_without_harm,
    a_timer_starts_its_unit,
    the_state_is_shared_and_nobody_elses,
    a_restore_brings_back_owners_and_modes,
    the_pipe_scrubs_and_the_watch_runs,
    logs_are_rotated_by_their_unit,
    health_looks_and_publishes,
    a_failing_unit_is_reported,
    reports_are_sent_by_their_unit,
    the_keeper_verifies_and_prunes,
    the_restorer_drills,
    a_host_that_can_only_write_proves_it,
    the_firewall_loads,
    an_upgrade_keeps_what_is_enabled,
    what_is_removed_leaves_the_data,
)


def main() -> None:
    wanted = sys.argv[1:]
    failed = 0
    for step in STEPS:
        if wanted and step.__name__ not in wanted:
            continue
        name = step.__name__.replace("_", " ")
        try:
            step()
        except Exception:  # noqa: BLE001 - each fact by itself
            failed += 1
            text = traceback.format_exc()
            print(f"vmtest FAILED: {name}\n{textwrap.indent(text, '    ')}", flush=True)
        else:
            print(f"vmtest ok: {name}", flush=True)
    print(f"vmtest done: {failed} failed", flush=True)


if __name__ == "__main__":
    main()
