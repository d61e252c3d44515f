"""Results as Prometheus' text format, for node_exporter's textfile collector."""

from __future__ import annotations

from pathlib import Path

from agent import files
from agent.errors import Art32Error, Code
from agent.health.examine import Examined
from agent.health.result import State

_LEVELS = {State.OK: 0, State.WARN: 1, State.FAIL: 2, State.UNKNOWN: 3}


def text(found: Examined) -> str:
    """Return one gauge for the state of each check, one for its value, and when it was looked."""
    lines = [
        "# HELP art32_check_state 0 ok, 1 warn, 2 fail, 3 unknown",
        "# TYPE art32_check_state gauge",
    ]
    ordered = sorted(found.results, key=lambda one: one.name)
    lines += [f"art32_check_state{{{_labels(one.name)}}} {_LEVELS[one.state]}" for one in ordered]
    lines += [
        "# HELP art32_check_value what the check has measured, in its unit",
        "# TYPE art32_check_value gauge",
    ]
    lines += [
        f"art32_check_value{{{_labels(one.name, one.unit)}}} {one.value}"
        for one in ordered
        if one.value is not None
    ]
    lines += [
        "# HELP art32_health_seconds when health was last looked at",
        "# TYPE art32_health_seconds gauge",
        f"art32_health_seconds {found.at.timestamp():.0f}",
    ]
    return "\n".join(lines) + "\n"


def _labels(name: str, unit: str = "") -> str:
    escaped = name.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'check="{escaped}"' + (f',unit="{unit}"' if unit else "")


def write(found: Examined, path: Path) -> None:
    """Put it into a file, whole, in place of the one before; raise TARGET_FAILED."""
    try:
        files.replace(path, text(found).encode(), mode=0o644)
    except OSError as error:
        raise Art32Error(
            Code.TARGET_FAILED,
            f"`{path}` cannot be written: {error.strerror}",
            hint="its directory is that of --collector.textfile.directory",
        ) from error
