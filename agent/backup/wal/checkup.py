"""The write-ahead log's part of `art32 doctor`: does PostgreSQL reach the service, and ask it?"""

from __future__ import annotations

import os
import pwd
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

from agent.backup.checkup import Finding
from agent.backup.wal import health
from agent.config.model import Configuration, Wal
from agent.errors import Art32Error, ExitStatus
from agent.wal import protocol

_SOCKET = "wal socket"
_ARCHIVER = "wal archiver"
_PATIENCE = 10.0
_START = "systemctl restart art32-wal.socket art32-wal.service"
_PAGE = "docs/wal.md has the lines for postgresql.conf"
_TIMEOUT = 60  # seconds for which a change may be on one machine alone


def examine(config: Configuration) -> list[Finding]:
    """Return how the socket stands and whether the server of `wal.source` archives through it;
    nothing on a machine without `[wal]`."""
    if config.wal is None:
        return []
    found = [*_socket(config.wal), *_clients(config.wal)]
    if config.encryption is not None and (config.wal.signing or config.signing):
        found += _archiver(config)
    return found


def _socket(settings: Wal) -> Iterator[Finding]:
    path = settings.socket

    def bad(what: str, status: ExitStatus = ExitStatus.TRY_AGAIN) -> Finding:
        return Finding(_SOCKET, False, f"`{path}` {what}", _START, status)

    try:
        if not stat.S_ISSOCK(path.stat().st_mode):
            yield bad("is no socket", ExitStatus.CONFIGURATION)
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as asking:
            asking.settimeout(_PATIENCE)
            asking.connect(str(path))
            asking.send(protocol.encode(protocol.HELLO))
            answer = protocol.decode(asking.recv(protocol.MESSAGE_BYTES))
    except FileNotFoundError:
        yield bad("is not there: the service does not run")
    except ConnectionRefusedError:
        yield bad("is stale: nobody listens on it")
    except PermissionError:
        yield Finding(
            _SOCKET, None, f"`{path}`: this user may not connect", "run doctor as root, too"
        )
    except OSError as error:
        reason = (error.strerror or str(error) or "error").lower()
        yield bad(f"does not answer: {reason}")
    else:
        # a user who is not among `clients` is refused, by a service that lives
        refused = answer[:2] == [protocol.FAILED, str(int(ExitStatus.PERMISSION))]
        if answer == [protocol.OK] or refused:
            yield Finding(_SOCKET, True, f"`{path}`: the service answers")
        else:
            yield bad("answers, and not as `art32 wal serve` of this version does")


def _clients(settings: Wal) -> Iterator[Finding]:
    """Say which of the server's users cannot connect: by the modes, which root is not bound by."""
    try:
        settings.socket.stat()
    except OSError:  # said above
        return
    for name in settings.clients:
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            yield Finding(
                _SOCKET,
                False,
                f"there is no user `{name}`",
                "`wal.clients` names the users as whom the database server runs",
                ExitStatus.CONFIGURATION,
            )
            continue
        barred = _barred(settings.socket, user)
        if barred is not None:
            yield Finding(
                _SOCKET,
                False,
                f"the user `{name}` cannot connect to it: `{barred}` does not let it",
                "SocketUser=, SocketGroup= and SocketMode= of art32-wal.socket",
                ExitStatus.PERMISSION,
            )


def _barred(path: Path, user: pwd.struct_passwd) -> Path | None:
    """Return the first part of a path that bars a user: no way through, or, at last, no writing."""
    if user.pw_uid == 0:
        return None
    groups = set(os.getgrouplist(user.pw_name, user.pw_gid))
    whole = path.resolve()
    for part in [*reversed(whole.parents), whole]:
        found = part.stat()
        owner = found.st_uid == user.pw_uid
        shift = 6 if owner else 3 if found.st_gid in groups else 0
        wanted = stat.S_IWOTH if part == whole else stat.S_IXOTH
        if not found.st_mode >> shift & wanted:
            return part
    return None


def _archiver(config: Configuration) -> Iterator[Finding]:
    try:
        found = health.standing(config)
    except Art32Error as error:
        yield Finding(_ARCHIVER, False, error.sentence, error.hint, error.exit_status)
        return
    if found is None:
        yield Finding(
            _ARCHIVER,
            None,
            "nobody asks the server whether it archives",
            "name a source of kind `postgresql` as `wal.source`",
        )
    elif found.defect is not None:
        yield Finding(_ARCHIVER, False, found.defect, _PAGE, ExitStatus.CONFIGURATION)
    elif not 0 < found.timeout <= _TIMEOUT:
        yield Finding(
            _ARCHIVER,
            None,
            f"`archive_timeout` is {found.timeout} s: a quiet hour would not be archived",
            "set `archive_timeout = 30s`",
        )
    else:
        yield Finding(
            _ARCHIVER,
            True,
            f"`archive_command` asks art32, `archive_timeout` is {found.timeout} s",
        )
