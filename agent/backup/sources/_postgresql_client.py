"""PostgreSQL's client programs: which ones, how they connect, and what their complaints mean."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent import redact, run
from agent.backup.sources import _rds_token
from agent.config.sources import PostgreSQLConnection, PostgreSQLSource
from agent.errors import Art32Error, Code

MAINTENANCE_DATABASE = "postgres"
PSQL_OPTIONS = ("-X", "-w", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1")
FAILURE_LINES = re.compile(r"error:|ERROR:|FATAL:|PANIC:")
_INSTALLED = Path("/usr/lib/postgresql")
_SYSTEM_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
_CONNECT_SECONDS = "30"


def directory(configured: Path | None, *, major: int | None = None) -> Path | None:
    """Return the directory of the client programs, None for the search path.

    That is the configured one; else, under /usr/lib/postgresql, the server's major version when
    it is known and there, otherwise the newest.
    """
    if configured is not None:
        return configured
    found = {
        int(path.parts[-3]): path.parent
        for path in _INSTALLED.glob("*/bin/pg_dump")
        if path.parts[-3].isdigit()
    }
    if not found:
        return None
    return found.get(major or 0, found[max(found)])


def program(name: str, where: Path | None) -> str:
    """Return the path of a client program; raise TOOL_MISSING when it is not there."""
    if where is None:
        return run.find(name, package="postgresql-client")
    path = where / name
    if not os.access(path, os.X_OK):
        raise Art32Error(
            Code.TOOL_MISSING,
            f"`{path}` is not there or may not be run",
            hint="install postgresql-client, or set `binaries` to the directory of `pg_dump`",
        )
    return str(path)


def major_version(path: str) -> int:
    """Return the major version that a client program states; raise TOOL_FAILED when it does not."""
    said = run.run([path, "--version"], timeout=30).stdout.decode("ascii", "replace")
    match = re.search(r"\(PostgreSQL\) (\d+)", said)
    if match is None:
        raise Art32Error(Code.TOOL_FAILED, f"`{path}` does not state its version")
    return int(match[1])


def is_socket(host: str | None) -> bool:
    """Tell whether libpq takes this host for a local socket's directory."""
    return host is None or host.startswith(("/", "@"))


