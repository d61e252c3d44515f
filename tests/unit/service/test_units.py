"""The systemd units: what they start exists, may do little, and runs often enough."""

from __future__ import annotations

import itertools
import re
import shlex
import subprocess
import typing
from datetime import datetime, timedelta
from pathlib import Path

import click
import pytest

from agent.cli import LazyGroup, root
from agent.config.drill import Drill
from agent.config.health import Health
from agent.config.model import Configuration, Retention
from agent.config.service import LONGEST_HOURS, units
from agent.config.sources import SCHEDULES, AnySource
from agent.errors import ExitStatus
from agent.logs.scrub.shared_keys import UNITS_DIRECTORY, VARIABLE

SHARE = Path(__file__).parents[3] / "agent" / "share"
UNITS = SHARE / "systemd"
SERVICES = sorted(UNITS.glob("*.service"))
TIMERS = sorted(UNITS.glob("*.timer"))
GOAL = 2.0
#: Reviewed: what would have to go, and why it stays.
EXCEPTIONS = {
    "art32-backup-sqlite@.service": (
        2.4,
        "SQLite gives a database's companions to the database's owner only as root",
    ),
    "art32-logs-rotate.service": (
        2.2,
        "renames in directories of other users, holds leases on their files, signals their daemons",
    ),
    "art32-drill@.service": (
        2.3,
        "gives what is restored to the engine's user and removes it again, and reaches the store",
    ),
    "art32-drill-engine.service": (
        2.5,
        "makes the rooms of engines: mounts and namespaces. It has neither a key nor a network",
    ),
}


def settings(path: Path) -> dict[str, list[str]]:
    """Return a unit's settings: each with all its values, in order."""
    found: dict[str, list[str]] = {}
    for line in path.read_text().splitlines():
        name, sign, value = line.partition("=")
        if sign and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


def command_of(service: Path) -> list[str]:
    """Return the words after `art32` that a service starts."""
    (line,) = settings(service)["ExecStart"]
    program, *words = shlex.split(line.replace("%i", "app").replace("%n", "x.service"))
    assert program == "/usr/bin/art32"
    return words


def by_name(paths: list[Path]) -> list[str]:
    return [path.name for path in paths]


@pytest.mark.parametrize("service", SERVICES, ids=by_name(SERVICES))
def test_what_a_unit_starts_is_a_command_line_of_art32(service: Path) -> None:
    words = command_of(service)
    command: click.Command = root
    context = click.Context(root)
    while isinstance(command, LazyGroup):
        found = command.get_command(context, words.pop(0))
        assert found is not None
        command = found
    parser = command.make_parser(click.Context(command))
    parser.parse_args(list(words))


def test_each_unit_names_the_page_of_the_manual_for_what_it_starts() -> None:
    # that there is one for each verb: tests/unit/scripts/test_manual.py
    for unit in UNITS.iterdir():
        verb = command_of(unit.with_suffix(".service"))[0]
        assert settings(unit)["Documentation"] == [f"man:art32-{verb}(1)"], unit.name


@pytest.mark.parametrize("service", SERVICES, ids=by_name(SERVICES))
def test_a_unit_is_hardly_exposed(service: Path) -> None:
    most = EXCEPTIONS.get(service.name, (GOAL, ""))[0]
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", str(service)],
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"Overall exposure level for .*: ([0-9.]+)", done.stdout)
    assert found is not None, done.stderr
    assert float(found[1]) <= most, done.stdout


def test_an_exception_is_one_that_is_needed() -> None:
    assert set(EXCEPTIONS) <= {path.name for path in SERVICES}
    assert all(GOAL < score <= 2.5 and len(reason) > 20 for score, reason in EXCEPTIONS.values())


