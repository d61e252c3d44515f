"""What systemd knows of a unit that failed: its result and exit status, never a line of its log."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass

from agent import run
from agent.errors import Art32Error, Code

NAME = re.compile(r"[A-Za-z0-9:_.\\@-]{1,200}")
_ASKED = ("Result", "ExecMainCode", "ExecMainStatus", "InvocationID", "NRestarts", "LoadState")
_EXITED = "1"  # CLD_EXITED of siginfo(2); 2 and 3 are ends by a signal


@dataclass(frozen=True)
class Failed:
    """A unit's end: systemd's word for it, the exit status where it exited, the number of the
    signal where one ended it, and which run it was."""

    unit: str
    result: str
    exit_status: int | None = None
    signal: int | None = None
    invocation: str = ""


def ask(unit: str) -> Failed:
    """Ask systemd for a unit's end. Raise USAGE for what is no unit's name, TOOL_MISSING without
    systemctl, SOURCE_MISSING when systemd does not know it."""
    if not NAME.fullmatch(unit):
        raise Art32Error(
            Code.USAGE,
            "`--unit` is no name of a unit",
            hint="art32 report failure --unit art32-backup-postgresql@app.service",
        )
    program = shutil.which("systemctl")
    if program is None:
        raise Art32Error(Code.TOOL_MISSING, "this system has no `systemctl`")
    asked = [program, "show", f"--property={','.join(_ASKED)}", "--", unit]
    done = run.run(asked, timeout=30)
    lines = done.stdout.decode("utf-8", "replace").splitlines()
    found = dict(line.split("=", 1) for line in lines if "=" in line)
    if done.returncode != 0 or found.get("LoadState") in (None, "not-found", "masked"):
        raise Art32Error(
            Code.SOURCE_MISSING,
            f"systemd knows no unit `{unit}`",
            hint="systemctl list-units 'art32-*'",
            runbook="rollbar-silent",
        )
    return _failed(unit, found)


def _failed(unit: str, found: dict[str, str]) -> Failed:
    status = found.get("ExecMainStatus", "")
    number = int(status) if status.isdecimal() and int(status) < 256 else None
    exited = found.get("ExecMainCode") == _EXITED
    result = found.get("Result", "")
    return Failed(
        unit,
        result if re.fullmatch(r"[a-z][a-z-]{0,30}", result) else "unknown",
        number if exited else None,
        None if exited or number == 0 else number,
        found.get("InvocationID", ""),
    )
