"""Has systemd run what the configuration asks for, and nothing else of Art32.

Which units these are says `agent.config.service.units`. What a unit may write to beyond the state
is the configuration's to say as well: it stands in a drop-in beside the unit.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from agent import files, redact, run
from agent.config.model import Configuration
from agent.config.service import units
from agent.errors import Art32Error, Code
from agent.service import drop_ins

PLACE = Path("/etc/systemd/system")
_RUNNING = Path("/run/systemd/system")
_OURS = re.compile(r"art32-[a-zA-Z0-9_.@\\-]+\.(?:service|timer|socket)")
_RESIDENT = re.compile(r"art32-.*(?<!@)\.service")


@dataclass(frozen=True)
class Change:
    """What is to be done, or was: units to enable and to disable, drop-ins to write and remove."""

    enable: tuple[str, ...]
    disable: tuple[str, ...]
    write: tuple[str, ...]
    remove: tuple[str, ...]

    def lines(self) -> list[str]:
        found = [f"enable {unit}" for unit in self.enable]
        found += [f"disable {unit}" for unit in self.disable]
        found += [f"write {path}" for path in self.write]
        return found + [f"remove {path}" for path in self.remove]


@dataclass(frozen=True)
class Standing:
    """How one unit stands that the configuration asks for; `state` is systemd's word."""

    unit: str
    enabled: bool
    state: str

    @property
    def good(self) -> bool:
        return self.enabled and self.state in ("active", "activating", "reloading")


def enabled(place: Path = PLACE) -> set[str]:
    """Return the units of Art32 that are enabled here: links in `*.wants`, as systemctl makes."""
    found = (link.name for link in place.glob("*.wants/art32-*"))
    return {name for name in found if _OURS.fullmatch(name)}


def plan(config: Configuration, place: Path = PLACE) -> Change:
    """Return what differs between the configuration and this machine."""
    wanted, there = set(units(config)), enabled(place)
    texts = drop_ins.texts(config)
    here = {
        str(path.relative_to(place)): path for path in place.glob(f"art32-*.d/{drop_ins.PATTERN}")
    }
    return Change(
        enable=tuple(sorted(wanted - there)),
        disable=tuple(sorted(there - wanted)),
        write=tuple(sorted(name for name, text in texts.items() if _read(place / name) != text)),
        remove=tuple(sorted(set(here) - set(texts))),
    )


def apply(config: Configuration, place: Path = PLACE) -> Change:
    """Make it so, and return what was done. The resident ones are started again: they read the
    configuration at their start.

    Raise PERMISSION when this user may not, TOOL_FAILED when systemd refuses.
    """
    change = plan(config, place)
    if not _RUNNING.is_dir():
        raise Art32Error(
            Code.TOOL_MISSING,
            "systemd does not run on this machine",
            hint="start the verbs by what does run here: art32 service apply --dry-run",
        )
    texts = drop_ins.texts(config)
    try:
        for name in change.write:
            path = place / name
            files.make_directory(path.parent, mode=0o755)
            files.replace(path, texts[name].encode(), mode=0o644)
        for name in change.remove:
            (place / name).unlink(missing_ok=True)
    except OSError as error:
        raise Art32Error(
            Code.PERMISSION,
            f"`{place}` cannot be written to: {error.strerror}",
            hint="run it as root",
        ) from error
    _systemctl("daemon-reload")
    if change.disable:
        _systemctl("disable", "--now", "--", *change.disable)
    if change.enable:
        _systemctl("enable", "--now", "--", *change.enable)
    resident = [one for one in units(config) if _RESIDENT.fullmatch(one)]
    again = sorted(set(resident) - set(change.enable))
    if again:
        _systemctl("restart", "--", *again)
    return change


def standing(config: Configuration, place: Path = PLACE) -> list[Standing]:
    """Return how each unit stands that the configuration asks for."""
    there = enabled(place)
    found = []
    for unit in units(config):
        done = run.run(["systemctl", "is-active", "--", unit], timeout=30)
        word = done.stdout.decode("utf-8", "replace").strip()
        found.append(Standing(unit, unit in there, word or "unknown"))
    return found


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def _systemctl(verb: str, *arguments: str) -> None:
    done = run.run(["systemctl", verb, *arguments], timeout=120)
    if done.returncode == 0:
        return
    units_named = [one for one in arguments if one.startswith("art32-")]
    raise Art32Error(
        Code.TOOL_FAILED,
        f"`systemctl {verb}` failed: {redact.diagnostic(done.stderr) or done.returncode}",
        hint=f"systemctl status {' '.join(units_named[:3])}" if units_named else "run it as root",
    )
