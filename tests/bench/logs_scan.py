"""Logs that are scanned: ordinary traffic, and one where every line is an attack."""

from __future__ import annotations

import random
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from agent.logs.scan.rules import load

_AGENTS = (
    (
        b"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
        b"Chrome/124.0.0.0 Safari/537.36"
    ),
    b"Mozilla/5.0 (X11; Linux x86_64; rv:125.0) Gecko/20100101 Firefox/125.0",
    (
        b"Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 "
        b"(KHTML, like Gecko) Version/17.4 Mobile/15E148 Safari/604.1"
    ),
    b"Googlebot/2.1 (+http://www.google.com/bot.html)",
)
_PATHS = (
    b"/", b"/products/%d", b"/img/logo-%d.png", b"/api/v1/orders/%d", b"/static/app.%d.js",
    b"/search?q=blue+shoes&page=%d", b"/account?email=user%d%%40example.org",
    b"/go?to=https%%3A%%2F%%2Fexample.org%%2F%d",
)  # fmt: skip
_STATUSES = (200,) * 92 + (304,) * 4 + (302,) + (404,) * 2 + (500,)
PYTHON = """
import re, sys
triggers = open(sys.argv[2], "rb").read().splitlines()
found = re.compile(b"|".join(b"(?:%s)" % one for one in triggers), re.IGNORECASE)
data = open(sys.argv[1], "rb").read()
print(sum(1 for _ in found.finditer(data)))
"""


def ordinary(size: int) -> Iterator[bytes]:
    """Yield lines of ordinary traffic: 28 % IPv6, 3 % errors, e-mail addresses, redirects."""
    source = random.Random(1)
    done = number = 0
    while done < size:
        number += 1
        address = (
            b"2001:db8:%x:%x::%x" % tuple(source.randrange(65536) for _ in range(3))
            if source.random() < 0.28
            else b"%d.%d.%d.%d" % (source.randrange(1, 224), *source.randbytes(3))
        )
        path = source.choice(_PATHS)
        path = path % source.randrange(10**5) if b"%d" in path else path
        second = number // 200
        line = (
            b'%s - - [24/Nov/2026:%02d:%02d:%02d +0000] "GET %s HTTP/1.1" %d %d '
            b'"https://shop.example.org/" "%s"\n'
            % (
                *(address, second // 3600 % 24, second // 60 % 60, second % 60, path),
                *(source.choice(_STATUSES), source.randrange(10**5), source.choice(_AGENTS)),
            )
        )
        done += len(line)
        yield line


def attacks(size: int) -> Iterator[bytes]:
    """Yield the rules' own samples that match, over and over, from changing addresses."""
    source = random.Random(2)
    lines = [one.line.encode() for rule in load() for one in rule.samples if one.matches]
    done = 0
    while done < size:
        line = source.choice(lines).replace(b"203.0.113.7", b"203.0.113.%d" % source.randrange(250))
        done += len(line) + 1
        yield line + b"\n"


def make(path: Path, size: int, lines: Callable[[int], Iterator[bytes]]) -> Path:
    """Write a log of about that size, unless it is there."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as handle:
            handle.writelines(lines(size))
    return path


def write_patterns(directory: Path) -> tuple[Path, Path]:
    """Write all triggers, one a line, as Python and ripgrep take them, and for `grep -E`."""
    directory.mkdir(parents=True, exist_ok=True)
    triggers = sorted({one.decode() for rule in load() for one in rule.searched})
    perl, posix = directory / "perl.txt", directory / "posix.txt"
    perl.write_text("\n".join(triggers) + "\n")
    posix.write_text("\n".join(map(_posix, triggers)) + "\n")
    return perl, posix


def _posix(trigger: str) -> str:
    text = trigger.replace("(?:", "(").replace(r"\d", "[0-9]").replace(r"\x27", "'")
    text = re.sub(r"\\n", "", text)
    return re.sub(r"\\([&#/<> \-~\"'])", r"\1", text)


def python_command(log: Path, patterns: Path) -> list[str]:
    """Return the command that searches with Python's `re`."""
    return [sys.executable, "-c", PYTHON, str(log), str(patterns)]
