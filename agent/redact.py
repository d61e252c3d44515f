"""Takes personal data and secrets out of what child processes say, before anyone reads it.

PostgreSQL's DETAIL line quotes the offending row, CONTEXT quotes the line of a COPY, tar names
files, MySQL quotes values. What a program prints is therefore cut to the lines that state the
failure, and whatever is quoted and is not the name of a known kind of thing is masked, with
addresses and anything that looks like a credential.
"""

from __future__ import annotations

import re

_DROPPED = re.compile(
    r"\s*(?:[\w.-]+: )?(?:DETAIL|CONTEXT|HINT|QUERY|STATEMENT|LINE \d+|Command was|\^|-->)(?:\b|$)",
    re.IGNORECASE,
)
# A line after a dropped one goes on with it, unless a program or a severity begins it.
_BEGINS = re.compile(r"[\w./<>:\[\]-]+:\s|(?:ERROR|FATAL|PANIC|WARNING)\b")
_NOUNS = (
    "aggregate|cast|collation|column|constraint|conversion|cursor|database|directory|domain|driver|"
    "encoding|extension|event|function|index|key|language|method|object|operator|option|parameter|"
    "partition|plugin|policy|procedure|program|publication|relation|role|rule|schema|sequence|"
    "server|slot|statistics|subscription|table|tablespace|trigger|type|user|variable|view"
)
_QUOTED = re.compile(
    rf"(?P<named>\b(?:{_NOUNS}) )?"
    r"(?:\"(?P<double>[^\"]*)(?:\"|$)|(?<![A-Za-z])'(?P<single>[^']*)(?:'|$))",
    re.IGNORECASE,
)
_NAME = re.compile(r"[A-Za-z0-9_$./-]{1,63}")
_MASKS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"(Got error: \d+: )\"(.*)\"( when |$)"), r"\1\2\3"),
    (re.compile(r"\b[a-z][a-z0-9+.-]{0,20}://[^\s\"']+", re.IGNORECASE), "<url>"),
    (
        re.compile(
            r"(?i)[\"']?(?<![a-z])((?:[a-z]{1,20}[_-]?){0,3}(?:password|passwd|passphrase|secret|token)"
            r"(?:[_-][a-z]{1,20}){0,3})[\"']?(\s?[=:]\s?)(?:\"[^\"]*(?:\"|$)|'[^']*(?:'|$)|\S+)"
        ),
        r"\1=<secret>",
    ),
    (re.compile(r"(?i)\b(bearer|basic) [\w.~+/=-]+"), r"\1 <secret>"),
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}"), "<secret>"),
    (re.compile(r"(invalid command) \\.*"), r"\1 <value>"),
    (re.compile(r"(right syntax to use near) .*"), r"\1 <value>"),
    (re.compile(r"(\bsignature from) \".*"), r"\1 <value>"),
    (
        re.compile(r"^(\S*\btar: )(?!Exiting |Error |Cannot |Unexpected |This )\S.*(: )"),
        r"\1<file>\2",
    ),
    (re.compile(r"(?<![^\s\"'<>(\[,;:=])[^\s@\"'<>]{1,64}@[^\s@\"'<>]+"), "<email>"),
    (re.compile(r"\b(?:\d{1,3}\.){3}\d{1,3}\b"), "<address>"),
    (
        re.compile(r"(?i)(?<![\w:])(?=[0-9a-f]{0,4}:[0-9a-f]{0,4}:)[0-9a-f:]{3,45}(?:%\w+)?"),
        "<address>",
    ),
    (re.compile(r"\b[A-Za-z0-9+/]{40,}={0,2}"), "<secret>"),
    (re.compile(r"=\([^)]*(?:\)|$)"), "=(<value>)"),
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")

LIMIT = 400
_LONGEST = 4096


def line(text: str) -> str:
    """Given one line of foreign text, return it masked, without control characters and short."""
    clean = _CONTROL.sub(" ", text[:_LONGEST])
    for pattern, replacement in _MASKS:
        clean = pattern.sub(replacement, clean)
    return _QUOTED.sub(_quoted, clean).strip()[:LIMIT]


def _quoted(match: re.Match[str]) -> str:
    """Keep what is quoted behind the noun of a kind of thing, and mask it otherwise."""
    value = match["double"] if match["double"] is not None else match["single"]
    if match["named"] and _NAME.fullmatch(value):
        return match[0]
    mark = '"' if match["double"] is not None else "'"
    return f"{match['named'] or ''}{mark}<value>{mark}"


def diagnostic(stderr: bytes, *, keep: re.Pattern[str] | None = None) -> str:
    """Given a child's standard error, return at most two masked lines that say what went wrong.

    `keep`, where given, chooses the lines; otherwise the last ones that are not data are taken.
    An empty string means that the program said nothing usable.
    """
    lines = []
    dropping = False
    for text in stderr.decode("utf-8", "replace").splitlines():
        dropping = bool(_DROPPED.match(text)) or (dropping and not _BEGINS.match(text))
        if text.strip() and not dropping and (keep is None or keep.search(text)):
            lines.append(text)
    chosen = lines[:2] if keep is not None else lines[-2:]
    return "; ".join(line(text) for text in chosen)
