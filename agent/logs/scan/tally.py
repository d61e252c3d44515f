"""From lines that fit a rule to findings: windows, totals, and what follows on what."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from agent.config.logs_scan import LogFormat, Scan
from agent.logs.scan import addresses
from agent.logs.scan.findings import Finding, identify
from agent.logs.scan.rules import SEVERITIES, Rule
from agent.logs.scan.windows import DistinctWindow, Window

MOST_FINDINGS = 10_000
MOST_SAMPLES = 3
_SAMPLE_BYTES = 512
_FUTURE = 300.0  # seconds that a line's time may lie ahead of now
_ALL = b"*"  # the key of a finding about all clients together
_NOBODY = b""
_BAN_FORMATS = ("syslog", "sshd")


@dataclass(slots=True)
class Place:
    """Where the line at hand stands."""

    source: str
    segment: str
    format: LogFormat
    now: float
    block: bytes | memoryview = b""
    start: int = 0
    stop: int = 0
    offset: int = 0

    def line(self) -> bytes:
        """Return the line without its line feed."""
        return bytes(self.block[self.start : self.stop])

    def time(self, found: float | None) -> float:
        """Return a line's time; now for a line without one, or one from the future."""
        return self.now if found is None or found > self.now + _FUTURE else found


@dataclass(slots=True)
class Event:
    """What is counted of a line that fits a rule."""

    who: bytes | None
    time: float
    user: bytes = b""
    target: bytes = b""
    served: bool = False
    number: int | None = None  # of the target's path, where it is known already


class Judge:
    """A rule with its windows."""

    def __init__(self, rule: Rule, capacity: int) -> None:
        self.rule = rule
        self.name = rule.id
        self.after = rule.after
        self.by_user = rule.key == "user"
        self.statuses = rule.status_test
        self.methods = rule.method_test
        self.patterns = rule.has_patterns
        self.users = rule.key == "user" or rule.distinct == "user"
        self.matches = 0
        self.fired = 0
        self.distinct = rule.distinct
        kind = DistinctWindow if rule.distinct else Window
        self.window: Window | DistinctWindow = kind(
            rule.threshold, rule.window_seconds, capacity=capacity
        )
        self.total = Window(rule.total, rule.window_seconds, capacity=16) if rule.total else None

    def add(self, key: bytes, event: Event) -> bool:
        """Count an event for a key; return whether the rule fires."""
        if isinstance(self.window, Window):
            return self.window.add(key, event.time)
        if self.distinct == "target":
            if event.number is not None:
                return self.window.add(key, event.time, event.number)
            return self.window.add(key, event.time, number_of(event.target))
        value = event.user if self.distinct == "user" else event.who or b""
        return self.window.add(key, event.time, _number(value))


