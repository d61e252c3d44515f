"""What `doctor` says about the pipes: would they lose lines, and can they write at all."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

from agent.backup.checkup import Finding
from agent.config.logs_pipe import LogPipe
from agent.config.model import Configuration
from agent.errors import ExitStatus
from agent.logs.pipe import sockets
from agent.logs.scrub import open_scrubber

LEAST_QUEUE = 512
_QUEUE = Path("/proc/sys/net/unix/max_dgram_qlen")


def examine(config: Configuration) -> list[Finding]:
    """Return what was found; nothing when no pipe is configured."""
    pipes = config.logs.pipes
    if not pipes:
        return []
    found = [_engine(config)]
    if any(pipe.endpoint.kind == "unix-datagram" for pipe in pipes):
        found.append(_queue_length())
    for pipe in pipes:
        if pipe.endpoint.kind == "udp":
            found += _udp(pipe)
        elif pipe.endpoint.kind == "fifo":
            found += _fifo(pipe)
        found.append(_output(pipe))
    return found


def _engine(config: Configuration) -> Finding:
    if open_scrubber(config.logs.scrub).engine == "kernel":
        return Finding("log pipes", True, "scrubbed by the kernel")
    return Finding(
        "log pipes",
        None,
        "scrubbed without the kernel: when many datagrams come they are masked bluntly",
        "install art32-kernel",
    )


def _queue_length() -> Finding:
    """A sender that does not block loses what does not fit into the queue, and nobody counts it."""
    subject = "log datagrams"
    try:
        length = int(_QUEUE.read_text())
    except (OSError, ValueError):
        return Finding(subject, None, f"`{_QUEUE}` cannot be read")
    return Finding(
        subject,
        length >= LEAST_QUEUE,
        f"the queue of a Unix datagram socket holds {length}; it should hold {LEAST_QUEUE}",
        f"sysctl -w net.unix.max_dgram_qlen={LEAST_QUEUE}, before the socket is made; better: udp",
        ExitStatus.CONFIGURATION,
    )


def _udp(pipe: LogPipe) -> Iterator[Finding]:
    subject = f"log pipe {pipe.name}"
    family = socket.AF_INET6 if ":" in pipe.endpoint.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        size = sockets.enlarge(probe, pipe.receive_buffer)
        enough = size >= pipe.receive_buffer
        yield Finding(
            subject,
            enough or None,
            f"receive buffer of {size} bytes"
            + ("" if enough else f", not the {pipe.receive_buffer} that are configured"),
            f"ReceiveBuffer= in the socket unit, or sysctl -w "
            f"net.core.rmem_max={pipe.receive_buffer}",
        )
        try:
            sockets.queue(probe)
        except OSError:
            yield Finding(
                subject,
                False,
                "this kernel does not tell how many datagrams it drops (SO_MEMINFO)",
                "Linux 4.12 does; until then: unix-stream",
                ExitStatus.CONFIGURATION,
            )


def _fifo(pipe: LogPipe) -> Iterator[Finding]:
    path = pipe.endpoint.path
    try:
        mode = path.lstat().st_mode
    except OSError:
        return  # made at the start
    if not stat.S_ISFIFO(mode):
        yield Finding(
            f"log pipe {pipe.name}",
            False,
            f"`{path}` is no FIFO: a daemon may have written raw lines there",
            "stop the daemon, scrub or remove the file, start `art32 logs pipe`, then the daemon",
            ExitStatus.CONFIGURATION,
        )


def _output(pipe: LogPipe) -> Finding:
    subject = f"log pipe {pipe.name}"
    if not pipe.to.startswith("/"):
        return Finding(subject, True, f"to `{pipe.to}`")
    path = Path(pipe.to)
    if path.is_symlink() or (path.exists() and not path.is_file()):
        return Finding(
            subject, False, f"`{path}` is no ordinary file", "remove it", ExitStatus.PERMISSION
        )
    place = path if path.exists() else path.parent
    return Finding(
        subject,
        os.access(place, os.W_OK),
        f"to `{path}`" if os.access(place, os.W_OK) else f"`{place}` cannot be written",
        f"`{path.parent}` must exist and belong to the user who runs art32",
        ExitStatus.PERMISSION,
    )
