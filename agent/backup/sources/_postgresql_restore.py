"""Restoring PostgreSQL: into a database of a temporary name, renamed when all is well.

The dump is hostile until shown otherwise: it runs SQL on the server with the rights of the role,
so that role must have few (`_postgresql_target.check`), and `pg_restore` runs confined. A role of
its own for restores is also what keeps a dump from other databases of the same owner.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator

from agent import clock
from agent.backup.sources import RestoreRequest
from agent.backup.sources import _postgresql_client as client
from agent.backup.sources import _postgresql_properties as properties
from agent.backup.sources import _postgresql_target as targets
from agent.backup.sources._postgresql_contents import choose
from agent.backup.sources._postgresql_target import Target, identifier, literal
from agent.backup.sources._process import pump
from agent.errors import Art32Error, Code
from agent.run import DEVNULL, PIPE, Process

GLOBALS_FORMAT = "postgresql-globals"
_LOCALE = re.compile(r"[A-Za-z0-9_.@=-]{1,200}")
_ENCODING = re.compile(r"[A-Za-z0-9_]{1,40}")
_PROVIDERS = {"c": "libc", "i": "icu", "b": "builtin"}


def check_target(request: RestoreRequest) -> None:
    """Raise unless a restore to the request's target may begin; see `_postgresql_target.check`."""
    _refuse_globals(request)
    targets.check(request)


def _refuse_globals(request: RestoreRequest) -> None:
    if request.facts.get("format") == GLOBALS_FORMAT:
        raise Art32Error(
            Code.TARGET_UNSAFE,
            "roles are plain SQL that can do anything as the superuser it needs; it is not fed to "
            "a server",
            hint="take it with `--to -` into a file, read it, and run `psql -X -f FILE`",
        )


def restore(stream: Iterator[bytes], request: RestoreRequest) -> str:
    """Restore a custom-format dump into a new database and return a sentence about it.

    The new database has the encoding, locale, settings, comment and, towards everybody, the rights
    of the backup's facts; with `owners` those of single roles, its owner and tablespaces, too
    (`_postgresql_properties`). A database that
    `overwrite` allows to be replaced is renamed in the same transaction and kept. With `only`,
    one table is restored with what it needs and what belongs to it (`_postgresql_contents`).
    Raise the errors of `check_target`, and TARGET_FAILED when `pg_restore` fails; then, and on any
    other exception, the new database is dropped.
    """
    _refuse_globals(request)
    target = targets.check(request)
    temporary = _unfinished(request)
    try:
        target.sql(_creation(temporary, request) + properties.closing(request.facts, temporary))
        _feed(stream, target, temporary, request)
        # after the data: a database may be set to be read only
        properties.apply(target, temporary, request)
        kept = _rename(target, temporary, overwrite=request.overwrite)
    except BaseException:
        with contextlib.suppress(Art32Error):  # the error that led here is the one to show
            _drop(target, temporary)
        raise
    properties.give(target, request)
    what = f"the table `{request.only}`" if request.only else "the backup"
    sentence = f"{what} is in the new database `{target.database}`"
    sentence += f"; the old one is now `{kept}`" if kept else ""
    return sentence + properties.left_out(request)


def _unfinished(request: RestoreRequest) -> str:
    return f"art32_{request.token}"


def left(request: RestoreRequest) -> str | None:
    """Return the name of the database that a killed restore left; raise TARGET_FAILED when the
    server does not answer."""
    target, name = targets.parse(request), _unfinished(request)
    return f"the database `{name}` of {target.place}" if targets.exists(target, name) else None


def discard(request: RestoreRequest) -> None:
    """Drop the database that a killed restore left; raise TARGET_FAILED."""
    _drop(targets.parse(request), _unfinished(request))


def _creation(name: str, request: RestoreRequest) -> str:
    """Return CREATE DATABASE with what the facts say; they are data, so each is checked."""
    facts = request.facts
    options = ["TEMPLATE template0"]
    for fact, keyword, shape in (
        ("encoding", "ENCODING", _ENCODING),
        ("collation", "LC_COLLATE", _LOCALE),
        ("ctype", "LC_CTYPE", _LOCALE),
    ):
        value = facts.get(fact)
        if isinstance(value, str) and shape.fullmatch(value):
            options.append(f"{keyword} {literal(value)}")
    provider = _PROVIDERS.get(str(facts.get("locale_provider")), "libc")
    locale = facts.get("locale")
    if provider != "libc" and isinstance(locale, str) and _LOCALE.fullmatch(locale):
        keyword = "ICU_LOCALE" if provider == "icu" else "BUILTIN_LOCALE"
        options.append(f"LOCALE_PROVIDER {provider} {keyword} {literal(locale)}")
    return f"CREATE DATABASE {identifier(name)} {' '.join(options)};"


def _feed(stream: Iterator[bytes], target: Target, database: str, request: RestoreRequest) -> None:
    directory = client.directory(None)
    program = client.program("pg_restore", directory)
    argv = [program, "--exit-on-error", "-d", target.connection(database)]
    if not request.owners:
        # a tablespace is the old server's own, and the role need not be let into the new one's
        argv += ["--no-owner", "--no-privileges", "--no-tablespaces"]
    with contextlib.ExitStack() as stack:
        if request.only is not None:
            listing = [program, "--list", "--verbose"]
            chosen, stream = choose(
                stream, request.only, target.confined(listing, directory=directory)
            )
            names = stack.enter_context(_descriptor(chosen))
            argv.append(f"--use-list=/proc/self/fd/{names}")
            inherited: tuple[int, ...] = (names,)
        else:
            inherited = ()
        process = stack.enter_context(
            Process(
                target.confined(argv, directory=directory),
                stdin=PIPE,
                stdout=DEVNULL,
                pass_fds=inherited,
            )
        )
        pump(stream, process)
        if process.wait() != 0:
            raise target.refusal(process.stderr)


@contextlib.contextmanager
def _descriptor(data: bytes) -> Iterator[int]:
    """Yield a descriptor of a file without a name that holds some bytes, at their start."""
    descriptor = os.memfd_create("art32")
    try:
        os.write(descriptor, data)
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield descriptor
    finally:
        os.close(descriptor)


def _rename(target: Target, temporary: str, *, overwrite: bool) -> str | None:
    """Give the database its name; return the one under which an old database is kept."""
    final = identifier(target.database)
    statement = f"ALTER DATABASE {identifier(temporary)} RENAME TO {final};"
    if not (overwrite and targets.exists(target, target.database)):
        target.sql(statement)
        return None
    suffix = f"_replaced_{clock.stamp(clock.now())}"
    kept = target.database.encode()[: 63 - len(suffix)].decode("utf-8", "ignore") + suffix
    aside = f"ALTER DATABASE {final} RENAME TO {identifier(kept)};"
    target.sql(f"BEGIN;\n{aside}\n{statement}\nCOMMIT;")
    return kept


def _drop(target: Target, database: str) -> None:
    """Drop the temporary database, also from under a backend that has not noticed its client's
    end; raise TARGET_FAILED."""
    name = identifier(database)
    try:
        target.sql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE);")
    except Art32Error:
        target.sql(f"DROP DATABASE IF EXISTS {name};")  # before version 13
