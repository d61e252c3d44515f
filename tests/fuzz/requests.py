"""Holds the kernel's reading of access logs to the formats, and the scans with it and without."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from agent.config.logs_scan import Scan
from agent.logs.scan import Scanner, addresses, formats, hits
from agent.logs.scan.engine import TRIGGER_BITS
from agent.logs.scan.rules import Rule, load
from agent.logs.scan.tally import number_of
from tests.fuzz.compare import shortest

NOW = 1_795_500_180.0
RULES: tuple[Rule, ...] = tuple(
    rule.model_copy(update={"threshold": min(rule.threshold, 3), "total": rule.total and 4})
    for rule in load()
)
SAMPLES = tuple(
    sample.line.encode().replace(b"\n", b"") for rule in RULES for sample in rule.samples
)
_ADDRESSES = (
    b"203.0.113.7", b"198.51.100.9", b"2001:db8:1:2::7", b"::ffff:203.0.113.7", b"::ffff:cb00:7107",
    b"fe80::1%eth0", b"fe80::1%", b"203.0.113.07", b"1.2.3", b"::", b"1:2:3:4:5:6:7::",
    b"1:2:3:4:5:6:7:8:9", b"::1:2:3:4:5:6:7:8", b"1:2:3:4:5:6:1.2.3.4", b"01:00002::", b"256.1.1.1",
    b"::1.2.3.04", b"10.0.0.1", b"..", b"a" * 46, b"1.2.3.4%z", b"::ffff:1.2.3.4%z",
)  # fmt: skip
_TIMES = (
    b"24/Nov/2026:06:03:09 +0000", b"29/Feb/2024:23:59:59 +0100", b"29/Feb/2026:00:00:00 -0930",
    b"31/Apr/2026:00:00:00 +0000", b"01/Jan/0001:00:00:00 +0000", b"01/Jan/0000:00:00:00 +0000",
    b"31/Dec/9999:23:59:99 +9999", b"24/nov/2026:06:03:09 +0000", b"24/Nob/2026:24:60:00 +0000",
    b"29/Feb/1900:00:00:00 -0000", b"29/Feb/2000:12:00:00 +0000", b"00/Jan/2026:00:00:00 +0000",
    b"24/Nov/2026:06:03:09 +000", b"24/Nov/2026:24:03:09 +0000", b"24/Nov/2026:06:60:09 +0000",
)  # fmt: skip
_USERS = (b"-", b"alice", b"a b", b"- -", b"[x] [", b"%", b"u" * 512, b"u" * 513, b"", b"\xff")
_REQUESTS = (
    b"GET / HTTP/1.1", b"GET /a?b=c HTTP/1.1", b"GET /.env HTTP/1.1", b"POST /login HTTP/2.0", b"-",
    b"", b"GET", b"GET ", b" / HTTP/1.1", b"GET /a b HTTP/1.1", b"GET /a HTTP/1.1 x", b"\\x16\\x03",
    b"A" * 21 + b" /x HTTP/1.1", b"CONNECT x:1 HTTP/1.1", b'GET /\\"x HTTP/1.1', b"GET /\\\\",
    b"GET /../../etc/passwd?" + b"a" * 200 + b" HTTP/1.1", b"GET /%2e%2e/%2e%2e/etc HTTP/1.0",
)  # fmt: skip
_TAILS = (
    b'404 153 "-" "curl/8.5.0"', b'401 - "-" "x"', b"200 1", b'500 9 "-" "a" "203.0.113.9"',
    b'500 9 "-" "a" "203.0.113.9, 10.0.0.1" more', b'404 1 "-" "a" rest "x', b'404 1 "-"', b"099 1",
    b'404 1 "-" "a"x', b'404 1  "-" "a"', b"40 1", b'404 1x "-" "a"', b'200 7 "<script>" "sqlmap"',
    b'404 1 "a\\"b" "c\\\\"', b'404 1 "-" "a\\', b'404  "-" "a"', b'404 1 "-" "a" ', b"404 12 ",
)  # fmt: skip


def line(source: random.Random) -> bytes:
    """Return a line: of an access log, near to one, or a sample of the rules, perhaps damaged."""
    if source.random() < 0.3:
        text = source.choice(SAMPLES)
    else:
        text = b'%s %s %s [%s] "%s" %s' % (
            source.choice(_ADDRESSES),
            source.choice((b"-", b"-", b"-", b"id", b"i" * 255, b"i" * 256, b'"')),
            source.choice(_USERS),
            source.choice(_TIMES),
            source.choice(_REQUESTS),
            source.choice(_TAILS),
        )
    while source.random() < 0.25:
        place = source.randrange(len(text) + 1)
        glue = source.choice((b"", b" ", b'"', b"\\", b"-", b"]", b"\r", b"\xe9", b"/.env", b"9"))
        text = text[:place] + glue + text[place + source.randrange(3) :]
    return text.replace(b"\n", b"")


def misread(text: bytes, lines: hits.Lines) -> str | None:
    """Say what the kernel reads in another way than the formats; None when nothing."""
    (found,) = lines.read(text, [len(text) - 1 << TRIGGER_BITS | 5])
    start, stop, read, length, status, seconds, key, target, user, user_end, rest, triggers = found
    if (start, stop, triggers) != (0, len(text), b"\x20"):
        return f"the line stands from {start} to {stop}"
    if not read:
        return None
    wanted = formats.read_request(text, split=True)
    if wanted is None or formats.read_request(text.rstrip(b"\r"), split=True) != wanted:
        return "the line is none of an access log"
    told = (
        key[:length] if length else None,
        b"%d" % status,
        None if seconds == hits.NO_TIME else float(seconds),
        target,
        text[user:user_end],
        text[rest:],
    )
    right = (
        addresses.key_of(wanted.address),
        wanted.status,
        wanted.time,
        number_of(wanted.target),
        wanted.user,
        wanted.rest,
    )
    return None if told == right else f"it reads {told!r} and not {right!r}"


def scanned(blocks: Sequence[bytes], settings: Scan, *, kernel: bool) -> dict[str, Any]:
    """Return all that a scanner knows after some blocks."""
    scanner = Scanner(settings, RULES, scrub=lambda block: block, kernel=kernel)
    offset = 0
    for block in blocks:
        scanner.feed(memoryview(block), source="x", segment="s", offset=offset, now=NOW)
        offset += len(block)
    return scanner.state()


SETTINGS = (
    Scan(),
    Scan.model_validate({"trusted_proxies": ["203.0.113.0/24"], "exempt_networks": ["::/1"]}),
    Scan.model_validate({"tracked_addresses": 1000, "engine": "re"}),
)


def search(seed: int, count: int) -> str | None:
    """Look among generated lines for what the kernel makes the scan see otherwise."""
    source = random.Random(seed)
    lines = hits.open_lines(8)
    assert lines.name == "kernel"
    block = []
    for _ in range(count):
        text = line(source)
        block.append(text + b"\n")
        if text and (what := misread(text, lines)) is not None:
            return f"{what}\n  {shortest(text, lambda less: less and misread(less, lines))!r}"
    for settings in SETTINGS:
        if settings.engine == "re":
            block = block[:400]
        cut = sorted(source.randrange(len(block)) for _ in range(3))
        pieces = [block[a:b] for a, b in zip([0, *cut], [*cut, len(block)], strict=True)]
        differ = functools.partial(_differ, settings=settings)
        if differ(pieces):
            return f"the scan differs under {settings!r}\n  {_shortest(pieces, differ)!r}"
    return None


def _differ(pieces: Sequence[Sequence[bytes]], settings: Scan) -> bool:
    blocks = [b"".join(piece) for piece in pieces]
    fast, slow = (scanned(blocks, settings, kernel=kernel) for kernel in (True, False))
    return fast != slow


def _shortest(
    pieces: Sequence[Sequence[bytes]], differ: Callable[[Sequence[Sequence[bytes]]], bool]
) -> list[bytes]:
    """Leave out lines without which it still differs; a chunk at a time, then one by one."""
    lines = list(_joined(pieces))
    size = len(lines) // 2
    while size:
        index = 0
        while index < len(lines):
            less = lines[:index] + lines[index + size :]
            if less and differ([less]):
                lines = less
            else:
                index += size
        size //= 2
    return lines


def _joined(pieces: Sequence[Sequence[bytes]]) -> Iterator[bytes]:
    for piece in pieces:
        yield from piece
