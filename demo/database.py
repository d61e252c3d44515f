"""What the demo asks of a database, whichever engine it is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Protocol

from demo.terminal import DemoError, Report


@dataclass(frozen=True)
class Download:
    """One downloaded backup, and the stock tools' command that prints what is in it."""

    argv: tuple[str | Path, ...]
    shown: str


class Database(Protocol):
    """The demo's own database, called `shop`, and what is restored from it."""

    @property
    def name(self) -> str:
        """The engine and its version."""

    @property
    def confined(self) -> bool:
        """Whether art32 restores it in a sandbox."""

    def section(self) -> str:
        """Return its `[[sources]]` section."""

    def fill(self, scale: float) -> int:
        """Generate the data; return the bytes that its tables then occupy."""

    def target(self, name: str) -> str:
        """Return what to type after `--to` for a restore under that name."""

    def restore_by_hand(self, report: Report, download: Download, name: str) -> None:
        """Restore under that name with stock tools; the name is given last."""

    def compare(self, name: str) -> list[tuple[str, int]]:
        """Return tables and their numbers of rows; raise DemoError where something differs."""


def quoted(value: object) -> str:
    """Return a text as TOML writes it: JSON's escapes are TOML's."""
    return json.dumps(str(value), ensure_ascii=False)


def compare_rows(table: str, one: Iterator[object], other: Iterator[object]) -> int:
    """Return the number of rows of both streams; raise DemoError unless they are equal."""
    count = 0
    for count, (left, right) in enumerate(zip_longest(one, other), 1):
        if left is None or right is None:
            which = "fewer" if right is None else "more"
            raise DemoError(f"table `{table}`: the restored one has {which} rows")
        if left != right:
            raise DemoError(f"table `{table}`: row {count} differs")
    return count


def compare_lists(what: str, one: list[str], other: list[str]) -> None:
    """Raise DemoError unless two listings are equal."""
    if one != other:
        raise DemoError(f"{what} of the original and of the restored database differ")
