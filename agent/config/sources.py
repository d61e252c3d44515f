"""What can be backed up: one section model for each kind of source."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from agent.config.section import Section

SourceName = Annotated[
    str,
    Field(
        pattern=r"^[a-z0-9][a-z0-9_.-]{0,62}$",
        description="Name of the source in the store; visible to whoever lists it.",
        examples=["app"],
    ),
]


#: How a source's backups may be timed: the calendar (systemd.time(7)) with its longest random
#: delay, and after how many hours without a good backup health fails; daily ones keep to the unit's
#: own timer and to `health.backup_fail_hours`.
SCHEDULES = {
    "hour": ("*-*-* *:10:00 UTC", "5min", 2.5),
    "6 hours": ("*-*-* 00/6:10:00 UTC", "30min", 8.0),
}


class Source(Section):
    """What every source has."""

    name: SourceName
    every: Literal["hour", "6 hours", "day"] = Field(
        "day",
        description="How often its timer backs it up. Health fails when the newest good backup is "
        "older than 2.5 hours, 8 hours or `health.backup_fail_hours`.",
        examples=["day"],
    )
    shrink_warning: float = Field(
        0.5,
        ge=0,
        lt=1,
        description="Flag a backup as suspicious when its plaintext is smaller than this part of "
        "the last good one. 0 switches the check off.",
        examples=[0.5],
    )


class PostgreSQLConnection(Source):
    """How a PostgreSQL server is reached."""

    host: str | None = Field(
        None,
        description="Host name, or the directory of the server's socket.",
        examples=["/var/run/postgresql"],
    )
    port: int = Field(5432, ge=1, le=65535, description="Port.", examples=[5432])
    user: str | None = Field(None, description="Role to connect as.", examples=["art32_backup"])
    password_file: Path | None = Field(
        None,
        description="A `.pgpass` file of mode 0600: host:port:database:user:password.",
        examples=["/etc/art32/pgpass"],
    )
    ssl_mode: Literal["disable", "require", "verify-ca", "verify-full"] | None = Field(
        None,
        description="TLS for TCP connections; `verify-full` unless the host is a socket or "
        "loopback.",
        examples=["verify-full"],
    )
    ssl_root_certificate: Path | None = Field(
        None, description="The CA that signed the server's certificate.", examples=["/etc/ca.pem"]
    )
    binaries: Path | None = Field(
        None,
        description="Directory of `pg_dump`, `pg_basebackup` and `psql`; by default the newest "
        "under /usr/lib/postgresql, else the search path.",
        examples=["/usr/lib/postgresql/15/bin"],
    )


class PostgreSQLSource(PostgreSQLConnection):
    """A PostgreSQL database, or all of them with the roles, by `pg_dump -Fc`."""

    kind: Literal["postgresql"]
    database: str | None = Field(
        None, description="One database. Leave out to back up all and the roles.", examples=["app"]
    )
    rds_iam_region: str | None = Field(
        None,
        pattern=r"^[a-z]{2,4}(?:-[a-z]+)+-[0-9]$",
        description="The AWS region of a database of Amazon RDS: `user` then logs in with a token "
        "that this machine's role signs for each connection, without a password. `host` is the "
        "database's own address, no alias; TLS is `verify-full`. The role needs `rds-db:connect`.",
        examples=["eu-central-1"],
    )
    row_counts_up_to: int = Field(
        20 * 2**30,
        ge=0,
        description="Count the rows of each table in the dump's own snapshot when the database is "
        "at most this many bytes. 0 switches counting off.",
        examples=[21474836480],
    )
    lock_wait_seconds: int = Field(
        1800,
        ge=1,
        le=86400,
        description="How long the dump may wait for a table that somebody has locked; then it "
        "fails, and says so.",
        examples=[1800],
    )

    @model_validator(mode="after")
    def _token(self) -> PostgreSQLSource:
        if self.rds_iam_region is None:
            return self
        if self.user is None or self.host is None or self.host.startswith(("/", "@")):
            raise ValueError("`rds_iam_region` needs `user` and, as `host`, the database's address")
        if self.password_file is not None:
            raise ValueError(
                "`rds_iam_region` and `password_file` are two ways to log in: keep one"
            )
        if self.ssl_mode not in (None, "verify-full"):
            raise ValueError(
                "`rds_iam_region` wants `ssl_mode` to be `verify-full`: whoever gets "
                "the token can log in with it"
            )
        return self


class BaseBackupSource(PostgreSQLConnection):
    """A whole PostgreSQL server, file by file, by `pg_basebackup`: with the write-ahead log that
    its `archive_command` ships, what a restore to a point in time begins with."""

    kind: Literal["basebackup"]
    archive_wait_seconds: int = Field(
        600,
        ge=10,
        le=86400,
        description="How long, at the end, the archive may take to store the write-ahead log "
        "without which the base backup is of no use; then it fails.",
        examples=[600],
    )


class MySQLSource(Source):
    """A MySQL or MariaDB database, by its own dump program in one transaction."""

    kind: Literal["mysql"]
    database: str = Field(description="The database.", examples=["shop"])
    host: str | None = Field(None, description="Host name for TCP.", examples=["db.internal"])
    port: int = Field(3306, ge=1, le=65535, description="Port.", examples=[3306])
    socket: Path | None = Field(
        None, description="The server's socket.", examples=["/run/mysqld/mysqld.sock"]
    )
    defaults_file: Path | None = Field(
        None,
        description="An option file of mode 0600 with user and password under [client].",
        examples=["/etc/art32/my.cnf"],
    )
    row_counts: bool = Field(
        True, description="Count the rows of each table in the dump's stream.", examples=[True]
    )


class SQLiteSource(Source):
    """An SQLite database, by SQLite's backup API, safe under a live writer."""

    kind: Literal["sqlite"]
    path: Path = Field(description="The database file.", examples=["/srv/app/app.db"])
    row_counts_up_to: int = Field(
        20 * 2**30,
        ge=0,
        description="Count the rows of each table when the file is at most this many bytes.",
        examples=[21474836480],
    )


class DirectorySource(Source):
    """A directory tree, by GNU tar, with owners, modes, ACLs, extended attributes and links."""

    kind: Literal["directory"]
    path: Path = Field(description="The directory.", examples=["/srv/uploads"])
    exclude: tuple[str, ...] = Field(
        (),
        description="Patterns of GNU tar, relative to the directory, anchored at its top.",
        examples=[["./cache"]],
    )
    one_file_system: bool = Field(
        False, description="Leave out what is mounted below the directory.", examples=[False]
    )


class CommandSource(Source):
    """Whatever a command prints on its standard output."""

    kind: Literal["command"]
    command: tuple[str, ...] = Field(
        min_length=1,
        description="Program and arguments as a list; no shell. No secret belongs here: arguments "
        "are visible to every user of the host.",
        examples=[["/usr/local/bin/export-tickets", "--all"]],
    )
    trailer: str | None = Field(
        None,
        description="Text that the last 4 KiB must hold, when the format has a proper end.",
        examples=["-- export complete"],
    )


AnySource = Annotated[
    PostgreSQLSource
    | BaseBackupSource
    | MySQLSource
    | SQLiteSource
    | DirectorySource
    | CommandSource,
    Field(discriminator="kind"),
]
