"""Writes the manual: scripts/manual.py DIRECTORY

`art32(1)`, one page for each of its verbs or groups of verbs, as in `man art32 backup`, and
`art32.toml(5)`, from the command line's own help and the configuration's model. Format: man(7).
The day on the pages is that of `SOURCE_DATE_EPOCH`, so that the same commit makes the same bytes.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from command_tree import Command, Option, commands
from configuration_keys import Key, Table, tables

from agent import __version__
from agent.errors import EXIT_MEANINGS, ExitStatus

_SUMMARY = "encrypted backups, clean logs and rehearsed recovery"
_FILES = {
    "/etc/art32/agent.toml": "The configuration, unless `--config` or `ART32_CONFIG` names "
    "another: art32.toml(5).",
    "/etc/credstore/art32.*": "What is secret, as systemd credentials: systemd-creds(1).",
    "/var/lib/art32": "Ledger, locks and what the verbs remember. It holds no backup.",
    "/opt/art32/share/art32/runbooks": "The runbooks: art32-runbook(1).",
}


def pages() -> dict[str, str]:
    """Return each page by its path below a directory such as /usr/share/man."""
    known = list(commands())
    root = known[0]
    found = {"man1/art32.1": _main_page(root), "man5/art32.toml.5": _configuration_page()}
    for name, summary in root.verbs.items():
        family = [one for one in known if one.words[:1] == (name,)]
        found[f"man1/art32-{name}.1"] = _verb_page(name, summary, family, list(root.verbs))
    return found


def _main_page(root: Command) -> str:
    lines = [*_head("art32", 1, _SUMMARY), ".SH SYNOPSIS"]
    lines += ["\\fBart32\\fR [\\fIOPTIONS\\fR] \\fIVERB\\fR ..."]
    lines += [".SH DESCRIPTION", *_paragraphs(root.text)]
    lines += [
        ".PP",
        _inline(
            "Results go to standard output, everything else to standard error. An error is one "
            "sentence with, mostly, a hint: the next command to type. It names its runbook."
        ),
        ".SH OPTIONS",
        "They stand before the verb.",
    ]
    lines += _options(root.options)
    lines += [".SH VERBS", "Each has a page of its own."]
    for name, text in root.verbs.items():
        lines += [".TP", f"\\fBart32\\-{_escape(name)}\\fR(1)", _inline(text)]
    lines += [".SH EXIT STATUS"]
    for status in ExitStatus:
        lines += [".TP", f"\\fB{int(status)}\\fR", _inline(EXIT_MEANINGS[status])]
    lines += [
        ".PP",
        _inline(
            "Any other status is a failure. Under `--output nagios` it is 0 (ok), 1 (warning) or "
            "2 (critical) instead."
        ),
        ".SH ENVIRONMENT",
        ".TP",
        "\\fBART32_CONFIG\\fR",
        "The configuration file, where the command line names none.",
        ".SH FILES",
    ]
    for path, text in _FILES.items():
        lines += [".TP", f"\\fI{_escape(path)}\\fR", _inline(text)]
    others = [f"art32-{name}(1)" for name in root.verbs]
    return _page([*lines, *_see_also([*others, "art32.toml(5)", "gpg(1)", "systemd.timer(5)"])])


def _verb_page(name: str, summary: str, family: list[Command], all_verbs: list[str]) -> str:
    lines = [*_head(f"art32-{name}", 1, summary), ".SH SYNOPSIS"]
    verbs = [one for one in family if not one.verbs]
    for number, one in enumerate(verbs):
        lines += [".br"] if number else []
        lines += [_usage(one)]
    lines += [".SH DESCRIPTION", *_paragraphs(family[0].text)]
    if len(verbs) > 1 or verbs[0] is not family[0]:
        lines += [".SH VERBS"]
        for one in verbs:
            lines += [f".SS art32 {_escape(' '.join(one.words))}", *_paragraphs(one.text)]
            lines += _options(_own(one))
    elif own := _own(verbs[0]):
        lines += [".SH OPTIONS", *_options(own)]
    lines += [
        ".SH EXIT STATUS",
        "0 done, 20 done but a person should look, anything else failed: \\fBart32\\fR(1).",
    ]
    near = [f"art32-{one}(1)" for one in all_verbs if one != name]
    return _page([*lines, *_see_also(["art32(1)", "art32.toml(5)", *near])])


def _configuration_page() -> str:
    lines = [
        *_head("art32.toml", 5, "configuration of art32"),
        ".SH SYNOPSIS",
        "\\fI/etc/art32/agent.toml\\fR",
        ".SH DESCRIPTION",
        _inline(
            "One TOML file. It holds names and paths, never a secret. A key that is not listed "
            "here is an error. `art32 config sample` prints a file to start from, `art32 config "
            "check` says every mistake at once, `art32 config show` what is in effect."
        ),
    ]
    for table in tables():
        lines += _table(table)
    return _page([*lines, *_see_also(["art32(1)", "art32-config(1)", "art32-service(1)"])])


def _table(table: Table) -> Iterator[str]:
    kind = f" of kind {table.kind}" if table.kind else ""
    yield f'.SH "{_escape((table.head or "TOP OF THE FILE") + kind)}"'
    yield from _paragraphs(table.text)
    for key in table.keys:
        yield ".TP"
        yield f"\\fB{_escape(key.name)}\\fR"
        yield _inline(f"{_kind_of(key)}. {key.meaning}".strip())
        if key.example is not None:
            yield ".br"
            yield f"Example: {_escape(key.example)}"


def _kind_of(key: Key) -> str:
    kind = key.type[:1].upper() + key.type[1:]
    if key.default in ("required", "as below"):
        return f"{kind}, {key.default}" if key.default == "required" else kind
    return f"{kind}, by default {key.default}"


def _head(name: str, section: int, summary: str) -> list[str]:
    epoch = int(os.environ.get("SOURCE_DATE_EPOCH") or time.time())
    day = time.strftime("%Y-%m-%d", time.gmtime(epoch))
    return [
        f'.TH "{_escape(name.upper())}" "{section}" "{day}" "art32 {_escape(__version__)}"',
        "'\\\" Made from the code when the package was built.",
        ".nh",
        ".ad l",
        ".SH NAME",
        f"{_escape(name)} \\- {_inline(summary)}",
    ]


def _usage(command: Command) -> str:
    words = _escape(" ".join(("art32", *command.words)))
    return f"\\fB{words}\\fR {_escape(command.usage)}"


def _paragraphs(text: str) -> Iterator[str]:
    for number, paragraph in enumerate(re.split(r"\n[ \t]*\n", text.strip())):
        if number:
            yield ".PP"
        yield _inline(" ".join(paragraph.replace("\b", "").split()))


def _own(command: Command) -> tuple[Option, ...]:
    return tuple(one for one in command.options if "--help" not in one.names)


def _options(options: tuple[Option, ...]) -> Iterator[str]:
    for one in options:
        names = ", ".join(f"\\fB{_escape(name)}\\fR" for name in one.names)
        value = "" if one.value is None else f" \\fI{_escape(one.value.word)}\\fR"
        yield ".TP"
        yield names + value
        yield _inline(one.text)


def _see_also(names: list[str]) -> list[str]:
    shown = (re.sub(r"^(.*)(\(\d\))$", r"\\fB\1\\fR\2", _escape(name)) for name in names)
    return [".SH SEE ALSO", ", ".join(shown)]


def _inline(text: str) -> str:
    """Return running text in which what stands in backticks is bold; one line, never a request."""
    parts = text.split("`")
    shown = "".join(
        f"\\fB{_escape(part)}\\fR" if number % 2 and number < len(parts) - 1 else _escape(part)
        for number, part in enumerate(parts)
    )
    return f"\\&{shown}" if shown[:1] in (".", "'") else shown


def _escape(text: str) -> str:
    return text.replace("\\", "\\e").replace("-", "\\-").replace('"', "\\(dq")


def _page(lines: list[str]) -> str:
    return "\n".join(lines) + "\n"


def main(arguments: list[str]) -> int:
    """Write the pages below a directory such as /usr/share/man; return the exit status."""
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print("usage: scripts/manual.py DIRECTORY", file=sys.stderr)
        return 2
    for name, text in pages().items():
        path = Path(arguments[0]) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