def _is_loopback(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")


def place(config: PostgreSQLConnection) -> str:
    """Return how to name the server in a message."""
    if is_socket(config.host):
        return f"the PostgreSQL server at `{config.host or 'the default socket'}`"
    return f"the PostgreSQL server at `{config.host}:{config.port}`"


def environment(config: PostgreSQLConnection, database: str) -> dict[str, str]:
    """Return the PG* variables of a connection (libpq, "Environment Variables").

    A database goes by variable because in an argument a name with `=` would be taken for a
    connection string. The password stands in a file that libpq itself reads; raise PERMISSION
    when others may read that file, which libpq would answer by ignoring it, and SOURCE_MISSING
    when it is not there.
    """
    variables = {
        "PGDATABASE": database,
        "PGPORT": str(config.port),
        "PGAPPNAME": "art32",
        "PGCONNECT_TIMEOUT": _CONNECT_SECONDS,
    }
    if config.host is not None:
        variables["PGHOST"] = config.host
    if config.user is not None:
        variables["PGUSER"] = config.user
    if config.password_file is not None:
        require_private(config.password_file)
        variables["PGPASSFILE"] = str(config.password_file)
    mode = config.ssl_mode
    if config.host is not None and not is_socket(config.host):
        if mode is None and not _is_loopback(config.host):
            mode = "verify-full"
        if config.ssl_root_certificate is not None:
            variables["PGSSLROOTCERT"] = str(config.ssl_root_certificate)
        elif mode in ("verify-ca", "verify-full") and _SYSTEM_CERTIFICATES.exists():
            variables["PGSSLROOTCERT"] = str(_SYSTEM_CERTIFICATES)
    if mode is not None:
        variables["PGSSLMODE"] = mode
    return variables


@dataclass(frozen=True)
class Login:
    """What a client program is started with to log in once: variables, and open files."""

    variables: dict[str, str]
    descriptors: tuple[int, ...] = ()


@contextlib.contextmanager
def login(config: PostgreSQLConnection, database: str) -> Iterator[Login]:
    """Hold the login of one client program for the block, in which it must be started.

    With `rds_iam_region` a token is signed for it, which is good for 15 minutes. libpq reads it
    from memory that has no name (memfd_create(2)): it stands in no argument, in no environment and
    on no disk. Raise what `environment` and `_rds_token.sign` raise.
    """
    variables = environment(config, database)
    if not isinstance(config, PostgreSQLSource) or config.rds_iam_region is None:
        yield Login(variables)
        return
    token = _rds_token.sign(config)
    escaped = token.replace("\\", "\\\\").replace(":", "\\:")
    descriptor = os.memfd_create("art32")
    try:
        os.fchmod(descriptor, 0o600)  # libpq ignores what others may read
        os.write(descriptor, f"*:*:*:*:{escaped}\n".encode())
        yield Login(
            {**variables, "PGPASSFILE": f"/proc/self/fd/{descriptor}", "PGSSLMODE": "verify-full"},
            (descriptor,),
        )
    finally:
        os.close(descriptor)


def require_private(path: Path) -> None:
    """Raise unless a file with a password is a readable regular file for its owner alone."""
    try:
        status = path.stat()
    except PermissionError as error:
        raise Art32Error(Code.PERMISSION, f"the password file `{path}` may not be read") from error
    except OSError as error:
        raise Art32Error(
            Code.SOURCE_MISSING,
            f"the password file `{path}` is not there",
            hint="create it with mode 0600, or correct its path in the configuration",
        ) from error
    if not path.is_file() or status.st_mode & 0o077:
        raise Art32Error(
            Code.PERMISSION,
            f"the password file `{path}` is open to others or no regular file",
            hint=f"chmod 0600 {path}",
        )
    if not os.access(path, os.R_OK):
        raise Art32Error(
            Code.PERMISSION,
            f"the password file `{path}` may not be read",
            hint=f"make it belong to the user that runs the backup: chown USER {path}",
        )


def query(
    psql: str,
    variables: dict[str, str],
    sql: str,
    *,
    where: str,
    pass_fds: Sequence[int] = (),
) -> list[Any]:
    """Run fixed SQL whose every row is one JSON text; return the rows.

    Raise what `explain` makes of a failure.
    """
    done = run.run(
        [psql, *PSQL_OPTIONS],
        stdin=f"SET search_path = '';\n{sql}\n".encode(),
        extra_environment={**variables, "PGCLIENTENCODING": "UTF8"},
        pass_fds=pass_fds,
    )
    if done.returncode != 0:
        raise explain(done.stderr, where=where)
    return parse(done.stdout.splitlines())


def parse(lines: Sequence[bytes]) -> list[Any]:
    """Given lines of JSON from psql, return their values."""
    return [json.loads(line.decode("utf-8", "replace")) for line in lines if line]


_UNREACHABLE = re.compile(
    r"No such file or directory|Connection refused|could not translate host name|timeout expired"
    r"|No route to host|Network is unreachable|the database system is|Connection timed out"
)
_MEANINGS: tuple[tuple[re.Pattern[str], Code, str, str], ...] = (
    (
        re.compile(r'database "[^"]*" does not exist'),
        Code.SOURCE_MISSING,
        "the database does not exist on {where}",
        "list them with `psql -l`, and correct `database` in the configuration",
    ),
    (
        re.compile(r"(?:PAM|LDAP) authentication failed"),
        Code.SOURCE_FAILED,
        "{where} refuses the token",
        "GRANT rds_iam to it, allow this machine `rds-db:connect` for it, and look at the clock",
    ),
    (
        re.compile(r"no password supplied|password authentication failed|empty password"),
        Code.SOURCE_FAILED,
        "{where} refuses the login",
        "name a file of mode 0600 with `host:port:database:user:password` as `password_file`",
    ),
    (
        re.compile(r'role "[^"]*" does not exist|Peer authentication failed|no pg_hba.conf entry'),
        Code.SOURCE_FAILED,
        "{where} refuses the login",
        "create the role and let it in with a line in pg_hba.conf, or correct `user`",
    ),
    (
        re.compile(r"SSL|certificate"),
        Code.SOURCE_FAILED,
        "no verified TLS connection to {where}",
        "set `ssl_root_certificate` to the server's CA, and `host` to the name it certifies",
    ),
    (
        re.compile(r"canceling statement due to (?:statement|lock) timeout"),
        Code.SOURCE_FAILED,
        "a table was locked for too long on {where}",
        "see who holds it in `pg_locks`; back up at another time, or raise `lock_wait_seconds`",
    ),
    (
        re.compile(r"permission denied|must be superuser|row-level security|not allowed"),
        Code.SOURCE_FAILED,
        "the role may not read everything on {where}",
        "grant pg_read_all_data to the role; row-level security also needs BYPASSRLS",
    ),
    (
        re.compile(r"server version mismatch"),
        Code.SOURCE_FAILED,
        "`pg_dump` is older than {where}",
        "install the client programs of the server's version, or set `binaries`",
    ),
)


def explain(stderr: bytes, *, where: str, doing: str = "the dump failed") -> Art32Error:
    """Given what a client program said, return the error to raise, with a hint where one is known.

    SOURCE_MISSING means that the server or the database is not there; everything else is
    SOURCE_FAILED.
    """
    said = redact.diagnostic(stderr, keep=FAILURE_LINES) or redact.diagnostic(stderr)
    text = stderr.decode("utf-8", "replace")
    for pattern, code, sentence, hint in _MEANINGS:
        if pattern.search(text):
            return Art32Error(code, f"{sentence.format(where=where)}: {said}", hint=hint)
    if _UNREACHABLE.search(text):
        return Art32Error(
            Code.SOURCE_MISSING,
            f"{where} does not answer: {said}",
            hint="start it, or correct `host` and `port`; a socket is named by its directory",
        )
    return Art32Error(Code.SOURCE_FAILED, f"{doing} on {where}: {said or 'no reason was given'}")
