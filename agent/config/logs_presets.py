"""What makes each program reopen its logs: data for `[[logs.rotate]]`.

Each was read in the program's own documentation and is tested with the program itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Signal = Literal["HUP", "USR1", "USR2"]


@dataclass(frozen=True)
class Preset:
    """Defaults for the keys of the same names."""

    signal: Signal
    process: str
    pid_file: Path | None = None
    unit: str | None = None
    child: str | None = None
    owner: str | None = None
    group: str | None = None


PRESETS = {
    # nginx.org/en/docs/control.html: USR1 reopens; the workers follow the master
    "nginx": Preset(
        signal="USR1",
        process="nginx",
        pid_file=Path("/run/nginx.pid"),
        unit="nginx.service",
        owner="www-data",
    ),
    # httpd.apache.org/docs/2.4/stopping.html: graceful; children end their requests in the old file
    "apache": Preset(
        signal="USR1",
        process="apache2",
        pid_file=Path("/run/apache2/apache2.pid"),
        unit="apache2.service",
        owner="www-data",
    ),
    # postlogd(8): reopens `maillog_file` after `postfix reload`, which is HUP to master(8)
    "postfix": Preset(
        signal="HUP",
        process="master",
        pid_file=Path("/var/spool/postfix/pid/master.pid"),
        unit="postfix@-.service",
        owner="postfix",
    ),
    # syslogger.c: the logging collector rotates at USR1, as pg_rotate_logfile() tells it to
    "postgresql": Preset(
        signal="USR1",
        process="postgres",
        child="logger",
        owner="postgres",
        group="postgres",
    ),
    # rsyslogd(8): HUP closes all files
    "rsyslog": Preset(
        signal="HUP",
        process="rsyslogd",
        pid_file=Path("/run/rsyslogd.pid"),
        unit="rsyslog.service",
        owner="syslog",
        group="syslog",
    ),
}
# the rules of `agent.logs.scan` know nothing of what these write
UNSCANNED = ("postgresql",)
