"""Text that may leave: an allow-list of words, not a list of what to look for.

A word stays when it stands so in art32's own source, in the system's own words for its errors, or
among the names that the configuration gives to hosts, sources and logs. Names, table contents and
whatever else a program has put into a message are none of these, in any language or encoding. What
is an address, a credential, quoted, a path or a long number goes before that.
"""

from __future__ import annotations

import errno
import functools
import os
import re
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

import agent
from agent import redact
from agent.config.model import Configuration
from agent.logs.scrub import Scrubber, open_scrubber
from agent.report.key import identifier

LONGEST = 600
_LONGEST_READ = 4096
_MASKED = r"<(?:word|number|path|value|address|email|url|secret|file)(?: [0-9a-f]{6})?>"
_WORD = re.compile(r"[A-Za-z0-9]+(?:'[a-z]+)?")
_PIECES = re.compile(
    rf"(?P<masked>{_MASKED})"
    r"|(?P<quoted>`[^`]*(?:`|$)|\"[^\"]*(?:\"|$)|(?<!\w)'[^']*(?:'|$))"
    r"|(?P<path>(?:~\w*|(?<![\w>]))/[^\s:;,\"'`()<>]*)"
    r"|(?P<number>\+?\d(?:[ ().:/-]{0,2}\d)*(?![^\W_]))"
    r"|(?P<word>[^\W_]+(?:'[a-z]+)?)"
    r"|(?P<strange>[^ -~]|[\"'`])"
)
_NAME_PIECES = re.compile(rf"{_MASKED}|(?P<word>[^\W_]+)|(?P<strange>[^ -~]|[`\"'])")
_TERM = re.compile(r"[A-Za-z0-9_.: -]{1,80}")
_PLACE = re.compile(r"agent(?:\.[a-z_0-9]+)+:\d{1,5}")
_INSTANCE = re.compile(r"(art32-[a-z-]+@)([^@]+)(\.(?:service|timer|socket))")
_DIGITS, _DIGITS_IN_GROUPS = 6, 4
_SYSTEM_PATHS = ("/etc/art32", "/var/lib/art32", "/run/art32", "/usr/bin/", "/usr/lib/")
_NAMING = ("host", "name", "units", "source", "role", "kind", "preset")
#: What databases and tools say of their failures, where art32's source does not happen to.
_PROGRAMS = """
FATAL ERROR PANIC WARNING relation role database permission denied for connection refused timed
out to server at on socket failed authentication password user does not exist already exists
deadlock detected terminating due administrator command starting up shutting down recovery conflict
could not receive data from client unexpected EOF lost syntax error near lock timeout canceling
statement too many clients disk full no space left device read only file system tablespace column
table Access Got while packet dumping
"""


@functools.cache
def own_words() -> frozenset[str]:
    """Return every word of art32's source and of the system's error messages, as they are spelt.

    Where the source is not there, no word is known, and every one is masked.
    """
    found = set(_WORD.findall(_PROGRAMS))
    for path in Path(agent.__file__).parent.rglob("*.py"):
        found.update(_WORD.findall(path.read_text("utf-8", "replace")))
    for path in Path(agent.__file__).parent.rglob("rules/*.toml"):
        for rule in re.findall(r'^id = "([a-z0-9-]+)"$', path.read_text("utf-8"), re.MULTILINE):
            found.update(_WORD.findall(rule))
    for number in errno.errorcode:
        found.update(_WORD.findall(os.strerror(number)))
    found.update(one.name for one in signal.Signals)
    return frozenset(found)


def configured_names(config: Configuration) -> frozenset[str]:
    """Return what the configuration calls hosts, sources, logs and units: names that an
    administrator has given to things."""
    return frozenset(value for field, value in _texts(config) if field in _NAMING)


def _texts(section: BaseModel) -> Iterator[tuple[str, str]]:
    """Yield every name, text and path of a section with the name of its field."""
    for field in type(section).model_fields:
        value: Any = getattr(section, field)
        items: Iterable[Any] = value if isinstance(value, tuple) else (value,)
        for item in items:
            if isinstance(item, BaseModel):
                yield from _texts(item)
            elif isinstance(item, str | Path):
                yield field, str(item)


def _harmless(number: str) -> bool:
    """Whether a number may leave: a size, a status, a share; no date, telephone or account."""
    groups = re.findall(r"\d+", number)
    most = _DIGITS if len(groups) == 1 else _DIGITS_IN_GROUPS
    return number.isascii() and sum(map(len, groups)) <= most


class Masker:
    """Takes out of text what may not leave. Not for several threads at once."""

    def __init__(self, config: Configuration, key: bytes) -> None:
        self._key = key
        self._names = configured_names(config)
        # what checks are named after: mounts, servers, units
        self._looked_at = {
            word for _, text in _texts(config.health) for word in _WORD.findall(text)
        } | {word for name in self._names for word in _WORD.findall(name)}
        nothing_stays = {"mode": "remove", "leave": (), "email_domain": False}
        nothing_stays |= {"own_names": (), "exempt_networks": ()}
        settings = config.logs.scrub.model_copy(update=nothing_stays)
        self._scrubber: Scrubber = open_scrubber(settings, engine="reference")

    def sentence(self, text: str) -> str:
        """Return a sentence of which every word is known, on one line and short."""
        return _PIECES.sub(self._piece, self._scrubbed(text))[:LONGEST].strip()

    def name(self, text: str) -> str:
        """Return the name of a check, a unit, a source or a rule: words of art32's and of what the
        configuration has names for and has looked at, without addresses and home directories."""
        if found := _INSTANCE.fullmatch(text):
            return f"{found[1]}{self.name(found[2])}{found[3]}"
        clean = re.sub(r"/(?:home|root|Users)\b[^\s:]*", "<path>", self._scrubbed(text))
        return _NAME_PIECES.sub(self._name_piece, clean)[:120].strip()

    def _scrubbed(self, text: str) -> str:
        line = " ".join(redact.line(text[:_LONGEST_READ]).split())
        return self._scrubber.scrub(line.encode("utf-8", "replace")).decode("utf-8", "replace")

    def _piece(self, match: re.Match[str]) -> str:
        text = match[0]
        match match.lastgroup:
            case "quoted":
                return self._quoted(text[1:].removesuffix(text[0]))
            case "path":
                whole = text.startswith(_SYSTEM_PATHS) and ".." not in text
                return text if whole and self._all_known(text) else self._token("path", text)
            case "number":
                return text if _harmless(text) else "<number>"
            case "word":
                return text if self._known(text) else "<word>"
            case "strange":
                return "?"
        return text

    def _name_piece(self, match: re.Match[str]) -> str:
        text = match[0]
        if match["word"]:
            return text if text in self._looked_at or self._known(text) else "<word>"
        return "?" if match["strange"] else text

    def _quoted(self, inner: str) -> str:
        kept = (
            inner in self._names
            or re.fullmatch(_MASKED, inner)
            or _PLACE.fullmatch(inner)
            or (_TERM.fullmatch(inner) and self._all_known(inner))
        )
        return f"`{inner}`" if kept else f"`{self._token('value', inner)}`"

    def _all_known(self, text: str) -> bool:
        few = sum(character.isdigit() for character in text) <= _DIGITS
        return few and all(map(self._known, re.findall(r"[^\W_]+", text)))

    def _known(self, word: str) -> bool:
        if word.isdigit():
            return _harmless(word)
        return word in own_words() or word in self._names

    def _token(self, kind: str, value: str) -> str:
        return f"<{kind} {identifier(self._key, kind, value)}>"
