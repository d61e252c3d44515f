"""Restoring MySQL and MariaDB: plain SQL, so the account that runs it must be able to do little.

The client runs confined with `--binary-mode`, which leaves it no commands of its own (mysql(1)):
`\\!` and `system` are then text for the server. What the server does is bounded by the account's
grants alone. A database cannot be renamed here: it is made under its final name, and a table
`art32_restore_incomplete` stands in it until all is there; its comment says of which restore. In
MariaDB the database is made with such a comment of its own, which goes when the table is there: no
kill in between leaves a database that is nobody's. MySQL has no comments of databases.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from agent import run, sandbox
from agent.backup.sources import RestoreRequest
from agent.backup.sources import _mysql_client as client
from agent.backup.sources._mysql_client import identifier, literal
from agent.backup.sources._mysql_sections import one_table
from agent.backup.sources._process import Tail
from agent.errors import Art32Error, Code
from agent.run import Process

EXAMPLE = "mysql:///newdb?socket=/run/mysqld/mysqld.sock&user=restorer"
MARKER = "art32_restore_incomplete"
TRAILER = re.compile(rb"^-- Dump completed", re.MULTILINE)
_DEFAULT_SOCKET = "/run/mysqld/mysqld.sock"
_HARMLESS = re.compile(r"^GRANT (?:USAGE|SHOW DATABASES|PROCESS)(?:, (?:SHOW DATABASES|PROCESS))* ")
_ON_DATABASE = re.compile(r"^GRANT .+? ON (?:TABLE )?`((?:[^`]|``)+)`\.", re.IGNORECASE)
_NAME = re.compile(r"[A-Za-z0-9_]{1,64}")
_ACCOUNT_HINT = (
    "restore as an account for this purpose alone, such as: CREATE USER restorer IDENTIFIED VIA "
    "unix_socket; GRANT ALL ON `restored%`.* TO restorer; `--allow-superuser` lets the dump do "
    "all that the account may"
)


@dataclass(frozen=True)
class Target:
    """A database to be, and how its server is reached."""

    database: str
    socket: Path
    user: str | None
    engine_user: str

    def confined(self, *options: str) -> list[str]:
        """Return the argv of a client that sees the server's socket and nothing else."""
        argv = [client.client(), "--no-defaults", "--local-infile=0", f"--socket={self.socket}"]
        if self.user is not None:
            argv.append(f"--user={self.user}")
        return sandbox.confined(
            [*argv, *options], user=self.engine_user, sockets=(self.socket.parent,)
        )

    def sql(self, text: str, *, timeout: float = 600) -> list[str]:
        """Run SQL of our own, confined like the rest so that the login is the same; return the
        rows. Raise TARGET_FAILED, TOOL_FAILED after `timeout` seconds."""
        done = run.run(self.confined(*client.QUERY_OPTIONS), stdin=text.encode(), timeout=timeout)
        if done.returncode != 0:
            raise self.refusal(done.stderr)
        return done.stdout.decode("utf-8", "replace").splitlines()

    def refusal(self, stderr: bytes) -> Art32Error:
        """Given what the client said, return the TARGET_FAILED to raise."""
        text = stderr.decode("utf-8", "replace")
        hint = None
        if "ERROR 1227" in text or "SUPER" in text or "SET USER" in text:
            hint = (
                "triggers, routines and views of another definer need more rights: on a "
                "throw-away server, restore with `--allow-superuser`"
            )
        elif "ERROR 1054" in text or "ERROR 1146" in text:
            hint = (
                "a view or a routine may name the old database: restore under that name, on a "
                "server that has none of it"
            )
        elif "denied" in text:
            hint = _ACCOUNT_HINT
        elif "connect" in text:
            hint = "start the server, and name its socket as `socket`"
        where = f"the server at `{self.socket}`"
        return Art32Error(
            Code.TARGET_FAILED, f"{where} refused: {client.complaint(stderr)}", hint=hint
        )


def parse(request: RestoreRequest) -> Target:
    """Return what a target such as `mysql:///newdb?socket=/run/mysqld/mysqld.sock` means.

    Raise USAGE for what is no such address or holds a password, TARGET_UNSAFE for one over TCP.
    """
    wrong = Art32Error(
        Code.USAGE,
        "the target is no address of a new MySQL database behind a local socket",
        hint=f"write it as `{EXAMPLE}`",
    )
    try:
        parts = urlsplit(request.target)
        strict = bool(parts.query)
        settings = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=strict))
        host, name = parts.hostname, parts.username
        password = parts.password or settings.pop("password", None)
    except ValueError as error:
        raise wrong from error
    if password is not None:
        raise Art32Error(
            Code.USAGE,
            "the target holds a password, which every user of this machine can see",
            hint="let the engine's user in by its socket: IDENTIFIED VIA unix_socket",
        )
    if parts.scheme not in ("mysql", "mariadb"):
        raise wrong
    if host is not None or "host" in settings:
        raise Art32Error(
            Code.TARGET_UNSAFE,
            "a restore over TCP is not offered: what feeds the server with restored data has no "
            "network",
            hint="run it on the server, through its socket, or take the dump with `--to -`",
        )
    socket = settings.pop("socket", _DEFAULT_SOCKET)
    user = settings.pop("user", None) or (unquote(name) if name else None)
    database = unquote(parts.path.removeprefix("/"))
    impossible = not database or len(database) > 64 or "\0" in database or "\n" in database
    if settings or impossible or not socket.startswith("/"):
        raise wrong
    return Target(database, Path(socket), user, request.engine_user)


def check_target(request: RestoreRequest) -> None:
    """Raise unless a restore to the request's target may begin; see `_check`."""
    _check(request)


