"""A throw-away PostgreSQL: its own initdb, on a socket, with archiving off, confined."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from agent import redact, run, sandbox
from agent.backup.drill.engines import START_SECONDS, Check, counted
from agent.backup.drill.engines._postgresql import Server, origin, running
from agent.backup.manifest import Details
from agent.backup.sources import _postgresql_client as client
from agent.backup.sources import _postgresql_properties as properties
from agent.backup.sources._postgresql_snapshot import COUNT
from agent.backup.sources._postgresql_target import identifier
from agent.config.drill import DrillCheck
from agent.errors import Art32Error, Code

DATABASE = "drill"
_ROLE = "drill"
_INSTALLED = Path("/usr/lib/postgresql")


class PostgreSQL:
    """The running server; `target` names the database that a restore makes."""

    def __init__(self, server: Server) -> None:
        self.target = server.target
        self._server = server

    def make_roles(self, details: Details) -> None:
        """Make the roles that policies and user mappings of the backup name."""
        names = details.facts.get("roles")
        found = [one for one in names if isinstance(one, str)] if isinstance(names, list) else []
        there = {_ROLE, *(one for one in found if one.startswith("pg_"))}
        text = "".join(f"CREATE ROLE {identifier(one)};\n" for one in found if one not in there)
        if text:
            self._server.sql(text)

    def examine(self, details: Details, wanted: DrillCheck) -> Iterator[Check]:
        found: dict[str, int] = {}
        if details.rows is not None:
            for value in self._server.values(COUNT):
                found[value["table"]] = found.get(value["table"], 0) + value["rows"]
        yield counted(details.rows, found)
        yield self._server.amcheck()
        yield self._properties(details)
        yield from origin(details.facts.get("system_identifier"), wanted)
        yield from self._server.assertions(wanted)

    def _properties(self, details: Details) -> Check:
        """Compare what belongs to the database itself: settings, comment, rights of everybody."""
        name = "settings"
        if (wanted := properties.read(details.facts)) is None:
            return Check(name, None, "the backup does not say what its database was set to")
        (value,) = self._server.values(properties.QUERY)
        found = properties.read(value)
        there = {} if found is None else found.common()
        expected = wanted.common()
        wrong = sorted(key for key in {*there, *expected} if there.get(key) != expected.get(key))
        if wrong:
            return Check(name, False, f"not as in the database: {', '.join(wrong)}")
        return Check(name, True, "settings, comment and rights of everybody are the database's")

    def newest_row(self, wanted: DrillCheck) -> datetime | None:
        return self._server.newest_row(wanted)


def server_directory() -> Path | None:
    """Return where the newest installed server is, None for the search path: the newest clients may
    be of a version whose server is not here. Raise TOOL_MISSING when there is none."""
    found = {
        int(path.parts[-3]): path.parent
        for path in _INSTALLED.glob("*/bin/postgres")
        if path.parts[-3].isdigit() and (path.parent / "initdb").exists()
    }
    if found:
        return found[max(found)]
    if shutil.which("initdb") is None or shutil.which("postgres") is None:
        raise Art32Error(
            Code.TOOL_MISSING,
            "no PostgreSQL server is installed here to be a throw-away one",
            hint="apt-get install postgresql",
        )
    return None


@contextlib.contextmanager
def engine(place: Path, user: str, details: Details) -> Iterator[PostgreSQL]:
    """Hold a server of the newest installed version in the directory `place`."""
    where = server_directory()
    sandbox.give(place, user)
    data = place / "data"
    _initialise(client.program("initdb", where), place, data, user)
    server = Server(place, user, role=_ROLE, database=DATABASE)
    argv = [client.program("postgres", where), "-D", str(data)]
    with running(argv, server, place=place, user=user):
        made = PostgreSQL(server)
        made.make_roles(details)
        yield made


def _initialise(program: str, place: Path, data: Path, user: str) -> None:
    argv = [program, "--pgdata", str(data), "--username", _ROLE, "--auth", "trust"]
    argv += ["--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync", "--no-instructions"]
    confined = sandbox.confined(argv, user=user, writable=place, refuses_root=True)
    done = run.run(confined, timeout=START_SECONDS)
    if done.returncode != 0:
        said = redact.diagnostic(done.stderr)
        raise Art32Error(Code.DRILL_FAILED, f"the throw-away server cannot be made: {said}")
