"""The demo's PostgreSQL: a real server of its own, on a socket alone, gone afterwards.

PostgreSQL refuses to run as root and its sockets need short paths: the server's files stand in a
short directory under /tmp, and as root it runs under the uid of `nobody`. A server that happens to
run on this machine is never looked at.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from agent import clock
from demo.data import Row, Table, Value, tables
from demo.database import Download, compare_lists, compare_rows, quoted
from demo.terminal import DemoError, Report, quiet, running

_SERVER_USER = "nobody"
_ADMIN = "admin"
_BACKUP = "art32_backup"
_RESTORER = "restorer"
_ORIGINAL = "shop"
_PATIENCE = 60
_PARENT = "/tmp"  # noqa: S108 - mkdtemp makes a private directory
_PREFIX = "art32-demo-pg-"
_HOME = re.compile(rf"^{_PREFIX}(\d+)-")
_ESCAPES = (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r"))


def binaries() -> Path | None:
    """Return the directory of the newest server's programs, None when none is installed."""
    found = sorted(
        (path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")),
        key=lambda path: int(path.parent.name) if path.parent.name.isdigit() else 0,
    )
    if found:
        return found[-1]
    initdb = shutil.which("initdb")
    return Path(initdb).parent if initdb else None


def _dropped(argv: Sequence[str]) -> list[str]:
    """Return an argv that runs as the server's user and is stopped when this process dies."""
    stopped = ["setpriv", "--pdeathsig", "INT", "--", *argv]
    if os.geteuid() != 0:
        return stopped
    account = pwd.getpwnam(_SERVER_USER)
    ids = f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"
    return ["setpriv", *ids, "--", *stopped]


def _sweep() -> None:
    """Remove what a demo that was killed has left."""
    owner = pwd.getpwnam(_SERVER_USER).pw_uid if os.geteuid() == 0 else os.geteuid()
    for path in Path(_PARENT).glob(f"{_PREFIX}*"):
        match = _HOME.match(path.name)
        with contextlib.suppress(OSError):
            gone = match is not None and not Path("/proc", match[1]).exists()
            if gone and path.lstat().st_uid == owner:
                shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def _home() -> Iterator[Path]:
    _sweep()
    path = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=_PARENT))
    try:
        if os.geteuid() == 0:
            account = pwd.getpwnam(_SERVER_USER)
            os.chown(path, account.pw_uid, account.pw_gid)
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def started(programs: Path, log: Path) -> Iterator[PostgreSQL]:
    """Hold a server for the block: made, started, with its roles, and stopped whatever happens."""
    with _home() as home:
        data = home / "data"
        options = ("--auth-local=peer", "--auth-host=reject", "--encoding=UTF8", "--locale=C.UTF-8")
        initdb = [str(programs / "initdb"), "--pgdata", str(data), "--username", _ADMIN, *options]
        quiet(_dropped(initdb), cwd=home)
        _let_in(data)
        argv = [str(programs / "postgres"), "-D", str(data), "-c", "listen_addresses="]
        argv += ["-c", f"unix_socket_directories={home}", "-c", "shared_buffers=64MB"]
        with log.open("wb") as output:
            child = subprocess.Popen(
                _dropped(argv), stdout=output, stderr=output, cwd=home, start_new_session=True
            )
        try:
            server = PostgreSQL(programs, home, _name(programs))
            server.wait_for(child, log)
            server.make_roles()
            yield server
        finally:
            child.send_signal(signal.SIGINT)
            try:
                child.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def _name(programs: Path) -> str:
    said = quiet([programs / "postgres", "--version"]).decode()
    found = re.search(r"\d+(\.\d+)?", said)
    return f"PostgreSQL {found[0] if found else ''}".strip()


def _let_in(data: Path) -> None:
    """Let this user be every role, and the confined engine the restorer, each by its own uid."""
    me = pwd.getpwuid(os.geteuid()).pw_name
    pairs = [(me, role) for role in (_ADMIN, _BACKUP, _RESTORER)]
    if os.geteuid() == 0:
        pairs.append((_SERVER_USER, _RESTORER))
    (data / "pg_hba.conf").write_text("local all all peer map=demo\n")
    (data / "pg_ident.conf").write_text("".join(f'demo "{who}" {role}\n' for who, role in pairs))