def _check(request: RestoreRequest) -> Target:
    """Return the target when a restore may begin.

    Raise TARGET_FAILED when the server does not let us in, TARGET_UNSAFE when the account has
    global rights, roles, or rights on the server's own tables and the request does not allow it,
    TARGET_EXISTS when the database is there: nothing can be renamed aside here.
    """
    target = parse(request)
    if not target.socket.is_socket():
        raise Art32Error(
            Code.TARGET_FAILED,
            f"there is no socket `{target.socket}`",
            hint="start the server, and name its socket as `socket`",
        )
    grants = target.sql("SHOW GRANTS FOR CURRENT_USER();")
    if not request.allow_superuser and not all(_is_limited(grant) for grant in grants):
        raise Art32Error(
            Code.TARGET_UNSAFE,
            "the account has rights beyond single databases, which a dump could use",
            hint=_ACCOUNT_HINT,
        )
    names = "SELECT COUNT(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = "
    if target.sql(f"{names}{literal(target.database)};") != ["0"]:
        raise Art32Error(
            Code.TARGET_EXISTS,
            f"the database `{target.database}` exists already",
            hint="name a new one; MySQL cannot rename a database aside, so none is overwritten",
        )
    return target


def _is_limited(grant: str) -> bool:
    """Tell whether a grant reaches no further than databases of users."""
    if " WITH GRANT OPTION" in grant:
        return False
    if (match := _ON_DATABASE.match(grant)) is not None:
        return match[1].lower() not in ("mysql", "sys", "performance_schema", "%", "%%")
    return bool(_HARMLESS.match(grant)) and " ON *.* " in grant


def restore(stream: Iterator[bytes], request: RestoreRequest) -> str:
    """Restore a dump into a new database and return a sentence about it.

    The database has the character set and collation of the backup's facts. With `only`, what
    concerns one table is picked out of the stream. Raise the errors of `check_target`, and
    TARGET_FAILED when the server refuses a statement or the dump has no trailer; then, and on any
    other exception, the new database is dropped.
    """
    target = _check(request)
    name = identifier(target.database)
    commented = _has_comments(target)
    mark = f" COMMENT '{_mark(request)}'" if commented else ""
    target.sql(f"CREATE DATABASE {name}{_character_set(request)}{mark};")
    try:
        target.sql(f"CREATE TABLE {name}.{MARKER} (incomplete INT) COMMENT '{request.token}';")
        if commented:
            target.sql(f"ALTER DATABASE {name}{_character_set(request)} COMMENT '';")
        _feed(stream, target, request)
        target.sql(f"DROP TABLE {name}.{MARKER};")
    except BaseException:
        with contextlib.suppress(Art32Error):
            target.sql(f"DROP DATABASE IF EXISTS {name};")
        raise
    what = f"the table `{request.only}`" if request.only else "the backup"
    return f"{what} is in the new database `{target.database}`"


def left(request: RestoreRequest) -> str | None:
    """Return the name of the database that a killed restore left; raise TARGET_FAILED when the
    server does not answer. One without the marker of this very restore is finished, or another's.
    """
    target = parse(request)
    tables = "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = "
    marker = f" AND TABLE_NAME = {literal(MARKER)} AND TABLE_COMMENT = {literal(request.token)};"
    marked = target.sql(f"{tables}{literal(target.database)}{marker}")
    if marked == ["0"] and _has_comments(target):
        databases = "SELECT COUNT(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = "
        mark = f" AND SCHEMA_COMMENT = {literal(_mark(request))};"
        marked = target.sql(f"{databases}{literal(target.database)}{mark}")
    place = f"the database `{target.database}` of the server at `{target.socket}`"
    return place if marked != ["0"] else None


def discard(request: RestoreRequest) -> None:
    """Drop the database that a killed restore left; raise TARGET_FAILED."""
    if left(request) is not None:
        target = parse(request)
        target.sql(f"DROP DATABASE {identifier(target.database)};")


def _mark(request: RestoreRequest) -> str:
    return f"{MARKER} {request.token}"


def _has_comments(target: Target) -> bool:
    """Whether this server has comments of databases: MariaDB from 10.5 on."""
    sql = (
        "SELECT COUNT(*) FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = 'information_schema' "
        "AND TABLE_NAME = 'SCHEMATA' AND COLUMN_NAME = 'SCHEMA_COMMENT';"
    )
    return target.sql(sql) != ["0"]


def _character_set(request: RestoreRequest) -> str:
    clauses = ""
    for fact, keyword in (("character_set", "CHARACTER SET"), ("collation", "COLLATE")):
        value = request.facts.get(fact)
        if isinstance(value, str) and _NAME.fullmatch(value):
            clauses += f" {keyword} {value}"
    return clauses


def _feed(stream: Iterator[bytes], target: Target, request: RestoreRequest) -> None:
    tail = Tail(512)

    def watched() -> Iterator[bytes]:
        for chunk in stream:
            tail(chunk)
            yield chunk

    pieces = watched() if request.only is None else one_table(watched(), request.only)
    options = ("--binary-mode", "--default-character-set=utf8mb4", "--batch")
    argv = target.confined(*options, f"--database={target.database}")
    with Process(argv, stdin=run.PIPE, stdout=run.DEVNULL) as process:
        try:
            for chunk in pieces:
                view = memoryview(chunk)
                while view:
                    view = view[os.write(process.stdin.fileno(), view) :]
            if not TRAILER.search(tail.value):
                raise Art32Error(
                    Code.TARGET_FAILED, "the dump does not end with its trailer `-- Dump completed`"
                )
            process.stdin.close()
        except BrokenPipeError:
            process.wait()
            raise target.refusal(process.stderr) from None
        if process.wait() != 0:
            raise target.refusal(process.stderr)
