"""Tells systemd how it stands: sd_notify(3), as a unit of `Type=notify` does, or any with
`NotifyAccess=main`."""

from __future__ import annotations

import contextlib
import functools
import os
import socket

from agent import clock

_FIRST_PASSED = 3


class Manager:
    """The service manager, if one listens; `watchdog` is how often it wants to hear, in seconds.

    The first one of a process takes the address out of the environment, so that no child speaks
    for us; `manager` has one for who comes later.
    """

    def __init__(self) -> None:
        address = os.environ.pop("NOTIFY_SOCKET", "")
        microseconds = os.environ.pop("WATCHDOG_USEC", "")
        ours = os.environ.pop("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        wanted = bool(address) and microseconds.isdecimal() and ours and int(microseconds) > 0
        self.watchdog = int(microseconds) / 2e6 if wanted else None
        self.due = 0.0
        self._status = ""

    def tell(self, *states: str) -> None:
        """Send states such as `READY=1`; harmless when nobody listens, and it never waits."""
        if not self._address:
            return
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender,
        ):
            sender.setblocking(False)
            sender.connect(self._address)
            sender.send("\n".join(states).encode())

    def status(self, text: str) -> None:
        """Say in one line, free of personal data, what is being done: `systemctl status` shows it.

        The same again is not sent again.
        """
        line = " ".join(text.split())
        if line != self._status:
            self._status = line
            self.tell(f"STATUS={line}")

    def reassure(self) -> None:
        """Tell the watchdog that all is well, when it is time to."""
        now = clock.monotonic()
        if self.watchdog is not None and now >= self.due:
            self.due = now + self.watchdog
            self.tell("WATCHDOG=1")


@functools.cache
def manager() -> Manager:
    """Return one manager for all of a process."""
    return Manager()


def passed_descriptors() -> list[int]:
    """Return the descriptors that systemd passes to this process (sd_listen_fds(3)); a second call
    finds none."""
    count = os.environ.pop("LISTEN_FDS", "0")
    ours = os.environ.pop("LISTEN_PID", "") == str(os.getpid())
    os.environ.pop("LISTEN_FDNAMES", None)
    number = int(count) if ours and count.isdecimal() else 0
    descriptors = list(range(_FIRST_PASSED, _FIRST_PASSED + number))
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    return descriptors
