"""Puts a service together from the configuration: a host archives, a restorer recovers."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import pwd
import signal
import socket
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType

from agent import clock, files, notify
from agent.backup import identity
from agent.backup.restore import private_home
from agent.backup.wal import place, state
from agent.backup.wal.fetch import Fetcher
from agent.backup.wal.keys import Keys
from agent.backup.wal.marks import Marks
from agent.backup.wal.opening import Opener
from agent.backup.wal.push import Shipper
from agent.backup.wal.service import Service
from agent.config.model import Configuration, Wal
from agent.errors import Art32Error, Code

_BACKLOG = 64
_LAST_WORDS = 1.0  # seconds for answers that are on their way


def serve(config: Configuration, say: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT.

    A host, which has `encryption` and `signing`, archives; any machine fetches what its keys and
    its rights let it. Raise a key error, LOCKED when another service runs, CONFIG_INVALID without
    `[wal]`, PERMISSION when it cannot listen.
    """
    settings = _settings(config)
    manager = notify.Manager()
    with contextlib.ExitStack() as stack:
        stop = stack.enter_context(_signalled())
        listener = stack.enter_context(_listening(settings.socket))
        shipper = None
        if config.encryption is not None and (settings.signing or config.signing):
            lock = config.state_directory / state.DIRECTORY / ".lock"
            stack.enter_context(files.lock(lock, what="the service of `wal`"))
            shipper = stack.enter_context(_shipping(config, settings, say))
        hosts = settings.hosts or (config.host,)
        fetcher = functools.cache(lambda: stack.enter_context(_fetching(config, hosts)))
        users = _users(settings.clients)
        service = Service(listener, users, host=config.host, shipper=shipper, fetcher=fetcher)
        say(f"serves `{settings.socket}`")
        service.run(stop, manager)


def _settings(config: Configuration) -> Wal:
    if config.wal is None:
        raise Art32Error(
            Code.CONFIG_INVALID,
            "the configuration has no `wal`",
            hint="add a section [wal]; it may be empty",
        )
    return config.wal


@contextlib.contextmanager
def _shipping(
    config: Configuration, settings: Wal, say: Callable[[str], None]
) -> Iterator[Shipper]:
    keys = Keys(config)
    status = state.Recorder(config.state_directory, say)
    keys.get()  # what is wrong with a key shows now, and not at the first segment
    shipper = Shipper(
        keys,
        place.open_archive(config.store),
        Marks(config.state_directory / state.DIRECTORY / "marks"),
        prefix=config.store.prefix,
        workers=settings.workers,
        report=status.report,
    )
    try:
        yield shipper
    finally:
        shipper.close()
        clock.sleep(_LAST_WORDS)
        keys.close()


@contextlib.contextmanager
def _fetching(config: Configuration, hosts: Sequence[str]) -> Iterator[Fetcher]:
    with identity.reader(config) as reader:
        archive = place.open_archive(config.store)
        opener = Opener(
            archive, reader, prefix=config.store.prefix, private_home=private_home(config)
        )
        yield Fetcher(archive, opener, hosts)


def _users(clients: Sequence[str]) -> set[int]:
    """Return the numbers of users who may ask: the named ones, and the service's own."""
    found = {os.geteuid()}
    for name in clients:
        try:
            found.add(pwd.getpwnam(name).pw_uid)
        except KeyError:
            raise Art32Error(
                Code.CONFIG_INVALID,
                f"there is no user `{name}`",
                hint="`wal.clients` names the users as whom the database server runs",
            ) from None
    return found


@contextlib.contextmanager
def _listening(path: Path) -> Iterator[socket.socket]:
    """Hold the socket that systemd passes, or one of our own at that path."""
    passed = notify.passed_descriptors()
    if passed:
        with socket.socket(fileno=passed[0]) as listener:
            if listener.family != socket.AF_UNIX or listener.type != socket.SOCK_SEQPACKET:
                raise Art32Error(
                    Code.CONFIG_INVALID,
                    "systemd passes a socket of another kind",
                    hint="art32-wal.socket has `ListenSequentialPacket=`",
                )
            yield listener
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        try:
            _remove_stale(path)
            listener.bind(str(path))
            path.chmod(0o666)  # the kernel says who it is that asks
            listener.listen(_BACKLOG)
        except OSError as error:
            raise _refused(path, error) from error
        try:
            yield listener
        finally:
            with contextlib.suppress(OSError):
                path.unlink()


def _remove_stale(path: Path) -> None:
    """Remove a socket that nobody listens on; raise EADDRINUSE when somebody does."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise OSError(errno.EEXIST, "something else is there")
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    raise OSError(errno.EADDRINUSE, "in use")


def _refused(path: Path, error: OSError) -> Art32Error:
    if error.errno == errno.EADDRINUSE:
        return Art32Error(
            Code.LOCKED,
            f"another process listens on `{path}`",
            hint="systemctl status art32-wal.socket art32-wal.service",
        )
    return Art32Error(
        Code.PERMISSION,
        f"`{path}` cannot be opened: {(error.strerror or 'error').lower()}",
        hint="its directory must exist and belong to the user who runs art32",
    )


@contextlib.contextmanager
def _signalled() -> Iterator[int]:
    """Hold a descriptor that can be read once somebody has asked this process to end."""

    def ignore(number: int, frame: FrameType | None) -> None:
        """The number arrives through the pipe."""

    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    before = {number: signal.signal(number, ignore) for number in (signal.SIGTERM, signal.SIGINT)}
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        yield reading
    finally:
        signal.set_wakeup_fd(-1)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(reading)
        os.close(writing)
