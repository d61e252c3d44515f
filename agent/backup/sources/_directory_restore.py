"""Unpacks an archive, which may be hostile, into a new directory.

tar runs in `agent.sandbox` and sees nothing but the new directory, so that `../`, absolute names,
and symbolic or hard links lead nowhere. Beyond that it fails closed: an archive with a name that
points outside, or that tar cannot unpack whole, leaves nothing at the target. Device nodes are
the exception: they never arise, because tar has no right to make them, and are counted in the
answer. Files with set-user-ID and file capabilities come back as they were.

As root, tar runs as another uid with the rights to give files to their owners, and with
`dac_override`, without which it could not set attributes on what it has given away; in the
sandbox there is nothing else that this right could open. Attributes in the kernel's `trusted`
namespace cannot come back: setting them takes CAP_SYS_ADMIN, which hostile data does not get.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from agent import clock, files, run, sandbox
from agent.backup.sources import RestoreRequest
from agent.backup.sources._process import pump
from agent.backup.sources._tar import OTHER, QUOTING, TIMES, Messages
from agent.errors import Art32Error, Code

_RIGHTS = ("chown", "fowner", "fsetid", "setfcap", "dac_override")
_REMOVAL_SECONDS = 3600.0
_DEVICES = "devices"
_ATTRIBUTES = "attributes"
_OUTSIDE = "outside"
_ABSENT = "absent"
_HARMLESS = "harmless"
_KINDS = {
    _DEVICES: re.compile(r"Cannot mknod: Operation not permitted$"),
    _ATTRIBUTES: re.compile(r"Cannot (?:set|drop) .*(?:extended attribute|ACLs)"),
    _OUTSIDE: re.compile(r"Removing leading |Member name contains '\.\.'|.*contains '\.\.'"),
    _ABSENT: re.compile(r"Not found in archive$"),
    _HARMLESS: TIMES,
}


def check(request: RestoreRequest) -> Path:
    """Return the target as an absolute path.

    Raise USAGE for an `only` that leaves the directory, TARGET_EXISTS when something is there that
    may not be replaced, TARGET_FAILED when the directory above is missing or refuses writing,
    TARGET_UNSAFE when this is root and another user could exchange that directory meanwhile, and
    SANDBOX_UNAVAILABLE when nothing can be confined here.
    """
    run.find("tar", package="tar")
    _member(request.only)
    path = _target(request)
    if Path(request.target).expanduser().name in ("", ".."):
        raise Art32Error(Code.TARGET_FAILED, f"`{request.target}` is no name for a new directory")
    parent = path.parent
    if not parent.is_dir():
        raise Art32Error(
            Code.TARGET_FAILED,
            f"the directory `{parent}` does not exist",
            hint=f"mkdir -p {shlex.quote(str(parent))}",
        )
    if not os.access(parent, os.W_OK | os.X_OK):
        raise Art32Error(
            Code.TARGET_FAILED,
            f"the directory `{parent}` may not be written to",
            hint="restore to another directory, or as another user",
        )
    _require_free(path, overwrite=request.overwrite)
    _require_own(parent)
    sandbox.check(request.engine_user)
    return path


def _target(request: RestoreRequest) -> Path:
    typed = Path(request.target).expanduser()
    return Path(os.path.realpath(typed.parent)) / typed.name


def unfinished(request: RestoreRequest) -> Path:
    """Return where a restore makes what is not finished: beside its target."""
    return _target(request).parent / f"{files.TEMPORARY_PREFIX}restore-{request.token}"


def left(request: RestoreRequest) -> str | None:
    """Return the path of what a killed restore left."""
    path = unfinished(request)
    return f"`{path}`" if os.path.lexists(path) else None


def discard(request: RestoreRequest) -> None:
    """Remove what a killed restore left; raise TARGET_FAILED when that cannot be done, and
    TARGET_UNSAFE when another user could exchange directories meanwhile."""
    path = unfinished(request)
    if not os.path.lexists(path):
        return
    _require_own(path.parent)
    remove(path)
    if os.path.lexists(path):
        raise Art32Error(
            Code.TARGET_FAILED,
            f"`{path}` cannot be removed",
            hint=f"rm -r -- {shlex.quote(str(path))}",
        )


def _require_free(path: Path, *, overwrite: bool) -> None:
    if not os.path.lexists(path):
        return
    if path.is_symlink() or not path.is_dir():
        raise Art32Error(
            Code.TARGET_EXISTS,
            f"`{path}` exists and is not a directory",
            hint="name a directory that does not exist",
        )
    if not overwrite:
        raise Art32Error(
            Code.TARGET_EXISTS,
            f"`{path}` exists already",
            hint="name a directory that does not exist, or add `--overwrite`: the one there is "
            "then kept under another name",
        )


def _require_own(parent: Path) -> None:
    if os.geteuid() != 0:
        return
    for directory in (parent, *parent.parents):
        status = directory.stat()
        writers = stat.S_IWOTH | (stat.S_IWGRP if status.st_gid else 0)
        shared = status.st_mode & writers and not status.st_mode & stat.S_ISVTX
        if status.st_uid != 0 or shared:
            raise Art32Error(
                Code.TARGET_UNSAFE,
                f"other users may exchange what is in `{directory}` while root restores there",
                hint="restore below a directory that only root may change, and move it then",
            )


def _member(only: str | None) -> str | None:
    if only is None:
        return None
    path = PurePosixPath(only)
    if path.is_absolute() or ".." in path.parts or "\0" in only:
        raise Art32Error(
            Code.USAGE,
            "a path within a backup is relative to its directory",
            hint="as in `a/b` or `./a/b`",
        )
    return f"./{path}" if path.parts else None


def unpack(stream: Iterator[bytes], request: RestoreRequest) -> str:
    """Unpack a stream to the request's target and return a sentence about what is there.

    Everything arises in a temporary directory of mode 0700 beside the target. Only after the end
    of the stream, and when all of it is on the disk, is it renamed to the target. A directory
    that `overwrite` allows to be replaced is kept beside it as `NAME.replaced-TIME`; between the
    two renames there is no target, and both directories are complete. Raise the errors of
    `check`, NO_BACKUP when `only` names nothing in the archive, and TARGET_FAILED, without names,
    when something cannot be unpacked; then, as on any exception, nothing of it is left.
    """
    path = check(request)
    member = _member(request.only)
    temporary = unfinished(request)
    messages = Messages(_KINDS)
    try:
        with refusals(path):
            temporary.mkdir(mode=0o700)
            sandbox.give(temporary, request.engine_user)
        _feed(stream, temporary, member, request.engine_user, messages)
        with refusals(path):
            if member is not None:
                _take_back(temporary, PurePosixPath(member).parent)
        sync(path.parent)
        with refusals(path):
            kept = _name(temporary, path)
    except BaseException:
        remove(temporary)
        raise
    return _sentence(path, kept, messages)


@contextlib.contextmanager
def refusals(path: Path) -> Iterator[None]:
    """Turn what the operating system refuses into TARGET_EXISTS or TARGET_FAILED."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.EEXIST:
            raise Art32Error(
                Code.TARGET_EXISTS, f"`{path}` appeared while the restore ran"
            ) from error
        reason = (error.strerror or "error").lower()
        raise Art32Error(Code.TARGET_FAILED, f"`{path}` cannot be made: {reason}") from error