@dataclass(frozen=True)
class PostgreSQL:
    """A running server; `socket` is the directory of its socket."""

    programs: Path
    socket: Path
    name: str
    confined = True

    def _environment(self, role: str, database: str) -> dict[str, str]:
        connection = {"PGHOST": str(self.socket), "PGUSER": role, "PGDATABASE": database}
        return {**connection, "PGCLIENTENCODING": "UTF8", "PGPORT": "5432"}

    def _psql(self, *arguments: str) -> list[str | Path]:
        options = ("-X", "-w", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1")
        return [self.programs / "psql", *options, *arguments]

    def _sql(self, text: str, *, role: str = _ADMIN, database: str = "postgres") -> list[str]:
        done = quiet(
            self._psql(), stdin=text.encode(), environment=self._environment(role, database)
        )
        return done.decode().splitlines()

    def wait_for(self, child: subprocess.Popen[bytes], log: Path) -> None:
        """Return when the server answers; raise DemoError when it does not."""
        end = clock.monotonic() + _PATIENCE
        while True:
            try:
                self._sql("")
            except DemoError as error:
                if child.poll() is not None or clock.monotonic() > end:
                    said = log.read_text(errors="replace").strip().splitlines()[-1:]
                    raise DemoError(f"PostgreSQL did not start: {' '.join(said)}") from error
                clock.sleep(0.1)
            else:
                return

    def make_roles(self) -> None:
        """Make the roles as the README says, and the database."""
        self._sql(
            f"CREATE ROLE {_BACKUP} LOGIN; GRANT pg_read_all_data TO {_BACKUP};"
            f"CREATE ROLE {_RESTORER} LOGIN CREATEDB; CREATE ROLE shop_owner;"
        )
        self._sql(f"CREATE DATABASE {_ORIGINAL} TEMPLATE template0 OWNER shop_owner")

    def section(self) -> str:
        return (
            f'[[sources]]\nname = "shop"\nkind = "postgresql"\ndatabase = "{_ORIGINAL}"\n'
            f'host = {quoted(self.socket)}\nuser = "{_BACKUP}"\n'
        )

    def fill(self, scale: float) -> int:
        environment = self._environment(_ADMIN, _ORIGINAL)
        with running(
            self._psql("-1"),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            environment=environment,
        ) as psql:
            assert psql.stdin is not None
            try:
                psql.stdin.write(b"SET ROLE shop_owner;\n")
                for table in tables():
                    for piece in _script(table, scale):
                        psql.stdin.write(piece)
                psql.stdin.close()
            except BrokenPipeError:
                pass
            if psql.wait() != 0:
                raise DemoError("psql could not fill the database")
        self._sql("VACUUM ANALYZE", database=_ORIGINAL)
        sizes = (f"pg_table_size('{table.name}')" for table in tables())
        return int(self._sql(f"SELECT {' + '.join(sizes)}", database=_ORIGINAL)[0])

    def target(self, name: str) -> str:
        return f"postgresql:///{name}?host={self.socket}&user={_RESTORER}"

    def restore_by_hand(self, report: Report, download: Download, name: str) -> None:
        partial = f"{name}_partial"
        where = ("-h", str(self.socket), "-U", _RESTORER)
        self._show_and_run(report, "createdb", *where, partial)
        options = ("--exit-on-error", "--no-owner", "--no-privileges", *where, "-d", partial)
        report.show(f"{download.shown} |\n       {shlex.join(('pg_restore', *options))}")
        argv: list[str | Path] = [self.programs / "pg_restore", *options]
        with running(download.argv, stdout=subprocess.PIPE) as script:
            assert script.stdout is not None
            with running(argv, stdin=script.stdout.fileno()) as restore:
                script.stdout.close()
                statuses = restore.wait(), script.wait()
        if statuses != (0, 0):
            raise DemoError("the restore with stock tools failed")
        rename = f"ALTER DATABASE {partial} RENAME TO {name}"
        self._show_and_run(report, "psql", "-X", "-q", *where, "-d", "postgres", "-c", rename)

    def _show_and_run(self, report: Report, program: str, *arguments: str) -> None:
        shown = shlex.join((program, *arguments))
        report.command([self.programs / program, *arguments], shown=shown)

    def compare(self, name: str) -> list[tuple[str, int]]:
        compare_lists("the schemas", self._schema(_ORIGINAL), self._schema(name))
        return [
            (
                table.name,
                compare_rows(
                    table.name, self._rows(_ORIGINAL, table.name), self._rows(name, table.name)
                ),
            )
            for table in tables()
        ]

    def _rows(self, database: str, table: str) -> Iterator[bytes]:
        query = f"COPY (SELECT * FROM {table} ORDER BY id) TO STDOUT"  # noqa: S608 - our own name
        environment = self._environment(_ADMIN, database)
        with running(
            self._psql("-c", query), stdout=subprocess.PIPE, environment=environment
        ) as psql:
            assert psql.stdout is not None
            yield from psql.stdout
            if psql.wait() != 0:
                raise DemoError(f"psql could not read table `{table}`")

    def _schema(self, database: str) -> list[str]:
        """Return the schema as SQL, without owners, which a restore leaves out, and without the
        line with a random word that newer versions print."""
        options = ("--schema-only", "--no-owner", "--no-privileges")
        environment = self._environment(_ADMIN, database)
        done = quiet([self.programs / "pg_dump", *options], environment=environment)
        lines = done.decode().splitlines()
        return [line for line in lines if not line.startswith(("\\restrict", "\\unrestrict"))]


def _script(table: Table, scale: float) -> Iterator[bytes]:
    columns = ", ".join(f"{name} {kind}" for name, kind, _ in table.columns)
    yield f"CREATE TABLE {table.name} ({columns});\nCOPY {table.name} FROM STDIN;\n".encode()
    rows = table.rows(scale)
    while batch := list(islice(rows, 1000)):
        yield "".join(map(_line, batch)).encode()
    yield b"\\.\n"
    if table.reference:  # faster than a check of each row
        column, other = table.reference
        yield f"CREATE INDEX {table.name}_by ON {table.name} ({column});\n".encode()
        key = f"FOREIGN KEY ({column}) REFERENCES {other} (id)"
        yield f"ALTER TABLE {table.name} ADD {key};\n".encode()
    sequence = f"pg_get_serial_sequence('{table.name}', 'id')"
    yield f"SELECT setval({sequence}, max(id)) FROM {table.name};\n".encode()  # noqa: S608


def _line(row: Row) -> str:
    return "\t".join(map(_field, row)) + "\n"


def _field(value: Value) -> str:
    """Return a value in the text format of COPY."""
    if value is None:
        return "\\N"
    if isinstance(value, bytes):
        return "\\\\x" + value.hex()
    if isinstance(value, bool):
        return "t" if value else "f"
    if isinstance(value, int):
        return str(value)
    for plain, escaped in _ESCAPES:
        value = value.replace(plain, escaped)
    return value
