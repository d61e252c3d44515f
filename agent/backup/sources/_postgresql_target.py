"""The database that a PostgreSQL backup is restored to: a new one, behind a local socket.

The server is reached through its socket alone, as the engine's operating-system user, without a
password: the engine that feeds it hostile data has neither a network nor credentials.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from agent import redact, run, sandbox
from agent.backup.sources import RestoreRequest
from agent.backup.sources import _postgresql_client as client
from agent.errors import Art32Error, Code

EXAMPLE = "postgresql:///newdb?host=/var/run/postgresql&user=restorer"
_DEFAULT_SOCKET = Path("/var/run/postgresql")
_ROLE_HINT = (
    "restore as a role for this purpose alone: CREATE ROLE restorer LOGIN CREATEDB; "
    "`--allow-superuser` lets the dump run programs on the server"
)
# Whoever may become one of these, or (before version 16) grant it, may run programs or read files
# on the server ("Predefined Roles"); whoever may replicate may read every database.
_POWERS = """
SELECT pg_catalog.json_build_object(
    'version', pg_catalog.current_setting('server_version_num')::int,
    'role', current_user,
    'createdb', r.rolcreatedb OR r.rolsuper,
    'powers', pg_catalog.array_to_json(pg_catalog.array_remove(ARRAY[
        CASE WHEN r.rolsuper THEN 'SUPERUSER' END,
        CASE WHEN r.rolcreaterole THEN 'CREATEROLE' END,
        CASE WHEN r.rolreplication THEN 'REPLICATION' END,
        CASE WHEN EXISTS (SELECT FROM pg_catalog.pg_roles o
            WHERE o.rolsuper AND pg_catalog.pg_has_role(o.oid, 'MEMBER'))
            THEN 'a superuser''s membership' END,
        CASE WHEN EXISTS (SELECT FROM pg_catalog.pg_roles o
            WHERE o.rolname IN ('pg_execute_server_program', 'pg_write_server_files',
                                'pg_read_server_files')
              AND pg_catalog.pg_has_role(o.oid, 'MEMBER'))
            THEN 'access to the server''s files or programs' END
    ], NULL)))
    FROM pg_catalog.pg_roles r WHERE r.rolname = current_user;
"""


@dataclass(frozen=True)
class Target:
    """A database to be, and how its server is reached; `options` as in libpq's "options"."""

    database: str
    socket: Path
    port: int
    user: str | None
    engine_user: str
    options: str | None = None

    @property
    def place(self) -> str:
        return f"the PostgreSQL server at `{self.socket}`"

    def connection(self, database: str) -> str:
        """Return libpq's connection string for a database of this server; nothing secret."""
        settings = {"host": str(self.socket), "port": str(self.port), "dbname": database}
        if self.user is not None:
            settings["user"] = self.user
        settings |= {"connect_timeout": "30", "application_name": "art32", "sslmode": "disable"}
        settings |= {"client_encoding": "UTF8", "passfile": "/dev/null"}
        if self.options is not None:
            settings["options"] = self.options
        quoted = (value.replace("\\", "\\\\").replace("'", "\\'") for value in settings.values())
        return " ".join(f"{key}='{value}'" for key, value in zip(settings, quoted, strict=True))

    def confined(self, argv: Sequence[str], *, directory: Path | None) -> list[str]:
        """Return an argv that runs a client program with the server's socket and nothing else."""
        readable = () if directory is None or directory.is_relative_to("/usr") else (directory,)
        return sandbox.confined(
            argv, user=self.engine_user, sockets=(self.socket,), readable=readable
        )

    def sql(
        self,
        text: str,
        *,
        database: str = client.MAINTENANCE_DATABASE,
        timeout: float = 600,
    ) -> list[Any]:
        """Run SQL of our own, confined like the rest so that the login is the same; return the
        JSON values of its rows. Raise TARGET_FAILED, TOOL_FAILED after `timeout` seconds."""
        directory = client.directory(None)
        argv = [client.program("psql", directory), *client.PSQL_OPTIONS]
        argv += ["-d", self.connection(database)]
        done = run.run(
            self.confined(argv, directory=directory),
            stdin=f"SET search_path = '';\n{text}\n".encode(),
            timeout=timeout,
        )
        if done.returncode != 0:
            raise self.refusal(done.stderr)
        return client.parse(done.stdout.splitlines())

    def refusal(self, stderr: bytes) -> Art32Error:
        """Given what a client program said, return the TARGET_FAILED to raise."""
        said = redact.diagnostic(stderr, keep=client.FAILURE_LINES) or redact.diagnostic(stderr)
        text = stderr.decode("utf-8", "replace")
        hint = None
        if "connection to server" in text:
            hint = (
                f"the login is that of the system's user `{self.engine_user}` without a password: "
                "let it in with a `peer` line in pg_hba.conf, and see that the server runs"
            )
        elif "permission denied" in text or "must be owner" in text or "must be superuser" in text:
            hint = "on a throw-away server, restore as a superuser with `--allow-superuser`"
        elif 'role "' in text and "does not exist" in text:
            hint = "restore the roles first (the member `globals:`), or leave out `--owners`"
        return Art32Error(
            Code.TARGET_FAILED, f"{self.place} refused: {said or 'no reason was given'}", hint=hint
        )


