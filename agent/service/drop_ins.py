"""What single units may do beyond what the package gives them, as the configuration needs it.

A unit of the package sees the whole file system read-only, but for Art32's state. Where the
configuration names another place to write to, the unit that writes there gets it, and no other.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from agent.config.logs_pipe import LogPipe
from agent.config.model import Configuration
from agent.config.sources import SCHEDULES

#: Several apply to one unit, and of two with one name the nearer hides the other.
_STATE, _STORE, _OWN = "50-art32-state.conf", "50-art32-store.conf", "50-art32.conf"
PATTERN = "50-art32*.conf"
_HEAD = "# Written by `art32 service apply` from the configuration; changes here are lost.\n"
_STORE_WRITERS = (
    "art32-backup-.service",
    "art32-logs-rotate.service",
    "art32-wal.service",
    "art32-enrol.service",
    "art32-prune.service",
    "art32-logs-prune.service",
)
_LOGS = Path("/var/log")
_KEYS = (Path("/etc/credstore"), Path("/etc/art32"))
_ENGINES = Path("/var/lib/art32-drill/engines")


def texts(config: Configuration) -> dict[str, str]:
    """Return each drop-in by its name below `/etc/systemd/system`."""
    found: dict[str, list[str]] = {}
    for unit, name, line in _lines(config):
        lines = found.setdefault(f"{unit}.d/{name}", [])
        if line not in lines:
            lines.append(line)
    return {
        name: _HEAD + _section(name) + "".join(f"{line}\n" for line in lines)
        for name, lines in sorted(found.items())
    }


def _section(name: str) -> str:
    return "[Timer]\n" if ".timer.d/" in name else "[Service]\n"


def _lines(config: Configuration) -> Iterator[tuple[str, str, str]]:
    """Yield unit, file and setting. A name ending in `-.service` stands for all that begin so."""
    if config.store.kind == "directory":
        for unit in _STORE_WRITERS:
            yield unit, _STORE, _writable(config.store.path)
    if config.state_directory != Path("/var/lib/art32"):
        yield "art32-.service", _STATE, _writable(config.state_directory)
    if config.signing is not None and config.signing.fingerprint is None:
        place = config.signing.key_file.parent
        if place not in _KEYS:
            yield "art32-enrol.service", _OWN, _writable(place)
    if config.service.role == "restorer" and config.drill.directory != _ENGINES:
        for unit in ("art32-drill@.service", "art32-drill-engine.service"):
            yield unit, _OWN, _writable(config.drill.directory)
    for source in config.sources:
        if source.every in SCHEDULES:
            calendar, delay, _ = SCHEDULES[source.every]
            unit = f"art32-backup-{source.kind}@{source.name}.timer"
            yield from (
                (unit, _OWN, line)
                for line in ("OnCalendar=", f"OnCalendar={calendar}", f"RandomizedDelaySec={delay}")
            )
        if source.kind == "sqlite":  # its copy is made beside it
            unit = f"art32-backup-sqlite@{source.name}.service"
            yield unit, _OWN, _writable(source.path.parent)
    for log in config.logs.rotate:
        if not log.path.is_relative_to(_LOGS):
            yield "art32-logs-rotate.service", _OWN, _writable(log.path.parent)
    for pipe in config.logs.pipes:
        yield from (("art32-logs-pipe.service", _OWN, line) for line in _pipe(pipe))
    if any(certificate.server for certificate in config.health.certificates):
        yield "art32-health.service", _OWN, "IPAddressAllow=any"


def _pipe(pipe: LogPipe) -> Iterator[str]:
    if pipe.to.startswith("/") and not Path(pipe.to).is_relative_to(_LOGS):
        yield _writable(Path(pipe.to).parent)
    if pipe.endpoint.kind != "udp":
        yield _writable(pipe.endpoint.path.parent)
    if pipe.socket_group is not None:
        yield f"SupplementaryGroups={pipe.socket_group}"


def _writable(path: Path) -> str:
    """Return the setting; a path that is not there yet is no reason not to start."""
    quoted = str(path).replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'ReadWritePaths="-{quoted}"'
