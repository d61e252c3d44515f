"""A runbook as data: Markdown of one fixed shape, read by people, by `art32 runbook` and by tests.

The head is a block between `---` lines, `key: value` with a text, a number or `[a, b]` (that much
of YAML and no more). Then come the sections of `SECTIONS`, in that order. Code stands in fences
whose info string is `sh KIND [FLAG...]`, kinds and flags as below; what a block should print may
follow it in a fence `output`, where `...` stands for anything.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, cast, get_args

from agent.errors import Art32Error, Code

Kind = Literal["check", "fix", "verify", "undo"]
SECTIONS = (
    "Am I in the right place?",
    "Stop if",
    "Decide",
    "Steps",
    "Verify",
    "Undo",
    "Escalate",
    "Why it works",
    "Afterwards",
)
SEVERITIES = ("low", "high", "critical")
_TEXTS = ("title", "symptom", "severity")
_NUMBERS = ("minutes", "escalate_after")
_LISTS = ("alerts", "errors", "roles", "tools", "articles")
_FENCE = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^(?P<marks>#{1,3}) (?P<title>.+)$")
_VARIABLE = re.compile(r"\$\{(?P<name>[A-Z][A-Z0-9_]*):\?(?P<meaning>[^}]+)\}")


@dataclass(frozen=True)
class Block:
    """One fence of shell.

    `step` counts the blocks of the file from 1; `heading` is the nearest heading above it.
    `danger`: it destroys something. `manual`: nobody can run it by machine (a console, a phone).
    `timeout` in seconds; `line` is where its text begins in the file.
    """

    step: int
    kind: Kind
    heading: str
    text: str
    line: int
    danger: bool = False
    manual: bool = False
    timeout: int = 3600
    expected: str | None = None


@dataclass(frozen=True)
class Runbook:
    """One file. `minutes` until the fault is mended, `escalate_after` minutes without progress."""

    id: str
    title: str
    symptom: str
    severity: str
    minutes: int
    escalate_after: int
    text: str
    alerts: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    articles: tuple[str, ...] = ()
    blocks: tuple[Block, ...] = ()
    headings: tuple[str, ...] = field(default=())

    def variables(self, blocks: tuple[Block, ...] | None = None) -> dict[str, str]:
        """Return what must be filled in for these blocks, by default for all: name, meaning."""
        found: dict[str, str] = {}
        for block in self.blocks if blocks is None else blocks:
            for match in _VARIABLE.finditer(block.text):
                found.setdefault(match["name"], match["meaning"])
        return found


def _wrong(name: str, line: int, sentence: str) -> Art32Error:
    return Art32Error(
        Code.RUNBOOK_INVALID,
        f"runbook `{name}`, line {line}: {sentence}",
        hint="the shape of a runbook stands in runbooks/TEMPLATE.md",
    )


def parse(name: str, text: str) -> Runbook:
    """Given a runbook's name and its Markdown, return it; raise RUNBOOK_INVALID with the line."""
    lines = text.split("\n")
    if lines[0] != "---" or "---" not in lines[1:]:
        raise _wrong(name, 1, "it does not begin with a head between two lines `---`")
    end = lines.index("---", 1)
    facts = _head(name, lines[1:end])
    headings = tuple(line[3:].strip() for line in _prose(lines) if line.startswith("## "))
    if headings != SECTIONS:
        missing = [one for one in SECTIONS if one not in headings]
        what = f"`## {missing[0]}` is missing" if missing else "its sections are out of order"
        raise _wrong(name, end + 1, what)
    return Runbook(id=name, text=text, blocks=_blocks(name, text), headings=headings, **facts)


def read(path: Path) -> Runbook:
    """Return the runbook of a file; raise RUNBOOK_INVALID."""
    try:
        return parse(path.stem, path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise _wrong(path.stem, 1, "it is not UTF-8") from error


def _prose(lines: list[str]) -> list[str]:
    """Return the lines outside of fences."""
    prose, inside = [], False
    for line in lines:
        if line.startswith("```"):
            inside = not inside
        elif not inside:
            prose.append(line)
    return prose


def _head(name: str, lines: list[str]) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    for number, line in enumerate(lines, 2):
        key, colon, value = (part.strip() for part in line.partition(":"))
        if not colon or key not in (*_TEXTS, *_NUMBERS, *_LISTS) or key in facts:
            raise _wrong(name, number, f"`{key}` is no key of a head, or stands twice")
        facts[key] = _value(name, number, key, value)
    missing = [key for key in (*_TEXTS, *_NUMBERS, *_LISTS) if key not in facts]
    if missing:
        raise _wrong(name, 1, f"its head has no `{missing[0]}`")
    if facts["severity"] not in SEVERITIES:
        raise _wrong(name, 1, f"`severity` is none of {', '.join(SEVERITIES)}")
    return facts


def _value(name: str, number: int, key: str, value: str) -> str | int | tuple[str, ...]:
    if key in _LISTS:
        if not (value.startswith("[") and value.endswith("]")):
            raise _wrong(name, number, f"`{key}` is a list, as in [a, b]")
        return tuple(item.strip() for item in value[1:-1].split(",") if item.strip())
    if key in _NUMBERS:
        if not value.isdecimal() or int(value) < 1:
            raise _wrong(name, number, f"`{key}` is a number of minutes")
        return int(value)
    if not value:
        raise _wrong(name, number, f"`{key}` is empty")
    return value


def _blocks(name: str, text: str) -> tuple[Block, ...]:
    blocks: list[Block] = []
    for match in _FENCE.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        language, _, rest = match["info"].strip().partition(" ")
        if language == "sh":
            kind, flags = _info(name, line, rest)
            blocks.append(
                Block(
                    step=len(blocks) + 1,
                    kind=kind,
                    heading=_heading_above(text[: match.start()]),
                    text=match["text"],
                    line=line + 1,
                    **flags,
                )
            )
        elif language == "output":
            if not blocks or text[: match.start()].rstrip()[-3:] != "```":
                raise _wrong(name, line, "`output` does not follow a block of `sh`")
            blocks[-1] = replace(blocks[-1], expected=match["text"])
        elif language != "text":
            raise _wrong(name, line, f"a fence is `sh`, `output` or `text`, not `{language}`")
    return tuple(blocks)


def _info(name: str, line: int, words: str) -> tuple[Kind, dict[str, Any]]:
    kind, *rest = words.split() or [""]
    if kind not in get_args(Kind):
        raise _wrong(name, line, "a fence of `sh` says check, fix, verify or undo")
    flags: dict[str, Any] = {}
    for word in rest:
        if word in ("danger", "manual"):
            flags[word] = True
        elif match := re.fullmatch(r"timeout=([1-9]\d{0,4})s", word):
            flags["timeout"] = int(match[1])
        else:
            raise _wrong(name, line, f"`{word}` is none of danger, manual, timeout=60s")
    return cast(Kind, kind), flags


def _heading_above(text: str) -> str:
    for line in reversed(_prose(text.split("\n"))):
        if match := _HEADING.match(line):
            return match["title"]
    return ""


def as_expected(expected: str, printed: str) -> bool:
    """Whether a block printed what its `output` says; `...` stands for anything, also for lines."""
    wanted = [line.rstrip() for line in expected.strip().split("\n")]
    pattern = ""
    for line in wanted:
        if line.strip() == "...":
            pattern += r"(?:[^\n]*\n)*?"
        else:
            parts = (re.escape(part) for part in line.split("..."))
            pattern += r"[^\n]*".join(parts) + r"[ \t]*\n"
    return re.fullmatch(pattern, printed.strip() + "\n") is not None
