"""The key of a period: what makes one client's tokens equal for a day and meaningless after it."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from agent import clock
from agent.errors import Art32Error, Code

SIZE = 32
_ONE_DAY = timedelta(days=1)


class PeriodKey:
    """A key for one UTC day, in memory only. No representation shows it, no pickle carries it.

    `key_id` is in every token: six hexadecimal digits that tell which key made it and nothing of
    the key. `destroy` overwrites the key; tokens cannot be made or checked after that.
    """

    __slots__ = ("_key", "day", "key_id")

    def __init__(self, key: bytes, day: str) -> None:
        if len(key) != SIZE:
            raise ValueError("a key has 32 bytes")
        self._key = bytearray(key)
        self.day = day
        self.key_id = hashlib.blake2s(key, digest_size=3, person=b"key id").hexdigest()

    @property
    def secret(self) -> bytes:
        """The 32 bytes; raise ValueError after `destroy`."""
        if not self._key:
            raise ValueError("the key of this period has been destroyed")
        return bytes(self._key)

    def destroy(self) -> None:
        """Overwrite and forget the key.

        Copies that Python has made of it on the way live until their memory is used again.
        """
        for index in range(len(self._key)):
            self._key[index] = 0
        self._key.clear()

    def __repr__(self) -> str:
        return f"<PeriodKey {self.key_id} of {self.day}>"

    def __reduce__(self) -> str:
        raise TypeError("a key of a period stays in the memory of its process")


def today() -> str:
    """Return the UTC day by the clock, such as `2026-11-24`."""
    return clock.now().strftime("%Y-%m-%d")


def random_key(day: str | None = None) -> PeriodKey:
    """Return a new random key; by default for today."""
    return PeriodKey(secrets.token_bytes(SIZE), today() if day is None else day)


class Ratchet:
    """One key for a fleet: K(t+1) = HMAC-SHA256(K(t), "next"), day by day; K(t) is forgotten.

    Whoever holds a later key cannot compute an earlier one. Where K(0) comes from is the
    operator's duty; it is read once and must not stay anywhere, above all not in a backup.
    """

    def __init__(self, key: bytes, day: str) -> None:
        self._current = PeriodKey(key, day)

    def key(self, day: str | None = None) -> PeriodKey:
        """Return the key of a day, by default today; raise KEY_MISSING for a day that is past.

        The key of the day before is destroyed unless a caller destroyed it already.
        """
        wanted = today() if day is None else day
        if wanted < self._current.day:
            raise Art32Error(
                Code.KEY_MISSING,
                f"the key of `{wanted}` is gone: the ratchet stands at `{self._current.day}`",
                hint="tokens of a day that is past cannot be made again; look at the clock",
            )
        while self._current.day < wanted:
            following = hmac.digest(self._current.secret, b"next", "sha256")
            day_after = datetime.strptime(self._current.day, "%Y-%m-%d").replace(tzinfo=UTC)
            self._current.destroy()
            self._current = PeriodKey(following, (day_after + _ONE_DAY).strftime("%Y-%m-%d"))
        return self._current


def refuse_in_backup(key_file: Path, backed_up: Sequence[Path]) -> None:
    """Raise CONFIG_INVALID when a key's file lies below a directory that is backed up.

    A backup keeps the key that should be destroyed, and with it every token can be made again.
    """
    place = key_file.resolve()
    for directory in backed_up:
        if place.is_relative_to(directory.resolve()):
            raise Art32Error(
                Code.CONFIG_INVALID,
                f"the key `{key_file}` lies in `{directory}`, which is backed up: a backup would "
                "keep it after its end",
                hint="keep it outside of every source, in memory (`/run`) at best",
            )
