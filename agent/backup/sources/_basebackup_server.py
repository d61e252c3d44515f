"""A confined server that follows a log to a point, is promoted there, and is shut down cleanly."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from agent import clock, redact, run, sandbox
from agent.backup.sources import Reached, Recovery, RestoreRequest, _recovery_feed
from agent.errors import Art32Error, Code

_SHORT_SECONDS = 600.0
_TURN_SECONDS = 0.1
# Nothing of it may reach out, run on its own, or wait for a person. What is written is synced by
# the whole file system at the end.
_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_directories": ".",
    "hot_standby": "off",
    "archive_mode": "off",
    "archive_command": "",
    "archive_library": "",
    "archive_cleanup_command": "",
    "recovery_end_command": "",
    "primary_conninfo": "",
    "recovery_target_timeline": "latest",
    "recovery_target_inclusive": "on",
    "recovery_target_action": "promote",
    "shared_preload_libraries": "",
    "session_preload_libraries": "",
    "local_preload_libraries": "",
    "jit": "off",
    "max_logical_replication_workers": "0",
    "autovacuum": "off",
    "fsync": "off",
    "ssl": "off",
    "huge_pages": "off",
    "shared_buffers": "128MB",
    "dynamic_shared_memory_type": "mmap",
    "logging_collector": "off",
    "log_destination": "stderr",
    "log_timezone": "UTC",
    "log_line_prefix": "",
    "log_min_messages": "log",
    "lc_messages": "C",
    "max_connections": "10",
}
_OF_CONTROL = {"max_prepared_xacts": "max_prepared_transactions"}

# Nothing that came with the files decides anything: not the settings, not who may log in.
_PREPARE = """
set -eu
rm -f standby.signal recovery.signal postmaster.pid postmaster.opts
for name in postgresql.conf postgresql.auto.conf pg_hba.conf pg_ident.conf; do
    [ ! -e "$name" ] || mv "$name" "$name.from-backup"
done
: >postgresql.auto.conf
: >postgresql.conf
echo 'local all all reject' >pg_hba.conf
: >pg_ident.conf
: >recovery.signal
"""
_RUN = """
feed=$1
shift
"$@" &
server=$!
{ read -r word <"$feed/stop" && kill -INT "$server"; } &
wait "$server"
"""
# The new timeline's history is one of the files that its archive must have, and nobody archived
# when it was made: with archiving on, the server ships what is marked as ready.
_FINISH = """
set -eu
rm -f postmaster.opts backup_label.old tablespace_map.old backup_manifest recovery.signal
cat >postgresql.conf
printf '%s\n' 'local all all peer' >pg_hba.conf
for path in pg_wal/*.history; do
    [ ! -e "$path" ] || : >"pg_wal/archive_status/${path##*/}.ready"
