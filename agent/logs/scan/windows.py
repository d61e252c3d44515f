"""Sliding windows over many keys in bounded memory.

For each key the times of its last events are kept, as many as the threshold: when all of them lie
within the window, the rule fires. A sprayer of addresses can fill the table, so it has two parts:
keys seen once, and keys seen again. New keys push out only keys seen once, the longest unseen
first; keys seen again push out only each other. What is then missed is an attacker whose second
event comes after `capacity` other addresses have had their first; `forgotten` counts, and a rule's
total over all addresses, which needs no key, still fires.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Any

REPEATED_SHARE = 4  # keys seen again: a quarter of the capacity, for each of them needs more memory


class Window:
    """Counts events for each key; at most `capacity` keys seen once and a quarter seen again."""

    def __init__(self, threshold: int, seconds: float, *, capacity: int) -> None:
        self.threshold = threshold
        self.seconds = seconds
        self.forgotten = 0
        self._capacity = capacity
        self._once: OrderedDict[bytes, float] = OrderedDict()
        self._repeated: OrderedDict[bytes, deque[float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._once) + len(self._repeated)

    def add(self, key: bytes, moment: float) -> bool:
        """Count an event at a moment (seconds); return whether the threshold is reached.

        Then the key starts anew.
        """
        if self.threshold == 1:
            return True
        times = self._repeated.get(key)
        if times is None:
            first = self._once.pop(key, None)
            if first is None:
                self._remember(key, moment)
                return False
            times = deque((first,), maxlen=self.threshold)
            self._repeated[key] = times
            if len(self._repeated) > self._capacity // REPEATED_SHARE:
                self._repeated.popitem(last=False)
                self.forgotten += 1
        else:
            self._repeated.move_to_end(key)
        times.append(moment)
        if (
            len(times) == self.threshold
            and abs(times[-1] - times[0]) <= self.seconds
            and max(times) - min(times) <= self.seconds
        ):
            del self._repeated[key]
            return True
        return False

    def _remember(self, key: bytes, moment: float) -> None:
        self._once[key] = moment
        if len(self._once) > self._capacity:
            self._once.popitem(last=False)
            self.forgotten += 1

    def count(self, key: bytes, moment: float) -> int:
        """Return how many events of a key within the window before a moment are remembered."""
        if key in self._once:
            return int(abs(moment - self._once[key]) <= self.seconds)
        return sum(abs(moment - one) <= self.seconds for one in self._repeated.get(key, ()))

    def expire(self, moment: float) -> None:
        """Forget the keys whose last event is further back than the window."""
        limit = moment - self.seconds
        while self._once and next(iter(self._once.values())) < limit:
            self._once.popitem(last=False)
        while self._repeated and next(iter(self._repeated.values()))[-1] < limit:
            self._repeated.popitem(last=False)

    def state(self) -> dict[str, Any]:
        """Return what `restore` takes, as JSON: times by key."""
        return {
            "forgotten": self.forgotten,
            "once": {key.hex(): moment for key, moment in self._once.items()},
            "repeated": {key.hex(): list(times) for key, times in self._repeated.items()},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take up where `state` was written; raise KeyError, TypeError or ValueError on rubbish."""
        self.forgotten = int(state["forgotten"])
        self._once = OrderedDict(
            (bytes.fromhex(key), float(moment)) for key, moment in state["once"].items()
        )
        self._repeated = OrderedDict(
            (bytes.fromhex(key), deque(map(float, times), maxlen=self.threshold))
            for key, times in state["repeated"].items()
        )


class DistinctWindow:
    """Like Window, but counts different values (paths, user names, addresses), not events."""

    def __init__(self, threshold: int, seconds: float, *, capacity: int) -> None:
        self.threshold = threshold
        self.seconds = seconds
        self.forgotten = 0
        self._capacity = capacity
        self._once: OrderedDict[bytes, tuple[int, float]] = OrderedDict()
        self._repeated: OrderedDict[bytes, dict[int, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._once) + len(self._repeated)

    def add(self, key: bytes, moment: float, value: int) -> bool:
        """Count a value, given as a hash; return whether enough different ones were seen."""
        values = self._repeated.get(key)
        if values is None:
            first = self._once.get(key)
            if first is None or first[0] == value:
                self._once[key] = (value, moment)
                self._once.move_to_end(key)
                if len(self._once) > self._capacity:
                    self._once.popitem(last=False)
                    self.forgotten += 1
                return False
            del self._once[key]
            values = {first[0]: first[1]}
            self._repeated[key] = values
            if len(self._repeated) > self._capacity // REPEATED_SHARE:
                self._repeated.popitem(last=False)
                self.forgotten += 1
        else:
            self._repeated.move_to_end(key)
        values.pop(value, None)  # so that the order is that of the last event
        values[value] = moment
        if len(values) < self.threshold:
            return False
        if max(values.values()) - min(values.values()) <= self.seconds:
            del self._repeated[key]
            return True
        del values[next(iter(values))]
        return False

    def count(self, key: bytes, moment: float) -> int:
        """Return how many values of a key within the window before a moment are remembered."""
        if key in self._once:
            return int(abs(moment - self._once[key][1]) <= self.seconds)
        times = self._repeated.get(key, {}).values()
        return sum(abs(moment - one) <= self.seconds for one in times)

    def expire(self, moment: float) -> None:
        """Forget the keys whose last event is further back than the window."""
        limit = moment - self.seconds
        while self._once and next(iter(self._once.values()))[1] < limit:
            self._once.popitem(last=False)
        while self._repeated and max(next(iter(self._repeated.values())).values()) < limit:
            self._repeated.popitem(last=False)

    def state(self) -> dict[str, Any]:
        """Return what `restore` takes, as JSON: hashes and times by key."""
        return {
            "forgotten": self.forgotten,
            "once": {key.hex(): list(pair) for key, pair in self._once.items()},
            "repeated": {
                key.hex(): [list(pair) for pair in values.items()]
                for key, values in self._repeated.items()
            },
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take up where `state` was written; raise KeyError, TypeError or ValueError on rubbish."""
        self.forgotten = int(state["forgotten"])
        self._once = OrderedDict(
            (bytes.fromhex(key), (int(pair[0]), float(pair[1])))
            for key, pair in state["once"].items()
        )
        self._repeated = OrderedDict(
            (bytes.fromhex(key), {int(value): float(moment) for value, moment in pairs})
            for key, pairs in state["repeated"].items()
        )
