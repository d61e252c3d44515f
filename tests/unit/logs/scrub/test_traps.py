"""Lines that look like something personal and are not: `traps.txt`, by rule."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.config.logs_scrub import Scrub
from agent.config.scrubbing import Mode
from agent.logs.scrub import open_scrubber

FILE = Path(__file__).parent / "traps.txt"


def traps() -> dict[str, list[bytes]]:
    """Return the lines of the file by the rule above them."""
    found: dict[str, list[bytes]] = {}
    rule = ""
    for line in FILE.read_bytes().split(b"\n"):
        if line.startswith(b"## "):
            rule = line[3:].decode()
            found[rule] = []
        elif line and not line.startswith(b"# "):
            found[rule].append(line)
    return found


def test_there_are_at_least_three_hundred_and_none_is_there_twice() -> None:
    lines = [line for lines in traps().values() for line in lines]
    assert len(lines) == len(set(lines)) >= 300


@pytest.mark.parametrize("mode", ["truncate", "pseudonym", "remove"])
@pytest.mark.parametrize("rule", list(traps()))
def test_traps_stay_byte_for_byte(rule: str, mode: Mode) -> None:
    for engine in ("reference", None):
        scrubber = open_scrubber(Scrub(mode=mode), engine=engine)
        for line in traps()[rule]:
            assert scrubber.scrub(line) == line
            assert scrubber.scrub(b" " + line + b"\r\n") == b" " + line + b"\r\n"