done
"""
_CONFIGURATION = """\
# Written by art32 when it recovered this server. The settings of the old one, as far as they were
# in its data directory, stand in `postgresql.conf.from-backup`, `postgresql.auto.conf.from-backup`
# and `pg_hba.conf.from-backup`: read them before you take anything from there.
listen_addresses = ''
# Before this server is written to in earnest: archive again, and take a new base backup.
archive_mode = off
max_connections = {max_connections}
max_prepared_transactions = {max_prepared_transactions}
"""
_CONTROL = re.compile(r"^([A-Za-z0-9_' -]+?):\s+(.*)$", re.MULTILINE)
_MOMENT = r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d{1,6})?)\+00"
_LAST = re.compile(rf"last completed transaction was at log time {_MOMENT}")
_DONE = re.compile(r"redo done at ([0-9A-F]{1,8}/[0-9A-F]{1,8})")
_TIMELINE = re.compile(r"selected new timeline ID: (\d{1,10})")
_STOPPED = re.compile(r"recovery stopping (?:before|after) (?:commit|abort)")
_READY = "database system is ready to accept connections"
_TOO_SHORT = "recovery ended before configured recovery target was reached"
_TOO_EARLY = "requested recovery stop point is before consistent recovery point"
_NO_ROOM = "No space left on device"
_LOUD = re.compile(r"FATAL|PANIC|ERROR")


@dataclass
class _Heard:
    """What the server says of its recovery, line by line, in English and in UTC. It may lie: what
    it says decides about nothing but itself."""

    last: str | None = None
    position: str = "?"
    timeline: int = 0
    stopped: bool = False
    ready: bool = False
    too_short: bool = False
    too_early: bool = False
    no_room: bool = False
    loud: list[str] = field(default_factory=list)
    _rest: str = ""

    def __call__(self, chunk: bytes) -> None:
        *lines, rest = (self._rest + chunk.decode("utf-8", "replace")).split("\n")
        self._rest = rest[:4096]
        for line in lines:
            self._take(line)

    def _take(self, line: str) -> None:
        if match := _LAST.search(line):
            self.last = datetime.fromisoformat(match[1]).replace(tzinfo=UTC).isoformat()
        if match := _DONE.search(line):
            self.position = match[1]
        if match := _TIMELINE.search(line):
            self.timeline = int(match[1])
        self.stopped |= bool(_STOPPED.search(line))
        self.ready |= _READY in line
        self.too_short |= _TOO_SHORT in line
        self.too_early |= _TOO_EARLY in line
        self.no_room |= _NO_ROOM in line
        if _LOUD.match(line) and len(self.loud) < 5:
            self.loud.append(line)


def recover(
    programs: Path, data: Path, feed: Path, request: RestoreRequest, wanted: Recovery
) -> Reached:
    """Have a server follow its log in `data`, and leave it shut down cleanly.

    Raise what `wanted.fetch` raised, POINT_UNREACHABLE when the log ends before the moment asked
    for or the base backup begins after it, TARGET_FAILED on a full disk, RECOVERY_FAILED when the
    server gives up.
    """
    user = request.engine_user
    _shell(_PREPARE, data, user)
    settings = {**_SETTINGS, **_required(programs, data, request)}
    command = shlex.join(["sh", str(feed / "fetch")]).replace("%", "%%")
    settings["restore_command"] = f"{command} %f %p"
    if wanted.at is not None:
        settings["recovery_target_time"] = wanted.at.astimezone(UTC).strftime(
            "%Y-%m-%d %H:%M:%S.%f+00"
        )
    heard = _Heard()
    with _recovery_feed.feed(feed, wanted.fetch) as served:
        status = _run(programs, data, feed, user, settings, served, heard)
        if served.failure is not None:
            raise served.failure
    _require(wanted, heard, status)
    if _control(programs, data, user).get("Database cluster state") != "shut down":
        raise Art32Error(Code.RECOVERY_FAILED, "the recovered server did not shut down cleanly")
    text = _CONFIGURATION.format(
        max_connections=100,
        max_prepared_transactions=settings.get("max_prepared_transactions", 0),
    )
    _shell(_FINISH, data, user, stdin=text.encode())
    how = "at the end of its log" if wanted.at is None else f"as of {clock.iso(wanted.at)}"
    return Reached(how, heard.last, heard.position, heard.timeline)


def _run(
    programs: Path,
    data: Path,
    feed: Path,
    user: str,
    settings: dict[str, str],
    served: _recovery_feed.Feed,
    heard: _Heard,
) -> int:
    argv = ["sh", "-c", _RUN, "server", str(feed), str(programs / "postgres"), "-D", str(data)]
    argv += [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
    confined = sandbox.confined(
        argv, user=user, writable=data, readable=(feed, programs), refuses_root=True
    )
    with run.Process(confined, stdout=run.DEVNULL, on_stderr=heard) as process:
        stopping = False
        while not process.ended:
            if heard.ready and not stopping:
                stopping = True
                served.stop()
            clock.sleep(_TURN_SECONDS)
        return process.wait()


def _require(wanted: Recovery, heard: _Heard, status: int) -> None:
    moment = clock.iso(wanted.at) if wanted.at is not None else "the end"
    if heard.too_short:
        last = f"`{heard.last}`" if heard.last else "before its first transaction"
        raise Art32Error(
            Code.POINT_UNREACHABLE,
            f"the write-ahead log ends before `{moment}`: the last transaction in it is of {last}",
            hint="leave out `--at` to get everything up to then; if the old server still stands, "
            "have it ship its last segment first (SELECT pg_switch_wal()) and try again",
        )
    if heard.too_early:
        raise Art32Error(
            Code.POINT_UNREACHABLE,
            f"`{moment}` is before the end of this base backup",
            hint="restore from an older one: art32 backup list, then `--id`",
        )
    reached = heard.stopped if wanted.at is not None else True
    if heard.no_room:
        raise Art32Error(
            Code.TARGET_FAILED,
            "the disk of the target is full: the server gave up its recovery",
            hint="make room for the server's files and a few segments of its log, and try again",
        )
    if status != 0 or not heard.ready or not reached:
        said = redact.diagnostic("\n".join(heard.loud).encode())
        raise Art32Error(
            Code.RECOVERY_FAILED,
            f"the server gave up its recovery at {heard.position}: {said or f'status {status}'}",
            hint="art32 backup verify: is the log whole? Then an older base backup with `--id`",
        )


def _control(programs: Path, data: Path, user: str) -> dict[str, str]:
    done = run.run(
        sandbox.confined(
            [str(programs / "pg_controldata"), str(data)],
            user=user,
            writable=data,
            readable=(programs,),
        ),
        timeout=_SHORT_SECONDS,
    )
    return dict(_CONTROL.findall(done.stdout.decode("utf-8", "replace")))


def _required(programs: Path, data: Path, request: RestoreRequest) -> dict[str, str]:
    """Return the settings that must be at least those of the old server; raise RECOVERY_FAILED when
    the files are of another cluster than the backup's details say."""
    control = _control(programs, data, request.engine_user)
    if control.get("Database system identifier") != request.facts.get("system_identifier"):
        raise Art32Error(
            Code.RECOVERY_FAILED,
            "the base backup is of another cluster than its details say",
            hint="look at where it was made: somebody has exchanged the files",
        )
    found = {}
    for name, setting in _OF_CONTROL.items():
        value = control.get(f"{name} setting", "0")
        if value.isdigit() and int(value) <= 10_000:
            found[setting] = value
    return found


def _shell(script: str, data: Path, user: str, *, stdin: bytes = b"") -> None:
    argv = sandbox.confined(["sh", "-c", script], user=user, writable=data)
    done = run.run(argv, stdin=stdin, timeout=_SHORT_SECONDS)
    if done.returncode != 0:
        raise Art32Error(
            Code.TARGET_FAILED,
            f"the data directory cannot be prepared: {redact.diagnostic(done.stderr)}",
        )
