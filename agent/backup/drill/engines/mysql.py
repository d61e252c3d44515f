"""A throw-away MariaDB: its own data directory, on a socket, without a network, confined."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from agent import redact, run, sandbox
from agent.backup.drill.engines import START_SECONDS, Check, await_start, counted
from agent.backup.manifest import Details
from agent.backup.sources import RestoreRequest
from agent.backup.sources import _mysql_restore as targets
from agent.backup.sources._mysql_client import identifier, literal
from agent.config.drill import DrillCheck
from agent.errors import Art32Error, Code

_DATABASE = "drill"
_OWN = ("mysql", "sys", "information_schema", "performance_schema")
_LONG_SECONDS = 6 * 3600.0
_SETTINGS = (
    "--skip-networking",
    "--skip-name-resolve",
    "--skip-log-bin",
    "--event-scheduler=OFF",
    "--local-infile=0",
    "--innodb-flush-log-at-trx-commit=0",
    "--innodb-flush-method=nosync",
    "--character-set-server=utf8mb4",
)


class MariaDB:
    """The running server; `target` names the database that a restore makes."""

    def __init__(self, place: Path, user: str, database: str) -> None:
        self._database = database
        self.target = f"mysql:///{quote(database, safe='')}?socket={place}/s&user=root"
        self._server = targets.parse(RestoreRequest(self.target, {}, engine_user=user))

    def ready(self) -> bool:
        """Whether it answers."""
        try:
            self._server.sql("SELECT 1;")
        except Art32Error:
            return False
        return True

    def _values(self, sql: str) -> list[str]:
        return self._server.sql(f"USE {identifier(self._database)};\n{sql}", timeout=_LONG_SECONDS)

    def _tables(self) -> list[str]:
        rows = self._values(
            "SELECT HEX(TABLE_NAME) FROM information_schema.TABLES"  # noqa: S608
            f" WHERE TABLE_SCHEMA = {literal(self._database)} AND TABLE_TYPE = 'BASE TABLE';"
        )
        return [bytes.fromhex(row).decode("utf-8", "replace") for row in rows]

    def examine(self, details: Details, wanted: DrillCheck) -> Iterator[Check]:
        tables = self._tables()
        rows = {}
        if details.rows is not None:
            for table in tables:
                (count,) = self._values(f"SELECT COUNT(*) FROM {identifier(table)};")  # noqa: S608
                rows[table] = int(count)
        yield counted(details.rows, rows)
        yield self._check_tables(tables)
        for number, assertion in enumerate(wanted.assertions, 1):
            yield self._assertion(number, assertion)

    def _check_tables(self, tables: list[str]) -> Check:
        """Read every table and its indexes (CHECK TABLE)."""
        bad = 0
        for table in tables:
            answers = self._values(f"CHECK TABLE {identifier(table)} EXTENDED;")
            bad += not answers or answers[-1].split("\t")[2:] != ["status", "OK"]
        if bad:
            return Check("tables", False, f"{bad} of {len(tables)} tables are damaged")
        return Check("tables", True, f"{len(tables)} tables were read")

    def _assertion(self, number: int, assertion: str) -> Check:
        name = f"assertion {number}"
        try:
            answers = self._values(f"{assertion.strip().rstrip(';')};")
        except Art32Error as error:
            return Check(name, False, error.sentence)
        return Check(name, answers == ["1"], "holds" if answers == ["1"] else "does not hold")

    def newest_row(self, wanted: DrillCheck) -> datetime | None:
        """A DATETIME has no zone: it is taken for UTC, as the query must give it."""
        if wanted.newest_row is None:
            return None
        answers = self._values(f"{wanted.newest_row.strip().rstrip(';')};")
        try:
            (text,) = answers
            moment = datetime.fromisoformat(text)
        except ValueError as error:
            raise Art32Error(
                Code.DRILL_FAILED,
                f"`newest_row` of source `{wanted.source}` gives no time",
                hint="it must select one DATETIME in UTC, as in SELECT MAX(created_at) FROM orders",
            ) from error
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def _name(details: Details) -> str:
    """Return the name of the database that was backed up: views and routines may hold it."""
    name = details.facts.get("database")
    if not isinstance(name, str) or not 0 < len(name) <= 64 or name.lower() in _OWN:
        return _DATABASE
    return _DATABASE if "\0" in name or "\n" in name else name


@contextlib.contextmanager
def engine(place: Path, user: str, details: Details) -> Iterator[MariaDB]:
    """Hold a server in the directory `place`, for a database of the name that the backup's has."""
    sandbox.give(place, user)
    options = ["--no-defaults", f"--datadir={place}/data", f"--tmpdir={place}"]
    install = [run.find("mariadb-install-db", package="mariadb-server"), *options]
    # --force: without a network its look-up of the machine's own name fails
    install += ["--auth-root-authentication-method=normal", "--skip-test-db", "--force"]
    confined = sandbox.confined(install, user=user, writable=place, refuses_root=True)
    done = run.run(confined, timeout=START_SECONDS)
    if done.returncode != 0:
        said = redact.diagnostic(done.stderr)
        raise Art32Error(Code.DRILL_FAILED, f"the throw-away server cannot be made: {said}")
    argv = [run.find("mariadbd", package="mariadb-server"), *options, *_SETTINGS]
    argv += [f"--socket={place}/s", f"--pid-file={place}/pid"]
    confined = sandbox.confined(argv, user=user, writable=place, refuses_root=True)
    with run.Process(confined, stdout=run.DEVNULL) as process:
        server = MariaDB(place, user, _name(details))
        await_start(process, server.ready)
        yield server
