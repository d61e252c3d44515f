"""What health asks of the logs: from names of files and from the scan's own files, never a line."""

from __future__ import annotations

from datetime import datetime

from agent.config.model import Configuration
from agent.logs.rotate import names
from agent.logs.scan.publish import read_findings


def oldest_raw(config: Configuration) -> dict[str, datetime | None]:
    """Return when the oldest raw segment of each rotated log was cut, None where none waits."""
    found: dict[str, datetime | None] = {}
    for log in config.logs.rotate:
        try:
            listed = [one.name for one in log.path.parent.iterdir()]
        except OSError:
            listed = []
        segments = [names.parse(name) for name in listed]
        moments = [one.cut for one in segments if one is not None and log.matches(one.file)]
        found[log.name] = min(moments, default=None)
    return found


def findings(config: Configuration, now: datetime) -> list[str] | None:
    """Return the severities of the findings in force; None where nothing has scanned yet."""
    directory = config.logs.scan.directory
    if not directory.is_dir():
        return None
    moment = now.timestamp()
    return [
        one.severity for one in read_findings(directory) if one.last + one.expires_seconds > moment
    ]