def test_systemd_finds_no_fault_with_any_unit(tmp_path: Path) -> None:
    # with a root of its own: neither art32 nor the users need exist here
    place = tmp_path / "etc" / "systemd" / "system"
    place.mkdir(parents=True)
    for path in UNITS.iterdir():
        text = path.read_text().replace("/usr/bin/art32", "/bin/true")
        (place / path.name.replace("@.", "@app.")).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *map(str, sorted(place.iterdir()))],
        capture_output=True,
        text=True,
        check=False,
    )
    ours = [line for line in done.stderr.splitlines() if "art32" in line]
    assert (done.returncode, ours) == (0, [])


@pytest.mark.parametrize("timer", TIMERS, ids=by_name(TIMERS))
def test_each_timer_has_its_service(timer: Path) -> None:
    assert timer.with_suffix(".service") in SERVICES


@pytest.mark.parametrize("service", SERVICES, ids=by_name(SERVICES))
def test_exit_statuses_are_those_of_art32(service: Path) -> None:
    found = settings(service)

    def statuses(key: str) -> set[int]:
        return {int(word) for line in found.get(key, []) for word in line.split()}

    successes = statuses("SuccessExitStatus")
    assert ExitStatus.WARNINGS in successes
    assert successes <= {ExitStatus.WARNINGS, ExitStatus.VERIFICATION, ExitStatus.TRY_AGAIN}
    if ExitStatus.TRY_AGAIN in successes:  # its timer tries again in five minutes
        assert service.name == "art32-report-drain.service"
    if ExitStatus.VERIFICATION in successes:  # a failing check is a result of health
        assert "health" in command_of(service)[0]
    if found["Type"] == ["oneshot"]:
        assert "TimeoutStartSec" in found  # systemd has none for these
        assert "Restart" not in found
        return
    assert statuses("RestartForceExitStatus") == {ExitStatus.TRY_AGAIN}
    assert statuses("RestartPreventExitStatus") == {
        ExitStatus.USAGE,
        ExitStatus.KEY,
        ExitStatus.PERMISSION,
        ExitStatus.CONFIGURATION,
    }


@pytest.mark.parametrize("service", SERVICES, ids=by_name(SERVICES))
def test_a_failure_is_reported_but_not_that_of_a_report(service: Path) -> None:
    expected = None if service.name.startswith("art32-report") else ["art32-report@%n.service"]
    assert settings(service).get("OnFailure") == expected


@pytest.mark.parametrize("service", SERVICES, ids=by_name(SERVICES))
def test_a_resident_one_is_watched_and_any_other_limited(service: Path) -> None:
    found = settings(service)
    if found["Type"] == ["notify"]:
        assert found["NotifyAccess"] == ["main"]
        assert int(found["WatchdogSec"][0]) <= 300
    else:
        assert found["Type"] == ["oneshot"]


@pytest.mark.parametrize("service", SERVICES, ids=by_name(SERVICES))
def test_nothing_secret_stands_in_a_unit(service: Path) -> None:
    found = settings(service)
    assert not {"EnvironmentFile", "SetCredential"} & set(found)
    assert found.get("Environment", []) in ([], [f"{VARIABLE}={UNITS_DIRECTORY}"])
    # a name without a path: looked for in the credential stores, and optional
    for name in found.get("LoadCredential", []):
        assert re.fullmatch(r"art32\.[a-z-]+(\.[a-z]+)?", name), name


def test_what_holds_the_key_of_a_drill_makes_no_rooms_and_what_makes_them_holds_nothing() -> None:
    key, rooms = (settings(UNITS / f"art32-{name}.service") for name in ("drill@", "drill-engine"))
    assert "CAP_SYS_ADMIN" not in key["CapabilityBoundingSet"][0]
    assert key["RestrictNamespaces"] == ["yes"]
    assert rooms["PrivateNetwork"] == ["yes"]
    assert rooms["RestrictAddressFamilies"] == ["AF_UNIX"]
    assert "LoadCredential" not in rooms
    for place in ("/etc/credstore", "/var/lib/art32", "/var/lib/art32-drill/keys"):
        assert f"-{place}" in rooms["InaccessiblePaths"][0].split()


