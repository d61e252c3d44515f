"""A whole PostgreSQL server that came back from its base backup and its write-ahead log, started.

The restore has compared the files with the server's own manifest and followed the log. What is here
starts the result, with settings of a drill in place of its own, and reads every database of it.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from agent import redact, run, sandbox
from agent.backup.drill.engines import START_SECONDS, Check
from agent.backup.drill.engines._postgresql import Server, arguments, origin, running
from agent.backup.manifest import Details
from agent.backup.sources import _basebackup_restore
from agent.config.drill import DrillCheck
from agent.errors import Art32Error, Code

# Every cluster has it and lets a superuser in; a database `postgres` may have been dropped.
_DATABASE = "template1"
_HBA = "local all all trust\n"


class BaseBackup:
    """The recovered data directory, and its server from the first look at it on."""

    def __init__(self, place: Path, user: str, stack: contextlib.ExitStack) -> None:
        self.target = str(place / "restored")
        self._place = place
        self._user = user
        self._stack = stack
        # the roles of the cluster have passwords and other names: this one is nobody's
        self._role = f"drill_{secrets.token_hex(8)}"
        self._server = Server(
            place, user, role=self._role, database=_DATABASE, maintenance=_DATABASE
        )

    def examine(self, details: Details, wanted: DrillCheck) -> Iterator[Check]:
        """Yield what the server shows; of a table that names a `database`, what is asked of that
        one alone."""
        yield from origin(details.facts.get("system_identifier"), wanted)
        if wanted.database is None:
            self._start(_basebackup_restore.programs_for(details.facts))
            yield self._server.amcheck(everywhere=True)
        if wanted.assertions and wanted.database is None:
            yield Check("assertions", False, "a server has many databases: name one as `database`")
        else:
            yield from self._server.assertions(wanted, database=wanted.database)

    def newest_row(self, wanted: DrillCheck) -> datetime | None:
        if wanted.newest_row is not None and wanted.database is None:
            raise Art32Error(
                Code.DRILL_FAILED,
                f"`newest_row` of source `{wanted.source}` asks a server that has many databases",
                hint="name one of them as `database` in the same table",
            )
        return self._server.newest_row(wanted, database=wanted.database)

    def _start(self, programs: Path) -> None:
        # before anything that came back may write here
        hba = self._place / "hba"
        hba.write_text(_HBA)
        for path in (hba, self._place):
            sandbox.give(path, self._user)
        postgres = str(programs / "postgres")
        # as the one who made the cluster, whatever the name is (postgres(1), single-user mode)
        argv = [postgres, "--single", "-D", self.target, *arguments(), _DATABASE]
        done = run.run(
            sandbox.confined(
                argv,
                user=self._user,
                writable=self._place,
                readable=(programs,),
                refuses_root=True,
            ),
            stdin=f"CREATE ROLE {self._role} LOGIN SUPERUSER\n".encode(),
            timeout=START_SECONDS,
        )
        if done.returncode != 0:
            raise Art32Error(
                Code.DRILL_FAILED,
                f"the recovered server does not start: {redact.diagnostic(done.stderr)}",
            )
        self._stack.enter_context(
            running(
                [postgres, "-D", self.target],
                self._server,
                place=self._place,
                user=self._user,
                settings={"hba_file": str(hba)},
                readable=(programs,),
            )
        )


@contextlib.contextmanager
def engine(place: Path, user: str, details: Details) -> Iterator[BaseBackup]:
    """Hold the directory, and the server that will run in it."""
    _basebackup_restore.programs_for(details.facts)
    with contextlib.ExitStack() as stack:
        yield BaseBackup(place, user, stack)
