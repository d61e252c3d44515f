"""What a request says once every disguise is taken off: one form that patterns can be written for.

Percent-encoding is undone up to three times, `+` and SQL's comments become blanks, the daemons'
`\\x22` becomes a quote, overlong UTF-8 of dot and slash becomes these, Log4j's lookups that only
hide a letter are resolved, and letters become small.
"""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

LONGEST_FIELD = 8192  # nginx's and Apache's own limit for a request line
_ROUNDS = 3
_UNICODE_ESCAPE = re.compile(rb"%u00([0-9a-f]{2})", re.IGNORECASE)
_DAEMON_ESCAPE = re.compile(rb"\\x([0-9a-f]{2})", re.IGNORECASE)
_BLANKS = re.compile(rb"(?:/\*!?[0-9]{0,6}|\*/|[\x00-\x20\xa0])+")
_LOOKUP = re.compile(rb"\$\{(?:lower|upper|[^${}]{0,64}:-|[a-z]{0,10}:{1,3}-?):?([^${}:]{1,32})\}")


def _byte(match: re.Match[bytes]) -> bytes:
    return bytes((int(match[1], 16),))


def normalise(field: bytes) -> bytes:
    """Return a target, referer or user agent in the form that patterns see."""
    text = field[:LONGEST_FIELD]
    if b"\\x" in text:
        text = _DAEMON_ESCAPE.sub(_byte, text)
    text = text.replace(b"+", b" ")
    for _ in range(_ROUNDS):
        if b"%" not in text:
            break
        before = text
        text = unquote_to_bytes(_UNICODE_ESCAPE.sub(_byte, text))
        if text == before:
            break
    if b"\xc0" in text:
        text = text.replace(b"\xc0\xae", b".").replace(b"\xc0\xaf", b"/")
    text = text.replace(b"\\", b"/").lower()
    text = _BLANKS.sub(b" ", text)
    if b"${" in text:
        for _ in range(8):
            text, count = _LOOKUP.subn(rb"\1", text)
            if not count:
                break
    return text