def test_ownership_is_kept_where_it_matters() -> None:
    # `PrivateUsers=` stores every owner as nobody (review: tried); `DynamicUser=` loses peer
    # authentication and the keys
    for service in SERVICES:
        found = settings(service)
        assert "DynamicUser" not in found
        if re.match(r"art32-(backup|logs-(rotate|pipe|watch|digest)|drill|wal)", service.name):
            assert "PrivateUsers" not in found, service.name


def test_each_kind_of_source_has_a_unit_and_a_timer() -> None:
    kinds = [
        typing.get_args(model.model_fields["kind"].annotation)[0]
        for model in typing.get_args(typing.get_args(AnySource)[0])
    ]
    assert len(kinds) >= 5
    for kind in kinds:
        assert UNITS / f"art32-backup-{kind}@.service" in SERVICES
        assert UNITS / f"art32-backup-{kind}@.timer" in TIMERS


def test_each_user_of_a_unit_is_made_by_the_package() -> None:
    made = re.findall(r"^u (\S+)", (SHARE / "sysusers.d" / "art32.conf").read_text(), re.M)
    used = {user for service in SERVICES for user in settings(service)["User"]}
    assert used - {"root"} <= set(made)
    assert {group for service in SERVICES for group in settings(service)["Group"]} == {"art32"}


def next_runs(calendar: str, count: int) -> list[datetime]:
    done = subprocess.run(
        ["systemd-analyze", "calendar", f"--iterations={count}", calendar],
        capture_output=True,
        text=True,
        check=True,
        env={"TZ": "UTC", "LC_ALL": "C", "PATH": "/usr/bin:/bin"},
    )
    found = re.findall(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) UTC", done.stdout)
    return [datetime.fromisoformat(text) for text in dict.fromkeys(found)]


def seconds(text: str) -> int:
    done = subprocess.run(
        ["systemd-analyze", "timespan", text], capture_output=True, text=True, check=True
    )
    found = re.search(r"(?:μs|us): (\d+)", done.stdout)
    assert found is not None
    return int(found[1]) // 1_000_000


def longest_gap(timer: Path) -> timedelta:
    """Return the longest time between two runs, as the calendar and the random delay allow it."""
    (calendar,), (delay,) = (settings(timer)[name] for name in ("OnCalendar", "RandomizedDelaySec"))
    return gap_of(calendar, delay)


def gap_of(calendar: str, delay: str) -> timedelta:
    runs = next_runs(calendar, 40)
    assert len(runs) > 30
    gap = max(later - earlier for earlier, later in itertools.pairwise(runs))
    return gap + timedelta(seconds=seconds(delay))


HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("pattern", "promise", "work"),
    [
        # the promise P5, daily, and the age at which health and prune take alarm
        ("art32-backup-*", Health().backup_fail_hours * HOUR, HOUR),
        ("art32-backup-*", Retention().newest_within_hours * HOUR, 6 * HOUR),
        ("art32-verify@*", 25 * HOUR, timedelta()),
        ("art32-prune*", 25 * HOUR, timedelta()),
        ("art32-logs-prune*", 25 * HOUR, timedelta()),
        ("art32-logs-digest*", 25 * HOUR, timedelta()),
        # raw lines wait at most as long as health lets them
        ("art32-logs-rotate*", Health().raw_logs_warn_hours * HOUR, timedelta(minutes=30)),
        # two runs within what the publisher calls fresh
        ("art32-health*", timedelta(minutes=20), timedelta(minutes=8)),
        ("art32-doctor*", 8 * 24 * HOUR, HOUR),
        ("art32-enrol*", 25 * HOUR, timedelta()),
        # once at least in each hour that the alarms look at
        ("art32-ages*", HOUR, timedelta(minutes=15)),
        ("art32-drill@*", Drill().within_hours * HOUR, 12 * HOUR),
    ],
)
def test_a_timer_runs_as_often_as_the_configuration_promises(
    pattern: str, promise: timedelta, work: timedelta
) -> None:
    timers = sorted(UNITS.glob(f"{pattern}.timer"))
    assert timers
    for timer in timers:
        assert longest_gap(timer) + work <= promise, timer.name