def _feed(
    stream: Iterator[bytes], directory: Path, member: str | None, user: str, messages: Messages
) -> None:
    with contextlib.ExitStack() as stack:
        argv = ["tar", "--extract", "--file=-", "--numeric-owner", "--same-permissions"]
        argv += ["--same-owner" if os.geteuid() == 0 else "--no-same-owner"]
        argv += ["--acls", "--xattrs", "--xattrs-include=*", "--delay-directory-restore", *QUOTING]
        descriptors: tuple[int, ...] = ()
        if member is not None:
            descriptors = (_list_of_names(member, stack),)
            argv += ["--null", "--verbatim-files-from", "--no-unquote", "--no-wildcards"]
            argv += [f"--files-from=/proc/self/fd/{descriptors[0]}"]
        process = stack.enter_context(
            run.Process(
                sandbox.confined(argv, user=user, writable=directory, capabilities=_RIGHTS),
                stdin=run.PIPE,
                stdout=run.DEVNULL,
                pass_fds=descriptors,
                on_stderr=messages,
            )
        )
        pump(stream, process)
        _require_success(process.wait(), messages)


def _list_of_names(member: str, stack: contextlib.ExitStack) -> int:
    """Return a descriptor to read the name from: in an argument every user could see it."""
    descriptor = os.memfd_create("names")
    stack.callback(os.close, descriptor)
    os.write(descriptor, os.fsencode(member) + b"\0")
    os.fchmod(descriptor, 0o444)
    return descriptor


