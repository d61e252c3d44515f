"""Ports that listen against ports that should: one that nobody named may be an intruder's (P1)."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterator

import psutil

from agent.health.checks import Situation
from agent.health.result import Result, State

_RUNBOOK = "host-compromised"


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
    return found


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
