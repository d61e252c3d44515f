"""One key a day for all processes of a host: a file in memory, gone with the day or a reboot.

A key of a process alone gives one client another token after each restart, and in each rotation.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from agent import files
from agent.config.model import Configuration
from agent.config.scrubbing import Settings
from agent.errors import Art32Error, Code
from agent.logs.scrub.keys import SIZE, PeriodKey, random_key, refuse_in_backup, today

LONGEST = timedelta(days=7)  # that a key may wait for the last segment of its day
#: Names the directory where the configuration does not: Art32's systemd units set it.
VARIABLE = "ART32_LOG_KEYS"
UNITS_DIRECTORY = Path("/run/art32-logs/keys")
_SUFFIX = ".key"
_IN_MEMORY = ("tmpfs", "ramfs")


class SharedKeys:
    """The keys of a host, in a directory that lies in memory.

    Raise CONFIG_INVALID when the directory is on a disk or is backed up, KEY_UNUSABLE when others
    may write there or read a key, PERMISSION when this user may not.
    """

    def __init__(self, directory: Path, *, backed_up: Sequence[Path] = ()) -> None:
        self._directory = directory
        refuse_in_backup(directory, backed_up)
        try:
            files.make_directory(directory)
            status = directory.lstat()
            kind = _file_system(status.st_dev)
        except OSError as error:
            raise self._refused(error) from error
        if kind not in _IN_MEMORY:
            raise Art32Error(
                Code.CONFIG_INVALID,
                f"`logs.scrub.key_directory` is `{directory}`, on a file system `{kind or '?'}`: a "
                "key there would outlive its day",
                hint="take a directory below /run, which is memory",
            )
        if not stat.S_ISDIR(status.st_mode) or not _is_private(status):
            raise Art32Error(
                Code.KEY_UNUSABLE,
                f"`{directory}` is open to others, or another's: keys are not safe there",
                hint=f"chmod 0700 {directory}",
            )

    def key(self, day: str) -> PeriodKey:
        """Return the key of a UTC day such as `2026-11-24`; the first who asks makes it."""
        path = self._directory / f"{day}{_SUFFIX}"
        try:
            return PeriodKey(self._read(path), day)
        except FileNotFoundError:
            pass
        try:
            files.create(path, random_key(day).secret)
        except FileExistsError:
            pass  # another process was first: its key counts
        except OSError as error:
            raise self._refused(error) from error
        return PeriodKey(self._read(path), day)

    def _read(self, path: Path) -> bytes:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise self._refused(error) from error
        try:
            status = os.fstat(descriptor)
            secret = os.read(descriptor, SIZE + 1)
        finally:
            os.close(descriptor)
        if not stat.S_ISREG(status.st_mode) or not _is_private(status) or len(secret) != SIZE:
            raise Art32Error(
                Code.KEY_UNUSABLE,
                f"`{path}` is no key of art32's, or others may read it",
                hint=f"rm {path}",
            )
        return secret

    def forget(self, before: str) -> None:
        """Overwrite and remove the keys of all days before one."""
        for path in self._paths():
            if path.name.removesuffix(_SUFFIX) < before:
                try:
                    with path.open("r+b") as file:
                        file.write(bytes(SIZE))
                    path.unlink()
                except FileNotFoundError:
                    continue
                except OSError as error:
                    raise self._refused(error) from error

    def _paths(self) -> Iterator[Path]:
        return self._directory.glob(f"[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]{_SUFFIX}")

    def _refused(self, error: OSError) -> Art32Error:
        code = Code.PERMISSION if isinstance(error, PermissionError) else Code.KEY_UNUSABLE
        return Art32Error(
            code, f"no key can be had from `{self._directory}`: {error.strerror or error}"
        )


class OwnKeys:
    """The keys of this process: the same for all that ask, gone with it."""

    def __init__(self) -> None:
        self._keys: dict[str, PeriodKey] = {}

    def key(self, day: str) -> PeriodKey:
        """Return the key of a UTC day."""
        if day not in self._keys:
            self._keys[day] = random_key(day)
        return PeriodKey(self._keys[day].secret, day)

    def forget(self, before: str) -> None:
        """Overwrite the keys of all days before one."""
        for day in [day for day in self._keys if day < before]:
            self._keys.pop(day).destroy()


def directory_of(settings: Settings) -> Path | None:
    """Return where keys are shared: what is configured, else what the unit says, else nowhere."""
    if settings.key_directory is not None:
        return settings.key_directory
    named = os.environ.get(VARIABLE)
    return Path(named) if named else None


def open_keys(settings: Settings, *, backed_up: Sequence[Path] = ()) -> SharedKeys | OwnKeys:
    """Return where keys come from: the shared directory, else this process alone."""
    directory = directory_of(settings)
    if directory is None or settings.mode != "pseudonym":
        return OwnKeys()
    return SharedKeys(directory, backed_up=backed_up)


def units_share() -> bool:
    """Whether Art32's package is installed here, whose units share keys by themselves."""
    return UNITS_DIRECTORY.parent.is_dir()


def unshared(config: Configuration) -> str | None:
    """Return a sentence when tokens last no longer than this process, though logs outlive it."""
    settings, logs = config.logs.scrub, config.logs
    lasting = bool(logs.pipes or logs.rotate or logs.watch.files)
    if settings.mode != "pseudonym" or not lasting or directory_of(settings) is not None:
        return None
    return (
        "pseudonyms change with each process: a client has another token after a restart and in "
        "each rotation, for `logs.scrub.key_directory` is not set"
    )


def directories(config: Configuration) -> list[Path]:
    """Return the directories that are backed up: no key may lie there."""
    return [source.path for source in config.sources if source.kind == "directory"]


def oldest_that_may_wait() -> str:
    """Return the first day whose key may still be kept."""
    return (datetime.strptime(today(), "%Y-%m-%d") - LONGEST).strftime("%Y-%m-%d")  # noqa: DTZ007


def _is_private(status: os.stat_result) -> bool:
    return status.st_uid in (0, os.geteuid()) and not status.st_mode & 0o077


def _file_system(device: int) -> str:
    """Return the kind of file system that has a device's number (proc(5), mountinfo)."""
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in Path("/proc/self/mountinfo").read_text("utf-8", "replace").splitlines():
        mount, _, source = line.partition(" - ")
        if mount.split()[2] == wanted:
            return source.split()[0]
    return ""
