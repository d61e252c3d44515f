"""From a base backup to a data directory that is ready to be started.

All that reads it runs confined, as another uid and without a network: tar, pg_verifybackup, and the
server that follows the write-ahead log. That server has settings of its own alone; those that came
with the backup are kept for reading, under names that nothing uses. The key and the store are in
this process; what crosses over are files of the log, one at a time (`_recovery_feed`).
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from agent import files, redact, run, sandbox
from agent.backup.sources import (
    Reached,
    RestoreRequest,
    _basebackup_server,
    _directory_restore,
)
from agent.backup.sources import _postgresql_client as client
from agent.backup.sources._process import pump
from agent.backup.sources._tar import OTHER, QUOTING, TIMES, Messages
from agent.errors import Art32Error, Code

_LONG_SECONDS = 24 * 3600.0
_DATA = "data"
_FEED = "feed"
_HARMLESS = "harmless"


def check(request: RestoreRequest) -> Path:
    """Return the target as an absolute path; raise USAGE for `only` and `overwrite`, TOOL_MISSING
    without the server's programs, and what `_directory_restore.check` raises."""
    if request.only is not None or request.overwrite:
        raise Art32Error(
            Code.USAGE,
            "a base backup is a whole server, and goes to a new directory",
            hint="leave out `--only` and `--overwrite`; take a table from the recovered server "
            "with pg_dump",
        )
    path = _directory_restore.check(request)
    programs_for(request.facts)
    return path


def left(request: RestoreRequest) -> str | None:
    """Return the path of what a killed restore left."""
    return _directory_restore.left(request)


def discard(request: RestoreRequest) -> None:
    """Remove what a killed restore left; raise TARGET_FAILED or TARGET_UNSAFE."""
    _directory_restore.discard(request)


def programs_for(facts: Mapping[str, Any]) -> Path:
    """Return the directory of the programs of the server's own version, as the backup's details
    name it: no other can read its files. Raise TOOL_MISSING."""
    version = str(facts.get("server_version", ""))
    major = int(version) // 10000 if version.isdigit() else 0
    path = Path(f"/usr/lib/postgresql/{major}/bin")
    if os.access(path / "postgres", os.X_OK):
        return path
    found = client.directory(None)
    if found is not None and major and client.major_version(str(found / "pg_dump")) == major:
        return found
    raise Art32Error(
        Code.TOOL_MISSING,
        f"PostgreSQL {major or 'of the version of the backup'} is not installed here, and no other "
        "version can read its files",
        hint=f"apt-get install postgresql-{major or 'VERSION'}",
    )


def restore(stream: Iterator[bytes], request: RestoreRequest) -> str:
    """Unpack a base backup, have it follow its log, and return a sentence about what is there.

    Everything arises in a temporary directory beside the target; the data directory gets its name
    when it has been shut down cleanly and is on the disk. Raise the errors of `check`, CORRUPT when
    the files are not those of the server's manifest, POINT_UNREACHABLE when the log ends before the
    moment asked for, RECOVERY_FAILED, and what fetching the log raises. Nothing is left then.
    """
    path = check(request)
    programs = programs_for(request.facts)
    temporary = _directory_restore.unfinished(request)
    data, feed = temporary / _DATA, temporary / _FEED
    try:
        with _directory_restore.refusals(path):
            for directory in (temporary, data, feed):
                directory.mkdir(mode=0o700)
            feed.chmod(0o755)  # nobody comes through the directory above
            sandbox.give(data, request.engine_user)
        _unpack(stream, data, request.engine_user)
        _verify(programs, data, request.engine_user)
        sentence = f"the base backup is unpacked to `{path}` and has not followed its log"
        if request.recovery is not None:
            reached = _basebackup_server.recover(programs, data, feed, request, request.recovery)
            request.recovery.reached(reached)
            owner = _give_away(data, request.recovery.owner)
            sentence = _sentence(path, programs, reached, owner)
        _directory_restore.sync(path.parent)
        with _directory_restore.refusals(path):
            files.rename_without_replacing(data, path)
            files.sync_directory(path.parent)
    finally:
        _directory_restore.remove(temporary)
    return sentence


def _unpack(stream: Iterator[bytes], data: Path, user: str) -> None:
    argv = ["tar", "--extract", "--file=-", "--no-same-owner", "--same-permissions", *QUOTING]
    confined = sandbox.confined(argv, user=user, writable=data)
    messages = Messages({_HARMLESS: TIMES})
    with run.Process(confined, stdin=run.PIPE, stdout=run.DEVNULL, on_stderr=messages) as process:
        pump(stream, process)
        status = process.wait()
        if status != 0 or messages.counts[OTHER]:
            why = messages.why()
            raise Art32Error(
                Code.TARGET_FAILED,
                f"`tar` could not unpack the base backup, with {messages.counts[OTHER]} complaints "
                f"and status {status}" + (f": {why}" if why else ""),
                hint="check the room on the disk; look at the archive with `--to -` and "
                "`tar --list` on an isolated machine",
            )
    # a tablespace, or a way out of the directory
    found = run.run(
        sandbox.confined(
            ["find", str(data), "(", "-type", "l", "-o", "-type", "p", "-o", "-type", "s", ")"],
            user=user,
            writable=data,
        ),
        timeout=_LONG_SECONDS,
    )
    if found.returncode != 0 or found.stdout:
        raise Art32Error(
            Code.TARGET_FAILED,
            "the base backup holds links, pipes or sockets: a server without tablespaces has none",
            hint="look at the archive with `--to -` and `tar --list` on an isolated machine",
        )


def _verify(programs: Path, data: Path, user: str) -> None:
    """Compare every file with the manifest that the server wrote (pg_verifybackup(1))."""
    program = str(programs / "pg_verifybackup")
    done = run.run(
        sandbox.confined(
            [program, "--no-parse-wal", "--quiet", str(data)],
            user=user,
            writable=data,
            readable=(programs,),
        ),
        timeout=_LONG_SECONDS,
    )
    if done.returncode != 0:
        raise Art32Error(
            Code.CORRUPT,
            f"the files are not what the server's manifest says: {redact.diagnostic(done.stderr)}",
            hint="restore an older base backup: art32 backup list, then `--id`",
        )


def _give_away(data: Path, owner: str | None) -> str | None:
    """Give everything to the user who will start the server; links are not followed."""
    if owner is None or os.geteuid() != 0:
        return None
    argv = ["chown", "--recursive", "--no-dereference", "-P", "--", owner, str(data)]
    done = run.run(argv, timeout=_LONG_SECONDS)
    if done.returncode != 0:
        raise Art32Error(
            Code.TARGET_FAILED,
            f"the data directory could not be given to `{owner}`",
            hint="correct `restore.server_user`",
        )
    return owner


def _sentence(path: Path, programs: Path, reached: Reached, owner: str | None) -> str:
    start = f"{programs}/pg_ctl -D {shlex.quote(str(path))} -l {shlex.quote(f'{path}.log')} start"
    if owner is not None:
        start = f"runuser -u {owner} -- {start}"
    last = f"its last transaction is of {reached.last}" if reached.last else "no transaction in it"
    return (
        f"the server is recovered to `{path}`, {reached.how}: {last}; the log was followed to "
        f"{reached.position}, and goes on as timeline {reached.timeline}; it listens on its socket "
        f"alone, lets in nobody but its owner, and archives nothing until you set "
        f"`postgresql.conf`; start it with `{start}`"
    )
