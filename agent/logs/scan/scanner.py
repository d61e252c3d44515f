"""The scanner: raw blocks in, findings out; nothing of a line outlives the call.

First stage: one pass over the block finds the lines that hold a trigger (`engine`). Second stage:
those lines alone are taken apart (`formats`) and judged by the rules that the triggers belong to.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agent import clock
from agent.config.logs_scan import LogFormat, Scan
from agent.logs.scan import addresses, engine, formats
from agent.logs.scan.findings import Finding, identify
from agent.logs.scan.normal import normalise
from agent.logs.scan.rules import SEVERITIES, Rule
from agent.logs.scan.windows import DistinctWindow, Window

LONGEST_LINE = 64 << 10
MOST_FINDINGS = 10_000
MOST_SAMPLES = 3
_SAMPLE_BYTES = 512
_FUTURE = 300.0  # seconds that a line's time may lie ahead of now
_WEB_FORMATS = ("auto", "combined", "json")
_BAN_FORMATS = ("syslog", "sshd")
# In a legitimate URL nobody encodes letters, digits or dots, nor anything twice.
_DISGUISE = r"%2e|%3[0-9]|%[46][1-9a-f]|%[57][0-9a]|%25[2-7c]|%u00|%c0%a[ef]|\\x[4-7][0-9a-f]|/\*"


@dataclass(slots=True)
class Seen:
    """What was looked at of one source."""

    lines: int = 0
    bytes: int = 0
    hits: int = 0
    unread: int = 0  # lines with a trigger in none of the known formats
    cut: int = 0  # lines of which only the first LONGEST_LINE bytes were judged


@dataclass(slots=True)
class _Event:
    """A line that fits a rule."""

    who: bytes | None
    time: float
    user: bytes
    target: bytes
    served: bool


class _Judge:
    """A rule with its windows."""

    def __init__(self, rule: Rule, capacity: int) -> None:
        self.rule = rule
        self.window: Window | None = None
        self.distinct: DistinctWindow | None = None
        if rule.distinct:
            self.distinct = DistinctWindow(rule.threshold, rule.window_seconds, capacity=capacity)
        else:
            self.window = Window(rule.threshold, rule.window_seconds, capacity=capacity)
        self.total = Window(rule.total, rule.window_seconds, capacity=16) if rule.total else None
        self.matches = 0

    @property
    def forgotten(self) -> int:
        counter = self.window or self.distinct
        return counter.forgotten if counter is not None else 0

    def remembered(self, key: bytes, moment: float) -> int:
        counter = self.window or self.distinct
        return counter.count(key, moment) if counter is not None else 0


class Scanner:
    """Feeds on blocks of whole raw lines; see `open_scanner`."""

    def __init__(
        self,
        settings: Scan,
        rules: Sequence[Rule],
        *,
        scrub: Callable[[bytes], bytes] | None = None,
    ) -> None:
        self.rules = tuple(rules)
        self.seen: dict[str, Seen] = {}
        self.overflow = 0  # findings that there was no room for
        self._judges = {rule.id: _Judge(rule, settings.tracked_addresses) for rule in self.rules}
        self._scrub = scrub
        self._trusted = addresses.Networks(settings.trusted_proxies)
        self._exempt = addresses.Networks(
            (*settings.exempt_networks, *settings.trusted_proxies), always=True
        )
        self._web = [self._judges[rule.id] for rule in self.rules if rule.family == "http"]
        self._open: OrderedDict[tuple[str, bytes], Finding] = OrderedDict()
        self._found: dict[str, Finding] = {}
        self._changed: dict[str, Finding] = {}
        self._sampled: dict[str, int] = {}
        triggers: dict[str, list[_Judge]] = {}
        for judge in self._judges.values():
            for trigger in judge.rule.triggers:
                triggers.setdefault(trigger, []).append(judge)
        if self._web:
            triggers.setdefault(_DISGUISE, []).extend(
                judge for judge in self._web if any(judge.rule.web)
            )
        self._by_trigger = [tuple(judges) for judges in triggers.values()]
        self._engine = engine.open_engine(
            settings.engine, [trigger.encode() for trigger in triggers]
        )

    @property
    def engine(self) -> str:
        """`hyperscan` or `re`."""
        return self._engine.name

    def feed(
        self,
        block: bytes,
        *,
        source: str,
        format: LogFormat = "auto",  # noqa: A002
        segment: str | None = None,
        offset: int = 0,
        now: float | None = None,
    ) -> None:
        """Look at a block of whole lines; the last may lack its line feed.

        `source` names the log in findings and counts. `segment` and `offset` tell what the block
        is and where in it the block begins: the same bytes of the same segment give findings with
        the same ids. `format` restricts what lines may be; bans need `syslog` or `sshd`. `now`
        (seconds since the epoch, by default the clock's) is the time of lines without one.
        """
        if not block:
            return
        moment = clock.now().timestamp() if now is None else now
        seen = self.seen.setdefault(source, Seen())
        seen.lines += block.count(b"\n") + (block[-1] != 10)
        seen.bytes += len(block)
        hits = self._engine.find(block)
        if not hits:
            return
        place = _Place(source, segment if segment is not None else source, format, moment)
        stop = -1
        start = 0
        judges: dict[str, _Judge] = {}
        for end, trigger in hits:
            if end >= stop:
                if judges:
                    self._line(block[start:stop], judges, place, seen, offset + start)
                    judges = {}
                start = block.rfind(b"\n", 0, end) + 1
                stop = block.find(b"\n", end)
                stop = len(block) if stop < 0 else stop
            for judge in self._by_trigger[trigger]:
                judges[judge.rule.id] = judge
        self._line(block[start:stop], judges, place, seen, offset + start)

    def _line(
        self, line: bytes, judges: dict[str, _Judge], place: _Place, seen: Seen, offset: int
    ) -> None:
        seen.hits += 1
        if len(line) > LONGEST_LINE:
            line = line[:LONGEST_LINE]
            seen.cut += 1
        line = line.rstrip(b"\r")
        place.line, place.offset = line, offset
        read = False
        if place.format in _WEB_FORMATS:
            web = [judge for judge in judges.values() if judge.rule.family == "http"]
            if web:
                request = formats.read_request(line)
                if request is not None:
                    read = True
                    self._request(request, web, place)
        if not read and place.format not in ("combined", "json"):
            other = [judge for judge in judges.values() if judge.rule.family != "http"]
            if other:
                read = self._message(line, other, place)
        if not read:
            seen.unread += 1

    def _request(self, request: formats.Request, judges: Sequence[_Judge], place: _Place) -> None:
        who = addresses.client(request.address, request.forwarded, self._trusted)
        event = _Event(
            who,
            place.time(request.time),
            request.user,
            request.target,
            request.status[:1] == b"2",
        )
        target = agent = anywhere = None
        for judge in judges:
            rule = judge.rule
            if rule.statuses and request.status not in rule.status_test:
                continue
            if rule.methods and request.method not in rule.method_test:
                continue
            in_target, in_agent, in_any = rule.web
            if in_target is not None or in_agent is not None or in_any is not None:
                if target is None:
                    target = normalise(request.target)
                matched = in_target is not None and in_target.search(target) is not None
                if not matched and in_agent is not None:
                    agent = normalise(request.agent) if agent is None else agent
                    matched = in_agent.search(agent) is not None
                if not matched and in_any is not None:
                    if anywhere is None:
                        agent = normalise(request.agent) if agent is None else agent
                        anywhere = b"\n".join(
                            (target, normalise(request.referer), agent, normalise(request.user))
                        )
                    matched = in_any.search(anywhere) is not None
                if not matched:
                    continue
            self._count(judge, event, place)

    def _message(self, line: bytes, judges: Sequence[_Judge], place: _Place) -> bool:
        message = formats.read_message(line)
        if message is None:
            if place.format != "sshd":
                return False
            message = formats.Message(None, b"sshd", 0)
        text = line[message.start :]
        for judge in judges:
            if judge.rule.program.fullmatch(message.program) is None:
                continue
            for pattern in judge.rule.message:
                found = pattern.fullmatch(text)
                if found is None:
                    continue
                groups = found.groupdict(b"")
                who = addresses.key_of(groups.get("address", b""))
                event = _Event(who, place.time(message.time), groups.get("user", b""), b"", False)
                self._count(judge, event, place)
                break
        return True

    def _count(self, judge: _Judge, event: _Event, place: _Place) -> None:
        judge.matches += 1
        rule = judge.rule
        if judge.total is not None and judge.total.add(b"", event.time):
            self._fire(judge, b"*", event, place, rule.total or 1)
        key = event.who if rule.key == "address" else _digest(event.user)
        if key is None:
            if rule.threshold > 1 or rule.after:
                return
            key = b""
        if rule.after:
            before = self._judges[rule.after].remembered(key, event.time)
            opened = self._open.get((rule.after, key))
            if opened is not None and event.time - opened.last <= rule.window_seconds:
                before += opened.count
            if before < rule.after_count:
                return
        opened = self._open.get((rule.id, key))
        if opened is not None and event.time - opened.last <= rule.window_seconds:
            self._go_on(judge, opened, event, place)
            return
        if judge.distinct is not None:
            value = {
                "user": event.user,
                "target": event.target.partition(b"?")[0],
                "address": event.who or b"",
            }[rule.distinct]
            fires = judge.distinct.add(key, event.time, _number(value))
        else:
            assert judge.window is not None
            fires = judge.window.add(key, event.time)
        if fires:
            self._fire(judge, key, event, place, rule.threshold)

    def _go_on(self, judge: _Judge, finding: Finding, event: _Event, place: _Place) -> None:
        finding.count += 1
        finding.last = max(finding.last, event.time)
        if event.served:
            self._serve(judge.rule, finding)
        self._sample(finding, place)
        self._changed[finding.id] = finding
        # the oldest to grow is the first to go

    def _serve(self, rule: Rule, finding: Finding) -> None:
        finding.served += 1
        higher = rule.served_severity
        if higher and SEVERITIES.index(higher) > SEVERITIES.index(finding.severity):
            finding.severity = higher

    def _fire(self, judge: _Judge, key: bytes, event: _Event, place: _Place, count: int) -> None:
        rule = judge.rule
        if len(self._found) >= MOST_FINDINGS:
            self.overflow += 1
            return
        named = rule.key == "address" and key not in (b"", b"*")
        finding = Finding(
            identify(rule, place.segment, place.offset) + ("-all" if key == b"*" else ""),
            rule.id,
            rule.title,
            rule.severity,
            addresses.name_of(key) if named else "",
            place.source,
            event.time,
            event.time,
            count,
            0,
            rule.expires_seconds,
            rule.ban and named and place.format in _BAN_FORMATS and not self._exempt.hold(key),
        )
        if event.served:
            self._serve(rule, finding)
        self._sample(finding, place)
        if key != b"*":
            self._open[rule.id, key] = finding
            self._open.move_to_end((rule.id, key))
            if len(self._open) > MOST_FINDINGS:
                self._open.popitem(last=False)
        self._found[finding.id] = finding
        self._changed[finding.id] = finding

    def _sample(self, finding: Finding, place: _Place) -> None:
        """Keep a few scrubbed lines of each rule for the reviewer."""
        if self._scrub is None or self._sampled.get(finding.rule, 0) >= MOST_SAMPLES:
            return
        self._sampled[finding.rule] = self._sampled.get(finding.rule, 0) + 1
        line = place.line[:_SAMPLE_BYTES]
        finding.samples.append(self._scrub(line + b"\n").rstrip(b"\n"))

    def findings(self) -> list[Finding]:
        """Return all findings so far, in the order in which they began."""
        return list(self._found.values())

    def changed(self) -> list[Finding]:
        """Return findings that are new or have grown since the last call."""
        changed = list(self._changed.values())
        self._changed.clear()
        return changed


@dataclass(slots=True)
class _Place:
    """Where the line at hand stands."""

    source: str
    segment: str
    format: LogFormat
    now: float
    line: bytes = b""
    offset: int = 0

    def time(self, found: float | None) -> float:
        """Return a line's time; now for a line without one, or one from the future."""
        return self.now if found is None or found > self.now + _FUTURE else found


def _number(value: bytes) -> int:
    return int.from_bytes(hashlib.blake2s(value, digest_size=6).digest(), "big")


def _digest(value: bytes) -> bytes | None:
    return hashlib.blake2s(value, digest_size=8).digest() if value else None
