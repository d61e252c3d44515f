"""The one directory that a demo leaves, and who uses it at the moment."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from demo.keys import end_agents
from demo.terminal import DemoError

_MARK = ".art32-demo"
_LONGEST = 107 - len("/keys/restorer/S.gpg-agent.browser")  # sun_path, unix(7)


def default() -> Path:
    """Return `demo-output` where we are, or a directory under /tmp when that will not do.

    A GnuPG agent's socket needs a short path; and root restores only below directories that
    nobody else may change.
    """
    here = Path.cwd() / "demo-output"
    if len(os.fsencode(here)) <= _LONGEST and os.access(here.parent, os.W_OK) and _own(here.parent):
        return here
    return Path("/tmp") / f"art32-demo-{os.geteuid()}"  # noqa: S108 - a mark tells whose it is


def _own(directory: Path) -> bool:
    if os.geteuid() != 0:
        return True
    return all(
        status.st_uid == 0 and (not status.st_mode & 0o022 or status.st_mode & 0o1000)
        for status in (path.stat() for path in (directory, *directory.parents))
    )


@contextlib.contextmanager
def held(directory: Path) -> Iterator[None]:
    """Hold the directory, emptied of what an earlier demo left; raise DemoError when it is not a
    demo's, or another demo is using it."""
    if len(os.fsencode(directory)) > _LONGEST:
        raise DemoError(
            f"`{directory}` is too long for a GnuPG agent's socket: name one of at most "
            f"{_LONGEST} bytes with --directory"
        )
    try:
        mark = _marked(directory)
    except OSError as error:
        raise DemoError(f"`{directory}` cannot be used: {error.strerror}") from error
    with mark.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DemoError(f"another demo is running in `{directory}`") from None
        _empty(directory)
        yield


def _marked(directory: Path) -> Path:
    mark = directory / _MARK
    directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    if directory.stat().st_uid != os.geteuid() or directory.is_symlink():
        raise DemoError(f"`{directory}` belongs to somebody else: name another with --directory")
    if not mark.exists() and any(directory.iterdir()):
        raise DemoError(
            f"`{directory}` holds something that is no demo's: name another with --directory"
        )
    mark.touch()
    return mark


def _empty(directory: Path) -> None:
    # the agents of a demo that was killed: they would answer for the homes that come now
    end_agents(path.parent for path in directory.rglob("pubring.kbx"))
    for path in directory.iterdir():
        if path.name == _MARK:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
