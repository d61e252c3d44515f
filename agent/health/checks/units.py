"""systemd units that must be active, and Art32's own: those that the configuration asks for."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from agent import run
from agent.config.service import units as own_units
from agent.health.checks import Situation
from agent.health.result import Result, State

_GOOD = ("active", "activating", "reloading")
_BAD = ("inactive", "failed", "deactivating")
_ENABLED = Path("/etc/systemd/system")


def look(situation: Situation) -> Iterator[Result]:
    units = situation.config.health.units
    program = shutil.which("systemctl")
    # where nobody has said `art32 service apply` something else starts the verbs
    applied = any(_ENABLED.glob("*.wants/art32-*"))
    if program is None:
        for unit in units:
            yield Result(f"unit:{unit}", State.UNKNOWN, "this system has no systemctl")
        return
    for unit, word in _states(program, units):
        yield _result(unit, word)
    if applied:
        yield _own(program, own_units(situation.config))


def _result(unit: str, word: str) -> Result:
    name = f"unit:{unit}"
    if word in _GOOD:
        return Result(name, State.OK, word)
    if word in _BAD:
        hint = f"systemctl status {unit}; journalctl --unit {unit} --lines 50"
        return Result(name, State.FAIL, f"is {word}", hint=hint, runbook="health-red")
    return Result(name, State.UNKNOWN, "systemd does not answer")


def _own(program: str, wanted: Sequence[str]) -> Result:
    """Whether all that the configuration asks for waits or runs, and no run of it has failed."""
    states = dict(_states(program, wanted))
    if not set(states.values()) <= {*_GOOD, *_BAD}:
        return Result("art32-units", State.UNKNOWN, "systemd does not answer")
    stopped = sorted(unit for unit, word in states.items() if word not in _GOOD)
    listing = ("list-units", "--state=failed", "--plain", "--no-legend", "art32-*")
    done = run.run([program, *listing], timeout=30)
    lines = done.stdout.decode("utf-8", "replace").splitlines()
    failed = [line.split()[0] for line in lines if line.strip()]
    said = [f"`{unit}` is not active" for unit in stopped if unit not in failed]
    said += [f"`{unit}` has failed" for unit in failed]
    if said:
        return Result(
            "art32-units",
            State.FAIL,
            "; ".join(said[:5]) + ("" if len(said) <= 5 else f"; and {len(said) - 5} more"),
            len(said),
            hint="art32 service list; art32 service apply",
            runbook="health-red",
        )
    return Result("art32-units", State.OK, f"{len(states)} units of Art32 are active", 0)


def _states(program: str, units: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield each unit with systemd's word for it; an empty one when there is none."""
    if not units:
        return
    done = run.run([program, "is-active", "--", *units], timeout=60)
    words = done.stdout.decode("utf-8", "replace").split()
    if len(words) != len(units):
        words = [""] * len(units)
    yield from zip(units, words, strict=True)