class Tally:
    """All rules with what was counted and found."""

    def __init__(
        self, settings: Scan, rules: Sequence[Rule], scrub: Callable[[bytes], bytes] | None
    ) -> None:
        self.judges = {rule.id: Judge(rule, settings.tracked_addresses) for rule in rules}
        self.overflow = 0  # findings that there was no room for
        self._exempt = addresses.Networks(
            (*settings.exempt_networks, *settings.trusted_proxies), always=True
        )
        self._scrub = scrub
        self._open: OrderedDict[tuple[str, bytes], Finding] = OrderedDict()
        self._found: dict[str, Finding] = {}
        self._changed: dict[str, Finding] = {}
        self._sampled: dict[str, int] = {}

    def count(self, judge: Judge, event: Event, place: Place) -> None:
        """Count a line that fits a rule, and fire when it is enough."""
        judge.matches += 1
        rule = judge.rule
        if judge.total is not None and judge.total.add(_ALL, event.time):
            self._fire(judge, _ALL, event, place, rule.total or 1)
        key = _digest(event.user) if judge.by_user else event.who
        if key is None:
            if rule.threshold > 1 or rule.after:
                return
            key = _NOBODY
        if judge.after and not self._was_before(rule, key, event.time):
            return
        opened = self._open.get((judge.name, key))
        if opened is not None and abs(event.time - opened.last) <= rule.window_seconds:
            self._go_on(rule, opened, event, place)
        elif judge.add(key, event):
            self._fire(judge, key, event, place, rule.threshold)

    def _was_before(self, rule: Rule, key: bytes, moment: float) -> bool:
        """Whether the rule that this one comes after has counted enough of the same key."""
        earlier = self.judges.get(rule.after)
        if earlier is None:
            return False
        before = earlier.window.count(key, moment)
        opened = self._open.get((rule.after, key))
        if opened is not None and abs(moment - opened.last) <= rule.window_seconds:
            before += opened.count
        return before >= rule.after_count

    def _go_on(self, rule: Rule, finding: Finding, event: Event, place: Place) -> None:
        finding.count += 1
        finding.last = max(finding.last, event.time)
        if event.served:
            self._serve(rule, finding)
        self._sample(finding, place)
        self._changed[finding.id] = finding

    def _serve(self, rule: Rule, finding: Finding) -> None:
        finding.served += 1
        higher = rule.served_severity
        if higher and SEVERITIES.index(higher) > SEVERITIES.index(finding.severity):
            finding.severity = higher

    def _fire(self, judge: Judge, key: bytes, event: Event, place: Place, count: int) -> None:
        rule = judge.rule
        if len(self._found) >= MOST_FINDINGS:
            self.overflow += 1
            return
        named = rule.key == "address" and key not in (_NOBODY, _ALL)
        finding = Finding(
            id=identify(rule, place.segment, place.offset, everybody=key == _ALL),
            rule=rule.id,
            title=rule.title,
            severity=rule.severity,
            who=addresses.name_of(key) if named else "",
            source=place.source,
            first=event.time,
            last=event.time,
            count=count,
            served=0,
            expires_seconds=rule.expires_seconds,
            may_ban=rule.ban
            and named
            and place.format in _BAN_FORMATS
            and not self._exempt.hold(key),
        )
        if event.served:
            self._serve(rule, finding)
        self._sample(finding, place)
        if key != _ALL:
            self._open[rule.id, key] = finding
        judge.fired += 1
        self._found[finding.id] = finding
        self._changed[finding.id] = finding

    def _sample(self, finding: Finding, place: Place) -> None:
        """Keep a few scrubbed lines of each rule for the reviewer."""
        taken = self._sampled.get(finding.rule, 0)
        if self._scrub is None or taken >= MOST_SAMPLES:
            return
        self._sampled[finding.rule] = taken + 1
        line = place.line().rstrip(b"\r")[:_SAMPLE_BYTES]
        finding.samples.append(self._scrub(line + b"\n").rstrip(b"\n"))

    def findings(self) -> list[Finding]:
        """Return the findings that have not been forgotten, in the order in which they began."""
        return list(self._found.values())

    def changed(self) -> list[Finding]:
        """Return findings that are new or have grown since the last call."""
        changed = list(self._changed.values())
        self._changed.clear()
        return changed

    def has_changed(self) -> bool:
        """Whether `changed` would return something."""
        return bool(self._changed)

    def samples(self) -> dict[str, list[bytes]]:
        """Return the scrubbed lines that were kept, by rule."""
        found: dict[str, list[bytes]] = {}
        for finding in self._found.values():
            if finding.samples:
                found.setdefault(finding.rule, []).extend(finding.samples)
        return found

    def new_day(self) -> None:
        """Begin the counts of a day; windows and findings go on."""
        self._sampled.clear()
        self.overflow = 0
        for judge in self.judges.values():
            judge.matches = judge.fired = judge.window.forgotten = 0

    def state(self) -> dict[str, Any]:
        """Return what `restore` takes, as JSON. It holds addresses and no lines."""
        return {
            "overflow": self.overflow,
            "sampled": self._sampled,
            "judges": {
                name: {
                    "matches": judge.matches,
                    "fired": judge.fired,
                    "window": judge.window.state(),
                    "total": judge.total.state() if judge.total else None,
                }
                for name, judge in self.judges.items()
                if judge.matches
            },
            "open": [[name, key.hex(), one.id] for (name, key), one in self._open.items()],
            "found": [one.state() for one in self._found.values()],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take up where `state` was written; rules that are gone are left out.

        Raise KeyError, TypeError or ValueError on rubbish.
        """
        self.overflow = int(state["overflow"])
        self._sampled = {str(name): int(count) for name, count in state["sampled"].items()}
        for name, one in state["judges"].items():
            judge = self.judges.get(name)
            if judge is None:
                continue
            judge.matches, judge.fired = int(one["matches"]), int(one["fired"])
            judge.window.restore(one["window"])
            if judge.total is not None and one["total"] is not None:
                judge.total.restore(one["total"])
        found = [Finding.from_state(one) for one in state["found"]]
        self._found = {one.id: one for one in found if one.rule in self.judges}
        for name, key, number in state["open"]:
            if number in self._found:
                self._open[name, bytes.fromhex(key)] = self._found[number]

    def expire(self, moment: float) -> None:
        """Forget what is over: counters past their window, findings past window and expiry."""
        for judge in self.judges.values():
            judge.window.expire(moment)
        for place, finding in list(self._open.items()):
            if moment - finding.last > self.judges[finding.rule].rule.window_seconds:
                del self._open[place]
        going = {finding.id for finding in self._open.values()}
        for finding in list(self._found.values()):
            over = moment > finding.last + finding.expires_seconds
            if over and finding.id not in going and finding.id not in self._changed:
                del self._found[finding.id]


def number_of(target: bytes) -> int:
    """Return the number by which the path of a target is known."""
    return _number(target.partition(b"?")[0])


def _number(value: bytes) -> int:
    return int.from_bytes(hashlib.blake2s(value, digest_size=6).digest(), "big")


def _digest(value: bytes) -> bytes | None:
    return hashlib.blake2s(value, digest_size=8).digest() if value else None
