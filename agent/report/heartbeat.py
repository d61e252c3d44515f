"""A call after each success, to a service that raises an alarm when it does not come.

A plain GET without any data. The addresses are secrets: who knows one can feign success.
"""

from __future__ import annotations

import http.client
import re
import ssl
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

from agent import __version__, clock
from agent.report.queue import Queue

DUTY = re.compile(r"[a-z][a-z-]{0,30}(?::[A-Za-z0-9][A-Za-z0-9_.@-]{0,62})?")
_ADDRESS = re.compile(
    r"https://[A-Za-z0-9.-]+(?::\d{1,5})?(?:/[!-~]*)?"
    r"|http://(?:localhost|127\.0\.0\.1|\[::1\])(?::\d{1,5})?(?:/[!-~]*)?"
)
_TOO_OLD = timedelta(hours=1)
_TIMEOUT = 10.0


def addresses(text: str) -> dict[str, str]:
    """Given lines `DUTY ADDRESS`, return each duty's address. Raise ValueError with the number of a
    wrong line; what stands in it is not quoted."""
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) != 2 or not DUTY.fullmatch(words[0]) or not _ADDRESS.fullmatch(words[1]):
            raise ValueError(f"line {number}")
        found[words[0]] = words[1]
    return found


def call_all(queue: Queue, known: dict[str, str], *, ca_file: Path | None) -> tuple[int, int]:
    """Call the address of every duty that has succeeded; return how many calls went well, and how
    many did not and are tried again. A success that is an hour old is news no more: silence then
    is what the alarm is for."""
    called = failed = 0
    for path, text in queue.beats():
        address = known.get(path.name)
        try:
            age = clock.now() - clock.parse_iso(text)
        except ValueError:
            age = _TOO_OLD
        if address is None or not -_TOO_OLD < age < _TOO_OLD:
            path.unlink(missing_ok=True)
        elif call(address, ca_file=ca_file):
            called += 1
            path.unlink(missing_ok=True)
        else:
            failed += 1
    return called, failed


def call(address: str, *, ca_file: Path | None) -> bool:
    """Call one address; return whether it answered with success. No redirection is followed."""
    parts = urlsplit(address)
    host, port = parts.hostname or "", parts.port
    connection: http.client.HTTPConnection
    try:
        if parts.scheme == "https":
            context = ssl.create_default_context(cafile=ca_file)
            connection = http.client.HTTPSConnection(host, port, timeout=_TIMEOUT, context=context)
        else:
            connection = http.client.HTTPConnection(host, port, timeout=_TIMEOUT)
        try:
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            connection.request("GET", target, headers={"User-Agent": f"art32/{__version__}"})
            return 200 <= connection.getresponse().status < 300
        finally:
            connection.close()
    except (OSError, http.client.HTTPException, ValueError):
        return False