@pytest.mark.parametrize("every", SCHEDULES)
def test_a_schedule_of_a_source_keeps_to_its_own_limit(every: str) -> None:
    calendar, delay, hours = SCHEDULES[every]
    assert gap_of(calendar, delay) + HOUR <= hours * HOUR


def test_what_a_timer_can_do_is_known_to_the_configuration() -> None:
    for prefix, hours in LONGEST_HOURS.items():
        timers = sorted(UNITS.glob(f"{prefix}*.timer"))
        assert timers
        assert all(longest_gap(timer) <= hours * HOUR for timer in timers), prefix


def test_what_is_missed_is_made_up_for() -> None:
    rare = [timer for timer in TIMERS if longest_gap(timer) > HOUR]
    assert len(rare) >= 8
    assert all(settings(timer).get("Persistent") == ["yes"] for timer in rare)


def test_the_units_that_a_configuration_asks_for_are_there() -> None:
    recipient = {"fingerprint": "A" * 40, "key_file": "/k"}
    whole = {
        "host": "db1",
        "store": {"kind": "directory", "path": "/srv/backups"},
        "signing": {"fingerprint": "B" * 40, "key_file": "/etc/credstore/art32.signing-key"},
        "encryption": {
            "recipients": [
                {"name": "operations", **recipient},
                {"name": "escrow", **recipient, "fingerprint": "C" * 40},
            ]
        },
        "sources": [
            {"name": "app", "kind": "postgresql"},
            {"name": "up.loads", "kind": "directory", "path": "/srv/uploads"},
        ],
        "logs": {
            "rotate": [{"name": "nginx", "path": "/var/log/nginx/access.log", "preset": "nginx"}],
            "pipes": [{"name": "web", "listen": "udp:127.0.0.1:5514", "to": "/var/log/web.log"}],
            "watch": {"files": [{"path": "/var/log/nginx/access.log"}]},
        },
        "service": {"cloudwatch_namespace": "Art32"},
    }
    writer = units(Configuration.model_validate(whole))
    assert "art32-backup-postgresql@app.timer" in writer
    assert "art32-backup-directory@up.loads.timer" in writer
    signers = [{"host": "db1", "fingerprint": "B" * 40, "key_file": "/k"}]
    keeper = units(
        Configuration.model_validate(
            {
                "host": "keeper",
                "store": whole["store"],
                "signers": signers,
                "service": {"role": "keeper"},
            }
        )
    )
    restorer = units(
        Configuration.model_validate(
            {
                "host": "restorer",
                "store": whole["store"],
                "signers": signers,
                "service": {"role": "restorer"},
            }
        )
    )
    assert "art32-prune.timer" in keeper
    assert "art32-verify@db1.timer" in keeper
    assert "art32-drill@db1.timer" in restorer
    # deleting is the keeper's alone, drills are the restorer's
    assert not {"art32-prune.timer", "art32-drill@db1.timer"} & {*writer}
    assert "art32-prune.timer" not in restorer
    assert "art32-drill@db1.timer" not in keeper
    for name in {*writer, *keeper, *restorer}:
        file = re.sub(r"@.*\.(timer|service|socket)$", r"@.\1", name)
        assert (UNITS / file).is_file(), name
        assert "WantedBy" in settings(UNITS / file)


def test_all_units_that_scrub_lines_share_the_keys_of_a_day() -> None:
    users = set()
    for name in ("pipe", "rotate", "watch"):
        found = settings(UNITS / f"art32-logs-{name}.service")
        assert f"{VARIABLE}={UNITS_DIRECTORY}" in found["Environment"]
        assert f"-{UNITS_DIRECTORY.parent}" in found["ReadWritePaths"][0].split()
        users.add(found["User"][0])
    (user,) = users  # a key is read by nobody else
    made = (SHARE / "tmpfiles.d" / "art32.conf").read_text().splitlines()
    assert f"d {UNITS_DIRECTORY.parent} 0755 {user} art32 -" in made
