"""systemd units that must be active."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

from agent import run
from agent.health.checks import Situation
from agent.health.result import Result, State


def look(situation: Situation) -> Iterator[Result]:
    units = situation.config.health.units
    if not units:
        return
    program = shutil.which("systemctl")
    for unit in units:
        name = f"unit:{unit}"
        if program is None:
            yield Result(name, State.UNKNOWN, "this system has no systemctl")
            continue
        done = run.run([program, "is-active", "--", unit], timeout=30)
        word = done.stdout.decode("utf-8", "replace").strip()
        if word in ("active", "activating", "reloading"):
            yield Result(name, State.OK, word)
        elif word in ("inactive", "failed", "deactivating"):
            hint = f"systemctl status {unit}; journalctl --unit {unit} --lines 50"
            yield Result(name, State.FAIL, f"is {word}", hint=hint)
        else:
            yield Result(name, State.UNKNOWN, "systemd does not answer")
