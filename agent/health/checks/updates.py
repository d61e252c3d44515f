"""Security updates that wait, and for how long; a reboot that is wanted; whether anyone installs
them (P3)."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from agent import clock, run
from agent.health.checks import Situation
from agent.health.result import Result, State, graded

_HOUR = 3600.0
_INSTALLS = re.compile(r"^Inst (\S+) .*\((\S+) (.*)\)", re.MULTILINE)
_SECURITY = re.compile(r"security", re.IGNORECASE)
_REBOOT = (Path("/run/reboot-required"), Path("/var/run/reboot-required"))
_LISTS = Path("/var/lib/apt/lists")
_STAMP = Path("/var/lib/apt/periodic/unattended-upgrades-stamp")
_FRESH = timedelta(days=2)
_HINT = "unattended-upgrade --verbose"


def look(situation: Situation) -> Iterator[Result]:
    yield _waiting(situation)
    yield _reboot(situation)
    yield _lists(situation)
    yield _unattended(situation)


def _waiting(situation: Situation) -> Result:
    apt = shutil.which("apt-get")
    if apt is None:
        return Result("updates", State.UNKNOWN, "this system has no apt")
    done = run.run([apt, "--simulate", "--quiet", "-oDebug::NoLocking=true", "dist-upgrade"])
    if done.returncode != 0:
        return Result("updates", State.UNKNOWN, "apt could not say what there is to install")
    names = {
        f"update:{package}:{version}"
        for package, version, origin in _INSTALLS.findall(done.stdout.decode("utf-8", "replace"))
        if _SECURITY.search(origin)
    }
    situation.memory.forget("update:", names)
    if not names:
        return Result("updates", State.OK, "no security update waits", 0, "h")
    oldest = min(situation.memory.seen(name, situation.now) for name in names)
    hours = (situation.now - oldest).total_seconds() / _HOUR
    limit = situation.config.health.updates_fail_hours
    return Result(
        "updates",
        graded(hours, warn=limit / 3, fail=limit),
        f"{len(names)} security updates wait, the oldest since {clock.iso(oldest)}",
        round(hours, 1),
        "h",
        limit,
        _HINT,
        "updates-pending",
    )


def _reboot(situation: Situation) -> Result:
    for path in _REBOOT:
        if path.exists():
            hours = max(0.0, situation.now.timestamp() - path.stat().st_mtime) / _HOUR
            limit = situation.config.health.reboot_fail_hours
            return Result(
                "reboot",
                graded(hours, warn=limit / 3, fail=limit),
                f"a reboot has been wanted for {hours:.0f} h",
                round(hours, 1),
                "h",
                limit,
                "reboot in the host's window",
                "updates-pending",
            )
    return Result("reboot", State.OK, "no reboot is wanted", 0, "h")


def _lists(situation: Situation) -> Result:
    """Lists of packages that nobody fetches make every system look up to date."""
    newest = max((one.stat().st_mtime for one in _LISTS.glob("*_InRelease")), default=0.0)
    if not newest:
        return Result("package-lists", State.UNKNOWN, "apt has no lists of packages")
    hours = (situation.now.timestamp() - newest) / _HOUR
    return Result(
        "package-lists",
        graded(hours, warn=_FRESH.total_seconds() / _HOUR, fail=4 * _FRESH.total_seconds() / _HOUR),
        f"the lists of packages are {hours:.0f} h old",
        round(hours, 1),
        "h",
        4 * _FRESH.total_seconds() / _HOUR,
        "apt-get update",
        "updates-pending",
    )


def _unattended(situation: Situation) -> Result:
    if shutil.which("unattended-upgrade") is None:
        return Result(
            "unattended-upgrades",
            State.WARN,
            "is not installed: somebody must install updates by hand",
            hint="apt-get install unattended-upgrades",
            runbook="updates-pending",
        )
    try:
        age = situation.now.timestamp() - _STAMP.stat().st_mtime
    except OSError:
        return Result(
            "unattended-upgrades",
            State.FAIL,
            "has never run",
            hint=_HINT,
            runbook="updates-pending",
        )
    late = age > _FRESH.total_seconds()
    return Result(
        "unattended-upgrades",
        State.FAIL if late else State.OK,
        f"last ran {age / _HOUR:.0f} h ago",
        round(age / _HOUR, 1),
        "h",
        _FRESH.total_seconds() / _HOUR,
        _HINT,
        "updates-pending",
    )
