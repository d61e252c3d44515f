"""Takes personal data and secrets out of what child processes say, before anyone reads it.

PostgreSQL's DETAIL line quotes the offending row, CONTEXT quotes the line of a COPY, tar names
files. What a program prints is therefore cut to the lines that state the failure, and addresses,
quoted values and anything that looks like a credential are masked.
"""

from __future__ import annotations

import re

_DROPPED = re.compile(
    r"^\s*(?:DETAIL|CONTEXT|HINT|QUERY|STATEMENT|LINE \d+|Command was|\^|-->)\b", re.IGNORECASE
)
_MASKS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s\"']+", re.IGNORECASE), "<url>"),
    (re.compile(r"[^\s@\"'<>]+@[^\s@\"'<>]+\.[^\s@\"'<>]+"), "<email>"),
    (re.compile(r"\b(?:\d{1,3}\.){3}\d{1,3}\b"), "<address>"),
    (re.compile(r"(?i)\b(?:[0-9a-f]{1,4}:){2,7}[0-9a-f]{0,4}|::[0-9a-f]{1,4}\b"), "<address>"),
    (re.compile(r"(?i)\b(password|passwd|passphrase|secret|token)\b\s*[=:]\s*\S+"), r"\1=<secret>"),
    (re.compile(r"\b[A-Za-z0-9+/]{40,}={0,2}"), "<secret>"),
    (re.compile(r"=\([^)]*\)"), "=(<value>)"),
    (re.compile(r"syntax for type ([\w ]+): \"[^\"]*\""), r'syntax for type \1: "<value>"'),
)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

LIMIT = 400


def line(text: str) -> str:
    """Given one line of foreign text, return it masked, without control characters and short."""
    clean = _CONTROL.sub(" ", text)
    for pattern, replacement in _MASKS:
        clean = pattern.sub(replacement, clean)
    return clean.strip()[:LIMIT]


def diagnostic(stderr: bytes, *, keep: re.Pattern[str] | None = None) -> str:
    """Given a child's standard error, return at most two masked lines that say what went wrong.

    `keep`, where given, chooses the lines; otherwise the last ones that are not data are taken.
    An empty string means that the program said nothing usable.
    """
    lines = [
        text
        for text in stderr.decode("utf-8", "replace").splitlines()
        if text.strip() and not _DROPPED.match(text) and (keep is None or keep.search(text))
    ]
    chosen = lines[:2] if keep is not None else lines[-2:]
    return "; ".join(line(text) for text in chosen)
