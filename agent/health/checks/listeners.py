"""Ports that listen against ports that should: one that nobody named may be an intruder's (P1)."""

from __future__ import annotations

import ipaddress
import re
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil

from agent import run
from agent.health.checks import Situation
from agent.health.result import Result, State

_RUNBOOK = "host-compromised"
_CGROUPS = Path("/sys/fs/cgroup")
_SOCKET = re.compile(
    r"^(?P<protocol>tcp|udp) .*?:(?P<port>\d+)\s+\S+\s.*?cgroup:(?P<cgroup>/\S*)", re.MULTILINE
)


def look(situation: Situation) -> Iterator[Result]:
    wanted = situation.config.health
    expected: dict[tuple[str, int], str | None] = {
        (one.protocol, one.port): one.program for one in wanted.listeners
    }
    try:
        found = _listening()
    except (psutil.AccessDenied, OSError):
        yield Result("listeners", State.UNKNOWN, "the sockets of this host cannot be listed")
        return
    for (protocol, port), program in sorted(expected.items()):
        name = f"port:{port}/{protocol}"
        programs = found.get((protocol, port))
        if programs is None:
            yield Result(
                name,
                State.FAIL,
                "nothing listens",
                hint=f"ss --listening --processes 'sport = {port}'",
            )
        elif program is not None and None in programs:
            yield Result(name, State.UNKNOWN, "the program behind it cannot be seen: run as root")
        elif program is not None and programs != {program}:
            other = ", ".join(sorted(one for one in programs if one and one != program))
            yield Result(
                name, State.FAIL, f"held by `{other}` instead of `{program}`", runbook=_RUNBOOK
            )
        else:
            yield Result(name, State.OK, f"held by {_shown(programs)}")
    if not wanted.check_listeners:
        return
    strangers = sorted(set(found) - set(expected))
    for protocol, port in strangers:
        yield Result(
            f"port:{port}/{protocol}",
            State.FAIL,
            f"listens unexpectedly, held by {_shown(found[protocol, port])}",
            hint="stop it, or name it under [[health.listeners]]",
            runbook=_RUNBOOK,
        )
    if not strangers:
        yield Result("listeners", State.OK, "no port listens that nobody named")


def _shown(programs: set[str | None]) -> str:
    names = sorted(name for name in programs if name)
    return ", ".join(f"`{name}`" for name in names) if names else "a program that cannot be seen"


def _listening() -> dict[tuple[str, int], set[str | None]]:
    """Return what is open to other machines: protocol and port with the names of the programs."""
    found: dict[tuple[str, int], set[str | None]] = {}
    for one in psutil.net_connections(kind="inet"):
        tcp = one.type == socket.SOCK_STREAM
        open_ = one.status == psutil.CONN_LISTEN if tcp else not one.raddr
        if not open_ or not one.laddr or _is_loopback(one.laddr.ip):
            continue
        found.setdefault(("tcp" if tcp else "udp", one.laddr.port), set()).add(_program(one.pid))
    if any(None in programs for programs in found.values()):
        _ask_for_cgroups(found)
    return found


def _ask_for_cgroups(found: dict[tuple[str, int], set[str | None]]) -> None:
    """Name the programs that only root sees behind their sockets: by the socket's control group.

    The kernel tells anybody to which one a socket belongs (ss(8), --cgroup), and who is in it. The
    program is one of the unit's then: no more is needed to see that it is the wrong unit's.
    """
    program = shutil.which("ss", path="/usr/bin:/bin:/usr/sbin:/sbin")
    if program is None:
        return
    done = run.run([program, "--no-header", "-lntu", "--cgroup"], timeout=30)
    for line in _SOCKET.finditer(done.stdout.decode("utf-8", "replace")):
        programs = found.get((line["protocol"], int(line["port"])))
        if programs is not None and None in programs:
            names = _members(line["cgroup"])
            if names:
                programs.discard(None)
                programs |= names


def _members(cgroup: str) -> set[str | None]:
    if cgroup == "/":  # of no unit
        return set()
    for place in (_CGROUPS, _CGROUPS / "unified", _CGROUPS / "systemd"):
        try:
            pids = (place / cgroup.lstrip("/") / "cgroup.procs").read_text().split()
        except OSError:
            continue
        return {_program(int(pid)) for pid in pids} - {None}
    return set()


def _is_loopback(address: str) -> bool:
    parsed = ipaddress.ip_address(address.split("%")[0])
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return (mapped or parsed).is_loopback


def _program(pid: int | None) -> str | None:
    if pid is None:
        return None
    try:
        return psutil.Process(pid).name()
    except psutil.Error:
        return None
