"""The first stage: which triggers occur in which lines of a block, at the speed of memory.

Both engines give the same answer: hyperscan for whole blocks, Python's `re` where it is missing.
Triggers never cross a line (`patterns.check_trigger`), so that the end of a match names its line.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from agent.errors import Art32Error, Code

if TYPE_CHECKING:
    from hyperscan import Database

_CAPITAL = re.compile(rb"(?<!\\)[A-Z]")  # not those of \S and \D
TRIGGER_BITS = 16
Hit = int  # offset of the last byte of the match, and behind it in 16 bits the trigger's index
Block = bytes | memoryview


class Engine(Protocol):
    """Finds triggers in a block of whole lines."""

    name: str

    def find(self, block: Block) -> list[Hit]:
        """Return hits in ascending order; a trigger may stand more than once a line."""
        ...


class HyperscanEngine:
    """Hyperscan in block mode: all triggers in one pass."""

    name = "hyperscan"

    def __init__(self, triggers: Sequence[bytes]) -> None:
        import hyperscan

        self._database: Database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
        self._database.compile(
            expressions=list(triggers),
            ids=list(range(len(triggers))),
            elements=len(triggers),
            flags=[hyperscan.HS_FLAG_CASELESS] * len(triggers),
        )

    def find(self, block: Block) -> list[Hit]:
        hits: list[Hit] = []
        note = hits.append

        def on_match(trigger: int, _start: int, end: int, _flags: int, _context: object) -> None:
            note((end - 1) << TRIGGER_BITS | trigger)

        # it takes any buffer, whatever its stub says
        self._database.scan(block, match_event_handler=on_match)  # type: ignore[type-var]
        hits.sort()
        return hits


class ReEngine:
    """Python's `re`: one alternation finds the lines, then each trigger is tried on those.

    It searches small letters in a block of small letters, which `re` does several times faster than
    it ignores case.
    """

    name = "re"

    def __init__(self, triggers: Sequence[bytes]) -> None:
        small = [_CAPITAL.sub(lambda found: found[0].lower(), one) for one in triggers]
        self._any = re.compile(b"|".join(b"(?:%s)" % one for one in small))
        self._each = [re.compile(one).search for one in small]

    def find(self, block: Block) -> list[Hit]:
        hits: list[Hit] = []
        block = bytes(block).lower()
        position = 0
        while (found := self._any.search(block, position)) is not None:
            start = block.rfind(b"\n", 0, found.start()) + 1
            stop = block.find(b"\n", found.end())
            stop = len(block) if stop < 0 else stop
            for index, search in enumerate(self._each):
                match = search(block, start, stop)
                if match is not None:
                    hits.append((match.end() - 1) << TRIGGER_BITS | index)
            position = stop + 1
        hits.sort()
        return hits


def hyperscan_is_there() -> bool:
    """Whether the fast engine can be imported here."""
    try:
        import hyperscan  # noqa: F401
    except ImportError:
        return False
    return True


def open_engine(name: str, triggers: Sequence[bytes]) -> Engine:
    """Return the engine of that name; `auto` takes the faster one that is there.

    Raise TOOL_MISSING when hyperscan is asked for by name and not installed.
    """
    if not triggers:
        return ReEngine([b"(?!)"])
    if name == "re" or (name == "auto" and not hyperscan_is_there()):
        return ReEngine(triggers)
    try:
        return HyperscanEngine(triggers)
    except ImportError as error:
        raise Art32Error(
            Code.TOOL_MISSING,
            "`hyperscan` is not installed here",
            hint='install the extra: pip install "art32[logs]", or set `logs.scan.engine` to `re`',
        ) from error
