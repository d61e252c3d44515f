"""One table out of a dump in custom format, chosen by the dump's own table of contents.

`pg_restore --table` leaves a table without its keys and indexes. The verbose listing names what
each entry depends on: so a table comes with all that it needs (schema, types, sequences,
functions; the tables that it inherits from or is a partition of come empty) and all that belongs
to it (data, defaults, keys, indexes, triggers) and needs no other table. Foreign keys to other
tables and views are left out.
"""

from __future__ import annotations

import itertools
import os
import re
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from agent import redact
from agent.errors import Art32Error, Code
from agent.run import PIPE, Process

_ENTRY = re.compile(r"^(\d+); \d+ \d+ (.*)$")
_DEPENDENCIES = re.compile(r"^;\s+depends on:((?: \d+)+)$")
_HEAD_LIMIT = 256 << 20
_RELATIONS = r"(?:FOREIGN )?TABLE (?!DATA |ATTACH )|(?:MATERIALIZED )?VIEW "
_OTHERS = re.compile(_RELATIONS)
_NOT_OURS = re.compile(rf"{_RELATIONS}|FUNCTION |PROCEDURE |AGGREGATE |PUBLICATION ")


@dataclass
class _Entry:
    text: str
    line: str
    needs: set[int] = field(default_factory=set)


def choose(
    stream: Iterator[bytes], table: str, listing: Sequence[str]
) -> tuple[bytes, Iterator[bytes]]:
    """Given a dump and a table as `schema.table` or `table`, return a list for
    `pg_restore --use-list` and the whole stream again.

    `listing` is the argv of `pg_restore --list --verbose`. The head of the dump up to the end of
    its table of contents is held in memory. Raise TARGET_FAILED when the stream is no dump or has
    no such table, or more than one of that name.
    """
    text, head = _list(stream, listing)
    entries = _parse(text)
    wanted = _select(entries, _find(entries, table))
    lines = (entries[number].line for number in entries if number in wanted)
    return "".join(f"{line}\n" for line in lines).encode(
        "utf-8", "surrogateescape"
    ), itertools.chain(head, stream)


def _list(stream: Iterator[bytes], listing: Sequence[str]) -> tuple[str, list[bytes]]:
    """Feed the stream to a listing until it has seen enough; return its text and what was read."""
    head: list[bytes] = []
    output = bytearray()
    with Process(listing, stdin=PIPE) as process:

        def read() -> None:
            while chunk := os.read(process.stdout.fileno(), 1 << 16):
                output.extend(chunk)

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        size = 0
        try:
            for chunk in stream:
                head.append(chunk)
                size += len(chunk)
                if size > _HEAD_LIMIT:
                    raise Art32Error(
                        Code.TARGET_FAILED,
                        f"the table of contents does not end within {_HEAD_LIMIT >> 20} MiB",
                    )
                view = memoryview(chunk)
                while view:
                    view = view[os.write(process.stdin.fileno(), view) :]
            process.stdin.close()
        except BrokenPipeError:
            pass
        status = process.wait()
        reader.join()
        if status != 0:
            said = redact.diagnostic(process.stderr)
            raise Art32Error(Code.TARGET_FAILED, f"the dump has no table of contents: {said}")
    return output.decode("utf-8", "surrogateescape"), head


def _parse(text: str) -> dict[int, _Entry]:
    entries: dict[int, _Entry] = {}
    last: _Entry | None = None
    for line in text.splitlines():
        if match := _ENTRY.match(line):
            last = entries[int(match[1])] = _Entry(match[2], line)
        elif last is not None and (match := _DEPENDENCIES.match(line)):
            last.needs |= {int(number) for number in match[1].split()}
    return entries


def _find(entries: dict[int, _Entry], table: str) -> int:
    """Return the number of the one entry that is this table.

    An entry reads `TABLE schema name owner`, and each of the three may hold spaces and dots; what
    fits in more than one way is refused, never guessed.
    """
    schema, dot, name = table.partition(".")
    forms = [rf".+ {re.escape(table)}"]
    if dot:
        forms.insert(0, f"{re.escape(schema)} {re.escape(name)}")
    found: list[int] = []
    for form, owner in itertools.product(forms, (r"\S+", ".+")):
        pattern = re.compile(f"TABLE (?!DATA |ATTACH ){form} {owner}")
        found = [number for number, entry in entries.items() if pattern.fullmatch(entry.text)]
        if found:
            break
    if len(found) != 1:
        how = "more than one table" if found else "no table"
        raise Art32Error(
            Code.TARGET_FAILED,
            f"the backup has {how} `{table}`",
            hint="name it as `schema.table`; `art32 backup show ID --details` lists the tables",
        )
    return found[0]


def _requirements(entries: dict[int, _Entry], start: int) -> set[int]:
    """Return an entry with everything that it needs, directly or not."""
    seen: set[int] = set()
    pending = [start]
    while pending:
        number = pending.pop()
        if number in entries and number not in seen:
            seen.add(number)
            pending += entries[number].needs
    return seen


def _select(entries: dict[int, _Entry], table: int) -> set[int]:
    """Return the entries to restore for a table."""
    chosen = _requirements(entries, table)
    belonging = {table}
    grows = True
    while grows:
        grows = False
        for number, entry in entries.items():
            if number in belonging or not entry.needs & belonging:
                continue
            added = _requirements(entries, number) - chosen
            others = any(_OTHERS.match(entries[each].text) for each in added)
            if not others and not _NOT_OURS.match(entry.text):
                chosen |= added
                belonging.add(number)
                grows = True
    if not any(entries[number].text.startswith("TABLE DATA ") for number in belonging):
        raise Art32Error(
            Code.TARGET_FAILED,
            "the table has no rows of its own in the backup",
            hint="of a partitioned table, name each partition",
        )
    return chosen