def identifier(name: str) -> str:
    """Return a name as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Return a text as an SQL literal, whatever `standard_conforming_strings` says."""
    return "E'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def parse(request: RestoreRequest) -> Target:
    """Return what a target such as `postgresql:///newdb?host=/var/run/postgresql` means.

    Raise USAGE for what is no such address or holds a password, TARGET_UNSAFE for one over TCP.
    """
    wrong = Art32Error(
        Code.USAGE,
        "the target is no address of a new PostgreSQL database behind a local socket",
        hint=f"write it as `{EXAMPLE}`",
    )
    try:
        parts = urlsplit(request.target)
        options = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
        settings = dict(options)
        port = int(settings.pop("port", parts.port or 5432))
        password = parts.password or settings.pop("password", None)
        user = settings.pop("user", None) or (unquote(parts.username) if parts.username else None)
        host = settings.pop("host", None) or unquote(parts.hostname or "") or str(_DEFAULT_SOCKET)
    except ValueError as error:
        raise wrong from error
    database = unquote(parts.path.removeprefix("/"))
    if password is not None:
        raise Art32Error(
            Code.USAGE,
            "the target holds a password, which every user of this machine can see",
            hint="let the engine's user in without one, by a `peer` line in pg_hba.conf",
        )
    if parts.scheme not in ("postgresql", "postgres") or settings or "\0" in database + host:
        raise wrong
    if not database or len(database.encode()) > 63:
        raise wrong
    if not host.startswith("/"):
        raise Art32Error(
            Code.TARGET_UNSAFE,
            f"a restore to `{host}` over TCP is not offered: what feeds the server with restored "
            "data has no network",
            hint="run it on the server, through its socket, or take the dump with `--to -` and "
            "feed it to `pg_restore`",
        )
    return Target(database, Path(host), port, user, request.engine_user)


def check(request: RestoreRequest) -> Target:
    """Return the target when a restore may begin.

    Raise TARGET_FAILED when the server does not let us in or the role may not create databases,
    TARGET_UNSAFE when the role has powers that a dump could use and the request does not allow
    them, TARGET_EXISTS when the database is there and the request does not say `overwrite`.
    """
    target = parse(request)
    if not target.socket.is_dir():
        raise Art32Error(
            Code.TARGET_FAILED,
            f"there is no directory `{target.socket}` with a server's socket",
            hint="name the directory of the socket as `host`; `SHOW unix_socket_directories`",
        )
    role = target.sql(_POWERS)[0]
    if role["powers"] and not request.allow_superuser:
        raise Art32Error(
            Code.TARGET_UNSAFE,
            f"the role has {', '.join(role['powers'])}, which a dump could use",
            hint=_ROLE_HINT,
        )
    if not role["createdb"]:
        raise Art32Error(Code.TARGET_FAILED, "the role may not create databases", hint=_ROLE_HINT)
    if exists(target, target.database) and not request.overwrite:
        raise Art32Error(
            Code.TARGET_EXISTS,
            f"the database `{target.database}` exists already",
            hint="name a new one, or add `--overwrite`: the old one is kept under another name",
        )
    return target


def exists(target: Target, database: str) -> bool:
    """Tell whether the server has a database of that name."""
    sql = "SELECT pg_catalog.to_json(pg_catalog.count(*)) FROM pg_catalog.pg_database"
    return bool(target.sql(f"{sql} WHERE datname = {literal(database)};")[0])
