"""Log formats as data, and the reader of their times."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from importlib import resources
from typing import Any

from agent import clock

_NESTING = (b"nginx",)
_MONTHS = {
    name: number
    for number, name in enumerate(b"Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(), 1)
}


@dataclass(slots=True)
class Request:
    """One request of an access log; the fields are bytes as they stand in the line."""

    address: bytes
    time: float | None
    user: bytes
    method: bytes
    target: bytes
    status: bytes
    referer: bytes
    agent: bytes
    forwarded: bytes
    rest: bytes = b""  # the line from the request on, of which all fields but three are parts


@dataclass(slots=True)
class Message:
    """One line of syslog; `start` is where the message begins in it."""

    time: float | None
    program: bytes
    start: int


@dataclass(frozen=True)
class _Pattern:
    match: Callable[..., re.Match[bytes] | None]
    seconds: Callable[[bytes], float | None]
    program: bytes = b""  # who writes so, where the line does not say


@dataclass(frozen=True)
class Formats:
    """All formats, compiled."""

    lines: tuple[_Pattern, ...]
    prefixes: tuple[_Pattern, ...]
    keys: dict[str, tuple[tuple[str, ...], ...]]
    table: tuple[dict[str, Any], ...]


@cache
def load() -> Formats:
    """Return the formats that ship with Art32."""
    text = resources.files(__name__.rpartition(".")[0]).joinpath("formats.toml").read_text("utf-8")
    table = tomllib.loads(text)["formats"]
    lines: list[_Pattern] = []
    prefixes: list[_Pattern] = []
    keys: dict[str, tuple[tuple[str, ...], ...]] = {}
    for one in table:
        if one["kind"] == "json":
            keys = {
                field: tuple(tuple(path.split(".")) for path in paths)
                for field, paths in one["keys"].items()
            }
            continue
        pattern = re.compile(one["pattern"].encode(), re.DOTALL)
        match = pattern.fullmatch if one["kind"] == "line" else pattern.match
        compiled = _Pattern(match, _READERS[one["time"]], one.get("program", "").encode())
        (lines if one["kind"] == "line" else prefixes).append(compiled)
    return Formats(tuple(lines), tuple(prefixes), keys, tuple(table))


def read_message(line: bytes, start: int = 0) -> Message | None:
    """Return what precedes the message of a line of syslog or of an error log; else None."""
    for pattern in load().prefixes:
        found = pattern.match(line, start)
        if found is None:
            continue
        seconds = pattern.seconds(found["time"])
        if pattern.program:
            return Message(seconds, pattern.program, found.end())
        message = Message(seconds, found["program"], found.end())
        # an error log that comes by syslog has its own beginning after that of syslog
        inner = read_message(line, found.end()) if message.program in _NESTING else None
        return inner if inner is not None and inner.program == message.program else message
    return None


def read_request(line: bytes, *, split: bool = False) -> Request | None:
    """Return a line of an access log, also one that came by syslog; None when it is none.

    `split` is for lines that may come over and over, and gives `rest`.
    """
    request = _read_bare_request(line, split)
    if request is None and line[:1] != b"{":
        prefix = read_message(line)
        if prefix is not None:
            request = _read_bare_request(line[prefix.start :], split)
    return request


def _read_bare_request(line: bytes, split: bool) -> Request | None:
    if line.startswith(b"{"):
        return _read_json(line)
    known = _read_parts(line) if split else None
    if known is not None:
        return known
    for pattern in load().lines:
        found = pattern.match(line)
        if found is None:
            continue
        address, user, time, request, status, referer, agent, forwarded = found.groups(b"")
        method, target = _split(request)
        return Request(
            address, pattern.seconds(time), user, method, target, status, referer, agent, forwarded
        )
    return None


def _read_parts(line: bytes) -> Request | None:
    """Read the usual line in two parts: the first differs from line to line, the second is known
    when it came before.
    """
    begin = line.find(b'"')
    head = _HEAD.fullmatch(line, 0, begin) if begin > 0 else None
    if head is None:
        return None
    rest = line[begin:]
    parsed = _read_rest(rest)
    if parsed is None:
        return None
    address, user, time = head.groups()
    return Request(address, clf_seconds(time), user, *parsed, rest)


# As in `formats.toml`; without a quotation mark before the request, there is one way to cut a line.
_HEAD = re.compile(
    rb"([0-9A-Fa-f:.]{2,45}(?:%[A-Za-z0-9_.-]{1,16})?) [^ \"]{1,255} (-|[^\"\n]{1,512}) "
    rb"\[(\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4})\] "
)
_REST = re.compile(
    rb'"([^"\\]*+(?:\\.[^"\\]*+)*)" ([1-9]\d\d) (?:\d+|-)'
    rb'(?: "([^"\\]*+(?:\\.[^"\\]*+)*)" "([^"\\]*+(?:\\.[^"\\]*+)*)"'
    rb'(?: "([0-9A-Fa-f:., -]{1,512})")?(?: .*)?)?',
    re.DOTALL,
)


@lru_cache(2048)
def _read_rest(rest: bytes) -> tuple[bytes, bytes, bytes, bytes, bytes, bytes] | None:
    """Return method, target, status, referer, agent and X-Forwarded-For."""
    found = _REST.fullmatch(rest)
    if found is None:
        return None
    request, status, referer, agent, forwarded = found.groups(b"")
    return (*_split(request), status, referer, agent, forwarded)


def _split(request: bytes) -> tuple[bytes, bytes]:
    """Return method and target; what is no request line is all target."""
    method, _, rest = request.partition(b" ")
    if not rest or len(method) > 20:
        return b"", request
    target, space, version = rest.rpartition(b" ")
    return (method, target) if space and version[:5] == b"HTTP/" else (method, rest)


def _read_json(line: bytes) -> Request | None:
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict):
        return None
    keys = load().keys
    field = {name: _find(document, paths) for name, paths in keys.items()}
    if not field["address"] or not field["status"]:
        return None
    method, target = field["method"], field["target"]
    if not target:
        method, target = _split(field["request"])
    return Request(
        field["address"],
        _any_seconds(field["time"]),
        field["user"],
        method,
        target,
        field["status"][:3],
        field["referer"],
        field["agent"],
        field["forwarded"],
    )


def _find(document: dict[str, Any], paths: tuple[tuple[str, ...], ...]) -> bytes:
    for path in paths:
        value: Any = document
        for part in path:
            value = value.get(part) if isinstance(value, dict) else None
        if isinstance(value, list):
            value = value[0] if value else None
        if isinstance(value, str | int | float) and value != "":
            return str(value).encode("utf-8", "surrogatepass")
    return b""


@lru_cache(4096)
def _clf_minute(text: bytes, zone: bytes) -> float | None:
    """`24/Nov/2026:06:03` and `+0100` as seconds."""
    try:
        year, month, day = int(text[7:11]), _MONTHS[text[3:6]], int(text[:2])
        moment = datetime(year, month, day, int(text[12:14]), int(text[15:17]), tzinfo=UTC)
        offset = int(zone[1:3]) * 3600 + int(zone[3:5]) * 60
    except (ValueError, KeyError):
        return None
    sign = -1 if zone[:1] == b"-" else 1
    return moment.timestamp() - sign * offset


def clf_seconds(text: bytes) -> float | None:
    """Return `24/Nov/2026:06:03:09 +0100` as seconds since the epoch."""
    minute = _clf_minute(text[:17], text[21:26])
    return None if minute is None else minute + int(text[18:20])


@lru_cache(4096)
def iso_seconds(text: bytes) -> float | None:
    """Return RFC 3339 text as seconds since the epoch; None without a zone."""
    plain = text.replace(b",", b".").replace(b"Z", b"+00:00").decode("ascii", "replace")
    plain = re.sub(r"(\.\d{6})\d+", r"\1", plain)
    try:
        moment = datetime.fromisoformat(plain)
    except ValueError:
        return None
    return moment.timestamp() if moment.tzinfo is not None else None


@lru_cache(4096)
def rfc3164_seconds(text: bytes) -> float | None:
    """Return `Nov 24 06:03:09`, local time, as seconds: of the last year in which it is past."""
    today = clock.now().astimezone()
    try:
        month, day = _MONTHS[text[:3]], int(text[4:6])
        hour, minute, second = int(text[7:9]), int(text[10:12]), int(text[13:15])
        moment = datetime(today.year, month, day, hour, minute, min(second, 59)).astimezone()
        if moment > today + timedelta(days=1):
            moment = moment.replace(year=today.year - 1)
    except (ValueError, KeyError):
        return None
    return moment.timestamp()


def _any_seconds(text: bytes) -> float | None:
    """Return a time of a JSON log: RFC 3339, seconds, or as in the common log format."""
    if text[2:3] == b"/" and len(text) == 26:
        return clf_seconds(text)
    if text[4:5] == b"-":
        return iso_seconds(text)
    try:
        number = float(text)
    except ValueError:
        return None
    return number if 0 < number < 1e11 else None


@lru_cache(4096)
def nginx_seconds(text: bytes) -> float | None:
    """Return `2026/11/24 06:03:09`, local time, as seconds."""
    return _local_seconds(text, "%Y/%m/%d %H:%M:%S")


@lru_cache(4096)
def apache_seconds(text: bytes) -> float | None:
    """Return `Tue Nov 24 06:03:09.123456 2026`, local time, as seconds."""
    return _local_seconds(text[4:19] + text[-5:], "%b %d %H:%M:%S %Y")


@lru_cache(4096)
def postgresql_seconds(text: bytes) -> float | None:
    """Return `2026-11-24 06:03:09.123 UTC` as seconds; None with another zone's abbreviation."""
    moment, _, zone = text.rpartition(b" ")
    if zone in (b"UTC", b"GMT"):
        zone = b"+00"
    return iso_seconds(moment + zone) if zone[:1] in b"+-" else None


def _local_seconds(text: bytes, form: str) -> float | None:
    try:
        moment = datetime.strptime(text.decode("ascii"), form)  # noqa: DTZ007 - local, as logged
    except ValueError:
        return None
    return moment.astimezone().timestamp()


_READERS: dict[str, Callable[[bytes], float | None]] = {
    "clf": clf_seconds,
    "iso": iso_seconds,
    "rfc3164": rfc3164_seconds,
    "nginx": nginx_seconds,
    "apache": apache_seconds,
    "postgresql": postgresql_seconds,
}
