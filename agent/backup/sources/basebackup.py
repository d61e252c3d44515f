"""A whole PostgreSQL server, file by file: what a restore to a point in time begins with.

`pg_basebackup` writes one tar archive to its standard output, with the backup manifest as its last
member: that is its proper end. The write-ahead log is not in it (`--wal-method=none`): the server
itself waits at the end until its archive has stored all that the base backup needs, and
`archive_command` answers only for what is durable in the store. So a base backup that exists is
one whose log exists, nothing has to be kept in pg_wal for as long as a slow backup takes, and the
log is stored once. A role with the right REPLICATION and no other does.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from agent import redact, run
from agent.backup.sources import Dump, DumpReport, RestoreRequest, _basebackup_restore
from agent.backup.sources import _postgresql_client as client
from agent.backup.sources._process import ANY_STATUS, Ended, Tail, failure, process_dump
from agent.config.sources import BaseBackupSource
from agent.errors import Art32Error, Code

FORMAT = "postgresql-base"
_END = bytes(1024)  # pax: an archive ends with two blocks of zeros
_TAIL = 64 << 10
_RANGES = re.compile(
    rb'"WAL-Ranges": \[(.*?)\],\s*"Manifest-Checksum": "[0-9a-f]{64}"\}\s*\0', re.DOTALL
)
_RANGE = re.compile(
    rb'"Timeline": (\d+), "Start-LSN": "([0-9A-F]+/[0-9A-F]+)", "End-LSN": "([0-9A-F]+/[0-9A-F]+)"'
)
_SIZE = re.compile(r"(\d+)(B|kB|MB|GB)")
_UNITS = {"B": 1, "kB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}
_REPLICATION = "replication=true"
_ARCHIVE_HINT = (
    "look at `SELECT * FROM pg_stat_archiver` and at the log of the archiving service: a base "
    "backup is worth nothing without its write-ahead log"
)


@dataclass(frozen=True)
class _Server:
    """What the server says of itself on a replication connection."""

    system_id: str
    version: str
    segment_bytes: int


def probe(config: BaseBackupSource) -> None:
    """Raise unless the role may replicate and the server archives its write-ahead log."""
    _require_version(config, _server(config))


def members(config: BaseBackupSource) -> tuple[str, ...]:  # noqa: ARG001
    """Return the one member that a server is."""
    return ("",)


def _server(config: BaseBackupSource) -> _Server:
    psql = client.program("psql", client.directory(config.binaries))
    wanted = ("server_version_num", "wal_segment_size", "archive_mode", "in_hot_standby")
    argv = [psql, *client.PSQL_OPTIONS, "-d", _REPLICATION, "-c", "IDENTIFY_SYSTEM"]
    argv += [part for name in wanted for part in ("-c", f"SHOW {name}")]
    done = run.run(argv, extra_environment=client.environment(config, client.MAINTENANCE_DATABASE))
    if done.returncode != 0:
        raise _explained(config, done.stderr)
    lines = done.stdout.decode("utf-8", "replace").splitlines()
    try:
        identity, version, segment, archiving, standby = lines
        size, unit = _SIZE.fullmatch(segment).groups()  # type: ignore[union-attr]
        system_id = str(int(identity.split("|")[0]))
    except (ValueError, AttributeError) as error:
        raise Art32Error(
            Code.SOURCE_FAILED, f"{client.place(config)} does not say which cluster it is"
        ) from error
    needed = ("always",) if standby == "on" else ("on", "always")
    if archiving not in needed:
        raise Art32Error(
            Code.SOURCE_FAILED,
            f"{client.place(config)} does not archive its write-ahead log: `archive_mode` is "
            f"`{archiving}`",
            hint="set `archive_mode` and `archive_command`, and restart it; on a standby only "
            "`archive_mode = always` does",
        )
    return _Server(system_id, version, int(size) * _UNITS[unit])


def _require_version(config: BaseBackupSource, server: _Server) -> str:
    """Return the path of `pg_basebackup`; raise SOURCE_FAILED when it is too old."""
    major = int(server.version) // 10000
    path = client.program("pg_basebackup", client.directory(config.binaries, major=major))
    found = client.major_version(path)
    if found < major:
        raise Art32Error(
            Code.SOURCE_FAILED,
            f"`pg_basebackup` {found} cannot copy {client.place(config)}, which is version {major}",
            hint=f"apt-get install postgresql-client-{major}, or set `binaries` to its directory",
        )
    return path


@contextlib.contextmanager
def dump(config: BaseBackupSource, member: str) -> Iterator[Dump]:  # noqa: ARG001
    """Stream the server's files as a tar archive.

    `finish` raises SOURCE_INCOMPLETE when the archive does not end with the server's manifest,
    SOURCE_FAILED when the server has tablespaces of its own, or when for `archive_wait_seconds`
    nothing comes: then its archive does not take the log.
    """
    server = _server(config)
    program = _require_version(config, server)
    tail = Tail(_TAIL)

    def finish(ended: Ended) -> DumpReport:
        if ended.status != 0:
            raise _failed(config, ended)
        wal = _needed(config, server, tail.value)
        facts: dict[str, Any] = {
            "format": FORMAT,
            "server_version": server.version,
            "system_identifier": server.system_id,
            "timeline": wal["timeline"],
            "start": wal["start"],
            "stop": wal["stop"],
            "segment_bytes": server.segment_bytes,
        }
        return DumpReport(facts=facts, wal=wal)

    with process_dump(
        [
            *(program, "--pgdata=-", "--format=tar", "--wal-method=none", "--checkpoint=fast"),
            *("--no-password", "--no-sync", "--manifest-checksums=SHA256", "--label=art32"),
        ],
        finish=finish,
        observers=(tail,),
        accepted=ANY_STATUS,
        extra_environment=client.environment(config, client.MAINTENANCE_DATABASE),
        silence=config.archive_wait_seconds,
        hint=_ARCHIVE_HINT,
    ) as running:
        yield running


def _needed(config: BaseBackupSource, server: _Server, tail: bytes) -> dict[str, Any]:
    """Return the fields of the manifest's `WalEntry`; raise SOURCE_INCOMPLETE."""
    match = _RANGES.search(tail)
    ranges = _RANGE.findall(match[1]) if match else []
    if not ranges or not tail.endswith(_END):
        raise Art32Error(
            Code.SOURCE_INCOMPLETE,
            f"the base backup of {client.place(config)} does not end with its manifest",
            hint="art32 needs PostgreSQL 13 or later",
        )
    return {
        "system_id": server.system_id,
        "timeline": int(ranges[0][0]),
        "start": ranges[0][1].decode("ascii"),
        "stop": ranges[-1][2].decode("ascii"),
        "segment_bytes": server.segment_bytes,
    }


