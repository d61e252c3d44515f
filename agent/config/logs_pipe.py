"""The sections `[[logs.pipes]]`: ways by which lines come in that must never be on a disk raw."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from agent.config.section import Section

EndpointKind = Literal["udp", "unix-datagram", "unix-stream", "fifo"]
_UDP = re.compile(r"udp:(?P<host>[0-9.]+|\[[0-9a-f:]+\]):(?P<port>[0-9]{1,5})")
_PATH = re.compile(r"(?P<kind>unix-datagram|unix-stream|fifo):(?P<path>/.+)")
_JOURNAL = re.compile(r"journald(?::[A-Za-z0-9_-]{1,64})?")
_SOCKET_PATH_BYTES = 107  # unix(7)


@dataclass(frozen=True)
class Endpoint:
    """Where lines come in: `host` and `port` of a loopback address, or a `path`."""

    kind: EndpointKind
    host: str = ""
    port: int = 0
    path: Path = Path("/")

    def __str__(self) -> str:
        if self.kind != "udp":
            return f"{self.kind}:{self.path}"
        return f"udp:{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


def parse_endpoint(text: str) -> Endpoint:
    """Return what `listen` names; raise ValueError with the reason."""
    if found := _UDP.fullmatch(text):
        host, port = found["host"].strip("[]"), int(found["port"])
        try:
            loopback = ipaddress.ip_address(host).is_loopback
        except ValueError:
            raise ValueError("is no address and port, such as `udp:127.0.0.1:5514`") from None
        if not loopback:
            raise ValueError("must be an address of the loopback, such as `udp:127.0.0.1:5514`")
        if not 0 < port < 65536:
            raise ValueError("the port must lie between 1 and 65535")
        return Endpoint("udp", host=host, port=port)
    if found := _PATH.fullmatch(text):
        kind, path = found["kind"], found["path"]
        if kind != "fifo" and len(path.encode()) > _SOCKET_PATH_BYTES:
            raise ValueError(f"a socket's path has at most {_SOCKET_PATH_BYTES} bytes")
        return Endpoint(kind, path=Path(path))  # type: ignore[arg-type]
    raise ValueError(
        "must be `udp:127.0.0.1:PORT`, `unix-datagram:/PATH`, `unix-stream:/PATH` or `fifo:/PATH`"
    )


def check_output(text: str) -> str:
    """Return what `to` names; raise ValueError with the reason."""
    if not _JOURNAL.fullmatch(text) and not text.startswith("/"):
        raise ValueError("must be an absolute path, `journald` or `journald:NAMESPACE`")
    return text


class LogPipe(Section):
    """One way by which lines come in, and where they go when they are scrubbed."""

    name: str = Field(
        pattern=r"^[a-z][a-z0-9-]{0,31}$",
        description="Its name in messages and in the state.",
        examples=["nginx-access"],
    )
    listen: str = Field(
        description="`udp:127.0.0.1:PORT` (or another address of the loopback), "
        "`unix-datagram:/PATH`, `unix-stream:/PATH` or `fifo:/PATH`. Which of them can lose "
        "lines: docs/daemons.md.",
        examples=["udp:127.0.0.1:5514"],
    )
    to: str = Field(
        description="A file, `journald` or `journald:NAMESPACE`.",
        examples=["/var/log/nginx/access.log"],
    )
    format: Literal["syslog", "lines"] | None = Field(
        None,
        description="`syslog` (RFC 3164 or 5424) or bare `lines`; by default `lines` for a FIFO.",
        examples=["syslog"],
    )
    header: Literal["drop", "keep"] = Field(
        "drop",
        description="Whether a file gets syslog's header too: time, host, program; its number of "
        "facility and severity is always left out.",
        examples=["keep"],
    )
    cut_length: int | None = Field(
        None,
        ge=16,
        description="The length at which the daemon cuts its lines, in bytes: what may be half an "
        "address at the end of such a line is masked. Instead of `cut_length` of `[logs.scrub]`.",
        examples=[2047],
    )
    receive_buffer: int = Field(
        64 << 20,
        ge=65536,
        le=1 << 30,
        description="Bytes of kernel memory for datagrams that wait (UDP).",
        examples=[67108864],
    )
    scan: bool = Field(
        True,
        description="Look for attacks in the raw lines, in memory. Not for a daemon whose files "
        "`art32 logs watch` follows as well: a line is to be scanned once.",
        examples=[True],
    )
    socket_mode: str = Field(
        "0660",
        pattern=r"^0[0-7]{3}$",
        description="Mode of a Unix socket or FIFO that is made.",
        examples=["0660"],
    )
    socket_group: str | None = Field(
        None, description="Group that it is given to.", examples=["www-data"]
    )
    fsync: bool = Field(
        False,
        description="Wait for the disk after every write. Otherwise a power cut can lose what the "
        "kernel has not written yet, usually half a minute.",
        examples=[False],
    )

    @field_validator("listen")
    @classmethod
    def _parsed(cls, value: str) -> str:
        parse_endpoint(value)
        return value

    @field_validator("to")
    @classmethod
    def _known(cls, value: str) -> str:
        return check_output(value)

    @property
    def endpoint(self) -> Endpoint:
        return parse_endpoint(self.listen)

    @property
    def framing(self) -> Literal["syslog", "lines"]:
        """`format`, or what is usual for this endpoint."""
        return self.format or ("lines" if self.endpoint.kind == "fifo" else "syslog")


def check_apart(pipes: tuple[LogPipe, ...]) -> tuple[LogPipe, ...]:
    """Return the pipes; raise ValueError when two share a name, an endpoint or a file."""
    for key in ("name", "listen", "to"):
        values = [getattr(pipe, key) for pipe in pipes]
        doubled = sorted({value for value in values if values.count(value) > 1})
        if key == "to":
            doubled = [value for value in doubled if not _JOURNAL.fullmatch(value)]
        if doubled:
            raise ValueError(f"two pipes have the same `{key}`: `{doubled[0]}`")
    return pipes
