"""Restoring a stream into one new file: the target of `sqlite` and of `command`."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from agent import clock, files
from agent.backup.sources import RestoreRequest, pour
from agent.errors import Art32Error, Code


def target_path(request: RestoreRequest) -> Path:
    """Return the absolute path that a request means, without following a link at its end."""
    path = Path(request.target).expanduser()
    return path.parent.absolute() / path.name


def unfinished(request: RestoreRequest) -> Path:
    """Return the path of the file before it has its name."""
    path = target_path(request)
    return path.parent / f"{files.TEMPORARY_PREFIX}restore-{request.token}"


def left(request: RestoreRequest) -> str | None:
    """Return the path of what a killed restore left."""
    path = unfinished(request)
    return f"`{path}`" if os.path.lexists(path) else None


def discard(request: RestoreRequest) -> None:
    """Remove what a killed restore left; raise TARGET_FAILED when that cannot be done."""
    path = unfinished(request)
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        reason = (error.strerror or "error").lower()
        raise Art32Error(Code.TARGET_FAILED, f"`{path}` cannot be removed: {reason}") from error


def check(request: RestoreRequest) -> Path:
    """Return the target as a path.

    Raise TARGET_EXISTS when something of that name is there and the request does not say
    `overwrite`, or when it is anything but a regular file; raise TARGET_FAILED when the directory
    above it does not exist or refuses writing.
    """
    path = target_path(request)
    if not path.name or path.name in (".", ".."):
        raise Art32Error(Code.TARGET_FAILED, f"`{request.target}` is no name for a file")
    if not path.parent.is_dir():
        raise Art32Error(
            Code.TARGET_FAILED,
            f"the directory `{path.parent}` does not exist",
            hint=f"mkdir -p {path.parent}",
        )
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise Art32Error(
            Code.TARGET_FAILED,
            f"the directory `{path.parent}` may not be written to",
            hint="restore to another directory, or as another user",
        )
    if os.path.lexists(path):
        if path.is_symlink() or not path.is_file():
            raise Art32Error(
                Code.TARGET_EXISTS,
                f"`{path}` exists and is not a regular file",
                hint="name a file that does not exist",
            )
        if not request.overwrite:
            raise Art32Error(
                Code.TARGET_EXISTS,
                f"`{path}` exists already",
                hint="name a file that does not exist, or add `--overwrite`",
            )
    return path


def write(
    stream: Iterator[bytes],
    request: RestoreRequest,
    *,
    inspect: Callable[[Path], None] | None = None,
) -> tuple[Path, int, Path | None]:
    """Write a stream to the request's target; return its path, its bytes, and what it replaced.

    The bytes go to a temporary file of mode 0600 beside the target. Only after the end of the
    stream, after `inspect` has seen the temporary file and found nothing to raise, and after
    fsync does it get its name. A file that `overwrite` allows to be replaced is kept beside it as
    `NAME.replaced-TIME`, and its path is returned. On any exception the temporary file is removed
    and the target is as it was. Raise the errors of `check`, and TARGET_FAILED when the file
    system refuses, for example because it is full.
    """
    path = check(request)
    temporary = unfinished(request)
    try:
        size = _write(stream, temporary, path)
        if inspect is not None:
            inspect(temporary)
        with _refusals(path):
            kept = _name(temporary, path, overwrite=request.overwrite)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
        raise
    return path, size, kept


@contextlib.contextmanager
def _refusals(path: Path) -> Iterator[None]:
    try:
        yield
    except FileExistsError as error:
        raise Art32Error(Code.TARGET_EXISTS, f"`{path}` appeared while the restore ran") from error
    except OSError as error:
        reason = (error.strerror or "error").lower()
        raise Art32Error(Code.TARGET_FAILED, f"`{path}` cannot be written: {reason}") from error


def _write(stream: Iterator[bytes], temporary: Path, path: Path) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with _refusals(path):
        descriptor = os.open(temporary, flags, 0o600)
    try:
        with _refusals(path):
            pour(stream, descriptor)
            os.fsync(descriptor)
        return os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)


def _name(temporary: Path, path: Path, *, overwrite: bool) -> Path | None:
    kept = None
    if overwrite and os.path.lexists(path):
        kept = path.with_name(f"{path.name}.replaced-{clock.stamp(clock.now())}")
        os.link(path, kept, follow_symlinks=False)
        temporary.rename(path)
    else:
        files.rename_without_replacing(temporary, path)
    files.sync_directory(path.parent)
    return kept
