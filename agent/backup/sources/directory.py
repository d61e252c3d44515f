"""Directories, by GNU tar: one process reads the tree and writes a pax archive to the stream.

Owners are numbers; modes, ACLs, all extended attributes that the reader may see, hard links,
sparse files, times to the nanosecond, and names of any bytes are kept. Member names are relative
(`./...`). Sockets hold nothing and are skipped. A file that changes or vanishes while it is read
is a warning; a file that cannot be read is an error, because nobody would miss it until the
restore.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agent import run
from agent.backup.sources import Dump, DumpReport, RestoreRequest, _directory_restore
from agent.backup.sources._process import ANY_STATUS, Ended, Tail, failure, process_dump
from agent.backup.sources._tar import OTHER, QUOTING, Messages
from agent.config.sources import DirectorySource
from agent.errors import Art32Error, Code

_BLOCK = 512
_END = bytes(2 * _BLOCK)  # pax: an archive ends with two blocks of zeros
_UNREADABLE = "unreadable"
_KINDS = {
    "changed-while-read": re.compile(r"file changed as we read it$|File shrank by "),
    "vanished-while-read": re.compile(r"File removed before we read it$"),
    "sockets-skipped": re.compile(r"socket ignored$"),
    _UNREADABLE: re.compile(r"Cannot (?:open|stat|read|savedir|readlink|seek|close)\b|Read error"),
}


def probe(config: DirectorySource) -> None:
    """Raise SOURCE_MISSING unless the path is a directory, PERMISSION when it cannot be listed."""
    run.find("tar", package="tar")
    if not _is_directory(config.path):
        there = os.path.lexists(config.path)
        raise Art32Error(
            Code.SOURCE_MISSING,
            f"`{config.path}` is not a directory" if there else f"`{config.path}` does not exist",
            hint=f"correct `path` of the source `{config.name}`",
        )
    if not os.access(config.path, os.R_OK | os.X_OK):
        raise Art32Error(
            Code.PERMISSION,
            f"`{config.path}` may not be read",
            hint="run as a user who may, or with CAP_DAC_READ_SEARCH",
        )


def _is_directory(path: Path) -> bool:
    try:
        return path.is_dir()
    except PermissionError:
        return False


def members(config: DirectorySource) -> tuple[str, ...]:  # noqa: ARG001
    """Return the one member that a directory is."""
    return ("",)


@contextlib.contextmanager
def dump(config: DirectorySource, member: str) -> Iterator[Dump]:  # noqa: ARG001
    """Stream the directory as a pax archive.

    `finish` raises SOURCE_FAILED with the number of files that could not be read, never with
    their names, and SOURCE_INCOMPLETE when the archive has no end. Names behind the warnings
    stand in the facts, at most 1000 of them.
    """
    probe(config)
    messages = Messages(_KINDS)
    tail = Tail(len(_END))

    def finish(ended: Ended) -> DumpReport:
        _require_success(config, ended, messages)
        if ended.size % _BLOCK or tail.value != _END:
            raise Art32Error(
                Code.SOURCE_INCOMPLETE, f"the archive of `{config.name}` lacks its end"
            )
        return DumpReport(
            facts=_facts(config, messages),
            warnings=tuple(sorted(messages.counts.items())),
        )

    with process_dump(
        _archive_argv(config),
        finish=finish,
        observers=(tail,),
        accepted=ANY_STATUS,
        on_stderr=messages,
    ) as running:
        yield running


def _archive_argv(config: DirectorySource) -> list[str]:
    return [
        "tar",
        "--create",
        "--file=-",
        "--format=pax",
        "--blocking-factor=512",  # 256 KiB at a time; the archive's end is filled up to that
        # without process ids and access times, the same files give the same bytes
        "--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime",
        "--numeric-owner",
        "--acls",
        "--xattrs",
        "--xattrs-include=*",
        "--sparse",
        *QUOTING,
        *(("--one-file-system",) if config.one_file_system else ()),
        "--anchored",
        "--wildcards",
        "--wildcards-match-slash",
        *(f"--exclude={_pattern(text)}" for text in config.exclude),
        f"--directory={config.path}",
        "--",
        ".",
    ]


def _pattern(text: str) -> str:
    """Return an exclude pattern in the form of the member names: `cache/` becomes `./cache`."""
    text = text.rstrip("/") or text
    if text.startswith(("./", "*", "?", "[")):
        return text
    return "./" + text.lstrip("/")


def _require_success(config: DirectorySource, ended: Ended, messages: Messages) -> None:
    unreadable = messages.counts[_UNREADABLE]
    if ended.status in (0, 1) and not unreadable:
        return
    if not unreadable:
        # tar's own words may hold names
        raise failure("tar", Ended(ended.status, b"", ended.size))
    what = "one file or directory" if unreadable == 1 else f"{unreadable} files or directories"
    why = messages.why()
    raise Art32Error(
        Code.SOURCE_FAILED,
        f"{what} in `{config.path}` could not be read" + (f": {why}" if why else ""),
        hint=f"see them with `find {config.path} ! -readable` as the user who runs art32; give "
        "that user CAP_DAC_READ_SEARCH, or list them under `exclude`",
    )


def _facts(config: DirectorySource, messages: Messages) -> dict[str, Any]:
    version = run.run(["tar", "--version"]).stdout.decode("utf-8", "replace")
    return {
        "tool": version.partition("\n")[0],
        "path": str(config.path),
        "as_root": os.geteuid() == 0,
        "names": {kind: names for kind, names in messages.names.items() if kind != OTHER},
    }


def check_target(request: RestoreRequest) -> None:
    """Raise TARGET_EXISTS, TARGET_UNSAFE, TARGET_FAILED or SANDBOX_UNAVAILABLE."""
    _directory_restore.check(request)


def restore(stream: Iterator[bytes], request: RestoreRequest) -> str:
    """Unpack the archive, confined, into a new directory; see `_directory_restore.unpack`."""
    return _directory_restore.unpack(stream, request)


def left(request: RestoreRequest) -> str | None:
    """Return the path of what a killed restore left."""
    return _directory_restore.left(request)


def discard(request: RestoreRequest) -> None:
    """Remove what a killed restore left; see `_directory_restore.discard`."""
    _directory_restore.discard(request)
