"""What a first boot has to show: runs inside the virtual machine when cloud-init has ended."""

from __future__ import annotations

import json
import pwd
import subprocess
import textwrap
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from cloud import HERE, METADATA, client  # type: ignore[import-not-found]

FACTS = json.loads((HERE / "facts.json").read_text())


def sh(*argv: str, check: bool = True, stdin: str = "") -> str:
    """Run a program and return what it printed, errors too; raise when it fails."""
    done = subprocess.run(
        argv,
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if check and done.returncode != 0:
        raise AssertionError(f"`{' '.join(argv)}` exited with {done.returncode}:\n{done.stdout}")
    return done.stdout


def expect(fact: bool, what: object) -> None:
    if not fact:
        raise AssertionError(str(what))


def start(unit: str) -> None:
    """Start a unit to its end; its journal is part of the failure."""
    sh("systemctl", "start", unit, check=False)
    found = sh("systemctl", "show", unit, "--property=Result,ExecMainStatus")
    text = sh("journalctl", "--unit", unit, "--no-pager", "--lines", "30", "-o", "cat")
    expect("Result=success" in found, f"{unit}: {found}\n{text}")


def psql(sql: str, database: str = "postgres") -> str:
    command = ("runuser", "-u", "postgres", "--", "psql", "-XqAt", "--set=ON_ERROR_STOP=1")
    return sh(*command, database, stdin=sql).strip()


def objects() -> list[str]:
    pages = client("s3", FACTS).get_paginator("list_objects_v2")
    found = pages.paginate(Bucket=FACTS["backups"], Prefix=f"{FACTS['prefix']}/")
    return [one["Key"] for page in found for one in page.get("Contents", [])]


def the_script_of_the_user_data_ends_well() -> None:
    log = Path("/var/log/cloud-init-output.log").read_text()
    last = "\n".join(log.splitlines()[-40:])
    expect("art32: first boot of db in prod is done" in log, last)
    status = sh("cloud-init", "status", "--long", check=False)
    expect("status: done" in status, f"{status}\n{last}")


def the_volume_was_formatted_and_holds_the_database() -> None:
    if not FACTS["mount"]:
        return
    expect("nvme" in sh("findmnt", "-no", "SOURCE", FACTS["mount"]), "not on the volume")
    expect(psql("SHOW data_directory").startswith(FACTS["mount"]), "the data is elsewhere")


def the_agent_runs_what_its_configuration_asks_for() -> None:
    sh("art32", "config", "check")
    listed = sh("art32", "service", "list")
    for unit in (
        "art32-backup-postgresql@databases.timer",
        "art32-backup-basebackup@server.timer",
        "art32-wal.socket",
        "art32-logs-rotate.timer",
        "art32-health.timer",
    ):
        expect(unit in listed, listed)
        expect(sh("systemctl", "is-active", unit, check=False).strip() == "active", unit)


def both_keys_are_enrolled() -> None:
    found = [one for one in objects() if "/enroll/" in one]
    expect(len(found) == 2, found)


def databases_and_server_are_backed_up_by_their_units() -> None:
    psql("CREATE TABLE t AS SELECT generate_series(1, 1000) AS a")
    start("art32-backup-postgresql@databases.service")
    start("art32-backup-basebackup@server.service")
    found = objects()
    for source in ("databases", "server"):
        signed = [one for one in found if f"/db/{source}/" in one and one.endswith(".json.sig")]
        expect(bool(signed), (source, found))


def the_write_ahead_log_is_archived_by_a_key_of_its_own() -> None:
    psql("SELECT pg_switch_wal()")
    for _ in range(120):
        archived = psql("SELECT archived_count > 0 AND failed_count = 0 FROM pg_stat_archiver")
        if archived == "t" and any("/wal/db/" in one for one in objects()):
            break
        time.sleep(1)
    else:
        text = sh("journalctl", "--unit", "art32-wal", "--no-pager", "-o", "cat", "-n", "30")
        server = sh("tail", "-n", "20", "/var/log/postgresql/postgresql.log", check=False)
        raise AssertionError(f"{psql('TABLE pg_stat_archiver')}\n{text}\n{server}")


def health_sees_the_archiver_and_no_data() -> None:
    start("art32-health.service")
    results = json.loads(Path("/var/lib/art32/health/results.json").read_text())["results"]
    found = {one["name"]: (one["state"], one["detail"]) for one in results}
    for name in ("wal:archiver", "wal:size", "keys", "backup:databases", "backup:server"):
        expect(found.get(name, ("", ""))[0] == "ok", f"{name}: {found.get(name)}")
    refused = sh(
        *("setpriv", "--reuid=art32-health", "--regid=art32", "--clear-groups", "psql", "-XqAt"),
        *("-U", "art32_monitor", "-c", "SELECT * FROM t", "postgres"),
        check=False,
    )
    expect("permission denied" in refused, refused)
    start("art32-health-publish.service")
    metrics = client("cloudwatch", FACTS).list_metrics(Namespace="Art32Host/prod")["Metrics"]
    expect(bool(metrics), "no metrics")


def only_root_and_the_agent_reach_the_metadata_service() -> None:
    def reached(user: str) -> bool:
        number = pwd.getpwnam(user).pw_uid
        command = ("setpriv", f"--reuid={number}", "--clear-groups", "curl", "-s", "-m", "5")
        said = sh(*command, "-X", "PUT", f"http://{METADATA}/latest/api/token", check=False)
        return said == "the-token"

    expect("metadata_users" in sh("nft", "list", "ruleset"), "no firewall")
    expect(reached("art32-pg") and reached("art32-wal") and reached("root"), "the agent's users")
    expect(not reached("postgres") and not reached("nobody"), "others reach it")


def a_release_is_rolled_out_by_the_same_script() -> None:
    script = "ART32_ONLY_DEFINE=yes\n. /var/lib/art32/first-boot.sh\ninstall_release\n"
    before = [one for one in objects() if "/enroll/" in one]
    sh("bash", "-c", script)
    expect([one for one in objects() if "/enroll/" in one] == before, "enrolled again")


def no_secret_is_left_where_it_does_not_belong() -> None:
    text = Path("/var/log/cloud-init-output.log").read_text()
    expect("the-secret-of-the-machine" not in text, "in the log of the first boot")
    names = [Path("/var/lib/art32/settings"), Path("/etc/art32/agent.toml")]
    expect(all("PRIVATE KEY" not in one.read_text() for one in names), "in a configuration")
    for key in Path("/etc/credstore").iterdir():
        expect(key.stat().st_mode & 0o077 == 0, f"{key} is open")


STEPS: tuple[Callable[[], None], ...] = (
    the_script_of_the_user_data_ends_well,
    the_volume_was_formatted_and_holds_the_database,
    the_agent_runs_what_its_configuration_asks_for,
    both_keys_are_enrolled,
    databases_and_server_are_backed_up_by_their_units,
    the_write_ahead_log_is_archived_by_a_key_of_its_own,
    health_sees_the_archiver_and_no_data,
    only_root_and_the_agent_reach_the_metadata_service,
    a_release_is_rolled_out_by_the_same_script,
    no_secret_is_left_where_it_does_not_belong,
)


def main() -> None:
    failed = 0
    for step in STEPS:
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