def _require_success(status: int, messages: Messages) -> None:
    counts = messages.counts
    if counts[_OUTSIDE]:
        raise Art32Error(
            Code.TARGET_FAILED,
            "the archive names files outside its own directory: whoever wrote it is hostile",
            hint="look at it with `--to -` and `tar --list` on an isolated machine",
        )
    if counts[_ABSENT]:
        raise Art32Error(
            Code.NO_BACKUP,
            "the backup holds nothing under the path that was asked for",
            hint="list what it holds with `--to -` and `tar --list`",
        )
    # tar exits with 2 for device nodes too
    if status == 0 or (status == 2 and counts[_DEVICES] and not counts[OTHER]):
        return
    why = messages.why()
    raise Art32Error(
        Code.TARGET_FAILED,
        f"`tar` could not unpack the archive, with {counts[OTHER]} errors and status {status}"
        + (f": {why}" if why else ""),
        hint="a path that is a hard link needs its other name too; check the room on the disk",
    )


def _take_back(top: Path, parents: PurePosixPath) -> None:
    """Make the directories above a single restored path ours: the archive did not describe them."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(top, flags)
    try:
        os.fchown(descriptor, os.geteuid(), os.getegid())
        for part in parents.parts:
            inner = os.open(part, flags, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = inner
            os.fchown(descriptor, os.geteuid(), os.getegid())
    finally:
        os.close(descriptor)


def sync(directory: Path) -> None:
    """Write the file system of a directory to the disk; raise TARGET_FAILED."""
    done = run.run(["sync", "--file-system", str(directory)], timeout=_REMOVAL_SECONDS)
    if done.returncode != 0:
        raise Art32Error(
            Code.TARGET_FAILED, f"the file system of `{directory}` could not write everything"
        )


def _name(temporary: Path, path: Path) -> Path | None:
    kept = None
    if os.path.lexists(path):
        kept = path.with_name(f"{path.name}.replaced-{clock.stamp(clock.now())}")
        files.rename_without_replacing(path, kept)
    try:
        files.rename_without_replacing(temporary, path)
    except BaseException:
        if kept is not None:
            files.rename_without_replacing(kept, path)
        raise
    files.sync_directory(path.parent)
    return kept


def remove(directory: Path) -> None:
    """Remove a directory, however deep."""
    # Not shutil.rmtree: it recurses, and an archive may be deeper than Python's stack.
    if not os.path.lexists(directory):
        return
    if os.geteuid() != 0:
        run.run(["chmod", "--recursive", "u+rwX", str(directory)], timeout=_REMOVAL_SECONDS)
    removal = ["rm", "--recursive", "--force", "--one-file-system", "--", str(directory)]
    run.run(removal, timeout=_REMOVAL_SECONDS)


def _sentence(path: Path, kept: Path | None, messages: Messages) -> str:
    parts = [f"the directory is restored to `{path}`"]
    if os.geteuid() != 0:
        parts.append("all of it belongs to the user who ran this: only root can restore owners")
    if count := messages.counts[_DEVICES]:
        parts.append(f"device nodes left out: {count}")
    if count := messages.counts[_ATTRIBUTES]:
        parts.append(f"ACLs and extended attributes that could not be set: {count}")
    if kept is not None:
        parts.append(f"what was there before is now `{kept}`")
    return "; ".join(parts)
