"""What GNU tar says on standard error, counted, with file names kept apart from the messages.

File names are personal data and may be hostile: a name with a line break could forge a message.
tar is therefore told to write names with escapes (`--quoting-style=escape`), the colon among
them, so that `tar: NAME: MESSAGE` has one reading only.
"""

from __future__ import annotations

import errno
import os
import re
from collections import Counter
from collections.abc import Mapping

QUOTING = ("--quoting-style=escape", "--quote-chars=:")
NAMES_AT_MOST = 1000
OTHER = "tar-warnings"
# What tar says of times that no clock here has shown; it restores them as they are.
TIMES = re.compile(r"time stamp .* in the future$|implausibly old time stamp ")

_LINE = re.compile(r"tar: (?:(?P<name>(?:[^:\\]|\\.)*): )?(?P<message>.*)")
_CLOSING = "Exiting with failure status due to previous errors"
_REASONS = frozenset(os.strerror(number) for number in errno.errorcode)
_LONGEST_LINE = 64 << 10


class Messages:
    """Counts tar's messages by kind; hand it to `agent.run.Process` as `on_stderr`.

    `kinds` maps a kind to the pattern that a message of it matches from its start; what matches
    none is `tar-warnings`.
    """

    def __init__(self, kinds: Mapping[str, re.Pattern[str]]) -> None:
        self._kinds = kinds
        self._rest = b""
        self._room = NAMES_AT_MOST
        self.counts: Counter[str] = Counter()
        self.names: dict[str, list[str]] = {}
        self.reasons: Counter[str] = Counter()

    def __call__(self, chunk: bytes) -> None:
        *lines, rest = (self._rest + chunk).split(b"\n")
        self._rest = rest[:_LONGEST_LINE]
        for line in lines:
            self._take(line.decode("utf-8", "backslashreplace"))

    def _take(self, line: str) -> None:
        match = _LINE.fullmatch(line)
        name, message = (match["name"], match["message"]) if match else (None, line)
        if message == _CLOSING:
            return
        kind = next((k for k, pattern in self._kinds.items() if pattern.match(message)), OTHER)
        self.counts[kind] += 1
        reason = message.rpartition(": ")[2]
        if reason in _REASONS:
            self.reasons[reason.lower()] += 1
        if name is not None and self._room:
            self._room -= 1
            self.names.setdefault(kind, []).append(name)

    def why(self) -> str:
        """Return the operating system's reasons, most frequent first, free of names; or nothing."""
        return ", ".join(reason for reason, _ in self.reasons.most_common(3))