def _failed(config: BaseBackupSource, ended: Ended) -> Art32Error:
    if ended.status < 0:
        return failure("pg_basebackup", ended, hint="look into the kernel's log for what ended it")
    return _explained(config, ended.stderr)


def _explained(config: BaseBackupSource, stderr: bytes) -> Art32Error:
    text = stderr.decode("utf-8", "replace")
    if "can only write single tablespace to stdout" in text:
        return Art32Error(
            Code.SOURCE_FAILED,
            f"{client.place(config)} has tablespaces of its own, which a base backup cannot hold",
            hint="move what is in them: ALTER DATABASE ... SET TABLESPACE pg_default; or back the "
            "databases up one by one with kind `postgresql`",
        )
    if re.search(r"must be superuser or replication role|permission denied to start WAL", text):
        return Art32Error(
            Code.SOURCE_FAILED,
            f"the role may not replicate from {client.place(config)}",
            hint="ALTER ROLE ... REPLICATION; and a line `local replication ROLE peer` in "
            "pg_hba.conf",
        )
    if "could not initiate base backup" in text and "wal_level" in text:
        return Art32Error(
            Code.SOURCE_FAILED,
            f"{client.place(config)} writes too little into its log: {redact.diagnostic(stderr)}",
            hint="set `wal_level = replica` and restart it",
        )
    return client.explain(stderr, where=client.place(config), doing="the base backup failed")


def check_target(request: RestoreRequest) -> None:
    """Raise TARGET_EXISTS, TARGET_UNSAFE, TARGET_FAILED or SANDBOX_UNAVAILABLE."""
    _basebackup_restore.check(request)


def restore(stream: Iterator[bytes], request: RestoreRequest) -> str:
    """Unpack and recover, confined, into a new data directory; see `_basebackup_restore`."""
    return _basebackup_restore.restore(stream, request)


def left(request: RestoreRequest) -> str | None:
    """Return the path of what a killed restore left."""
    return _basebackup_restore.left(request)


def discard(request: RestoreRequest) -> None:
    """Remove what a killed restore left."""
    _basebackup_restore.discard(request)
