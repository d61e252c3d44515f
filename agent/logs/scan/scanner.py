"""The scanner: raw blocks in, findings out; nothing of a line outlives the call.

First stage: one pass over the block finds the lines that hold a trigger (`engine`). Second stage:
those lines alone are taken apart, the usual ones by the kernel (`hits`), others by `formats`, and
judged by the rules that the triggers belong to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from agent import clock
from agent.config.logs_scan import LogFormat, Scan
from agent.logs.scan import addresses, engine, formats, hits
from agent.logs.scan.engine import Block
from agent.logs.scan.findings import Finding
from agent.logs.scan.normal import normalise
from agent.logs.scan.rules import Rule
from agent.logs.scan.tally import Event, Judge, Place, Tally

LONGEST_LINE = 64 << 10
_MOST_CHOICES = 4096
_MOST_VERDICTS = 4096
_LONGEST_KEPT = 1024  # bytes of a request whose verdict is kept
_WEB_FORMATS = ("auto", "combined", "json")
# In a legitimate URL nobody encodes letters, digits, dots and dashes, nor anything twice.
_DISGUISE = (
    rb"%2[de]|%3[0-9]|%[46][1-9a-f]|%[57][0-9a]|%5f|%7e|%25[2-7c]|%u00|%c0%a[ef]|%%|"
    rb"\\x[4-7][0-9a-f]|/\*"
)


@dataclass(slots=True)
class Seen:
    """What was looked at of one source."""

    lines: int = 0
    bytes: int = 0
    hits: int = 0
    unread: int = 0  # lines with a trigger in none of the known formats
    cut: int = 0  # lines of which only the first LONGEST_LINE bytes were judged


@dataclass(slots=True)
class _Choice:
    """The rules that some triggers belong to, and what of them is known."""

    web: list[Judge]
    other: list[Judge]
    patterns: bool = False  # of a rule for requests
    simple: bool = False  # of a request, the status alone decides which rules it fits
    users: bool = False  # whether a rule counts user names
    by_status: dict[int, list[Judge]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.patterns = any(judge.patterns for judge in self.web)
        self.simple = not self.patterns and not any(judge.methods for judge in self.web)
        self.users = any(judge.users for judge in self.web)

    def of_status(self, status: int) -> list[Judge]:
        fit = [one for one in self.web if not one.statuses or b"%d" % status in one.statuses]
        self.by_status[status] = fit
        return fit


class Scanner:
    """Feeds on blocks of whole raw lines; see `open_scanner`."""

    def __init__(
        self,
        settings: Scan,
        rules: Sequence[Rule],
        *,
        scrub: Callable[[bytes], bytes] | None = None,
        kernel: bool = True,
    ) -> None:
        self.rules = tuple(rules)
        self.seen: dict[str, Seen] = {}
        self.tally = Tally(settings, rules, scrub)
        self._trusted = addresses.Networks(settings.trusted_proxies)
        triggers: dict[bytes, list[Judge]] = {}
        for judge in self.tally.judges.values():
            for trigger in judge.rule.searched:
                triggers.setdefault(trigger, []).append(judge)
            if judge.rule.has_patterns:
                triggers.setdefault(_DISGUISE, []).append(judge)
        self._by_trigger = [tuple(judges) for judges in triggers.values()]
        self._chosen: dict[bytes, _Choice] = {}
        self._verdicts: dict[tuple[bytes, bytes, bytes], list[Judge]] = {}
        self._speakers: dict[tuple[bytes, bytes], list[Judge]] = {}
        self._engine = engine.open_engine(settings.engine, list(triggers))
        self._lines = hits.open_lines(len(triggers), kernel=kernel)

    @property
    def engine(self) -> str:
        """`hyperscan` or `re`."""
        return self._engine.name

    def feed(
        self,
        block: Block,
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
        if not len(block):
            return
        seen = self.seen.setdefault(source, Seen())
        seen.lines += self._lines.count(block) + (block[-1] != 10)
        seen.bytes += len(block)
        found = self._engine.find(block)
        if not found:
            return
        moment = clock.now().timestamp() if now is None else now
        place = Place(source, source if segment is None else segment, format, moment, block)
        self._judge(self._lines.read(block, found), place, offset, seen)

    def _judge(self, lines: Iterable[hits.Line], place: Place, offset: int, seen: Seen) -> None:
        """Judge lines with hits: those that were read at once here, the others one by one.

        What costs a microsecond here costs a tenth of the speed where every 30th request fails.
        """
        event = Event(None, place.now)
        count, block, trusted = self.tally.count, place.block, self._trusted
        web_format = place.format in _WEB_FORMATS
        for start, stop, read, length, status, seconds, key, target, user, end, rest, bits in lines:
            seen.hits += 1
            place.start, place.stop, place.offset = start, stop, offset + start
            choice = self._chosen.get(bits) or self._choose(bits)
            who = key[:length] if length else None
            quick = read and web_format and choice.web
            # of a trusted proxy, whom the line accuses stands elsewhere
            if not quick or (who is not None and trusted and trusted.hold(who)):
                self._line(place.line(), bits, choice, place, seen)
                continue
            if choice.simple:
                fit = choice.by_status.get(status)
                if fit is None:
                    fit = choice.of_status(status)
            else:
                verdict = (bits, bytes(block[user:end]), bytes(block[rest:stop]))
                fit = self._verdicts.get(verdict)
                if fit is None:
                    fit = self._verdict(choice, verdict, place)
            if fit is None:
                self._line(place.line(), bits, choice, place, seen)
            elif fit:
                event.who = who
                event.time = place.time(None if seconds == hits.NO_TIME else seconds)
                event.number = target
                event.user = bytes(block[user:end]) if choice.users else b""
                event.served = 200 <= status < 300
                for judge in fit:
                    count(judge, event, place)

    def _line(
        self, line: bytes, triggers: bytes, choice: _Choice, place: Place, seen: Seen
    ) -> None:
        if len(line) > LONGEST_LINE:
            line = line[:LONGEST_LINE]
            seen.cut += 1
        if line.endswith(b"\r"):
            line = line.rstrip(b"\r")
        read = False
        if choice.web and place.format in _WEB_FORMATS:
            request = formats.read_request(line, split=choice.patterns)
            if request is not None:
                read = True
                self._request(request, triggers, choice, place)
        if not read and choice.other and place.format not in ("combined", "json"):
            read = self._message(line, triggers, choice.other, place)
        seen.unread += not read

    def _choose(self, triggers: bytes) -> _Choice:
        """Return the rules of some triggers, given as bits: for requests, and for messages."""
        bits = int.from_bytes(triggers, "little")
        judges = {
            id(judge): judge
            for number, many in enumerate(self._by_trigger)
            if bits >> number & 1
            for judge in many
        }
        chosen = _Choice(
            [judge for judge in judges.values() if judge.rule.family == "http"],
            [judge for judge in judges.values() if judge.rule.family != "http"],
        )
        if len(self._chosen) >= _MOST_CHOICES:
            self._chosen.clear()
        self._chosen[triggers] = chosen
        return chosen

    def _request(
        self, request: formats.Request, triggers: bytes, choice: _Choice, place: Place
    ) -> None:
        event = Event(
            addresses.client(request.address, request.forwarded, self._trusted),
            place.time(request.time),
            request.user,
            request.target,
            request.status[:1] == b"2",
        )
        # what floods a server is the same request over and over
        verdict = (triggers, request.user, request.rest)
        fit = self._verdicts.get(verdict) if request.rest else None
        if fit is None:
            fit = _fitting(request, choice.web)
            self._keep(verdict, fit)
        for judge in fit:
            self.tally.count(judge, event, place)

    def _verdict(
        self, choice: _Choice, verdict: tuple[bytes, bytes, bytes], place: Place
    ) -> list[Judge] | None:
        """Return which rules a request fits that the kernel has read; None if that was wrong."""
        request = formats.read_request(place.line(), split=True)
        if request is None or request.rest != verdict[2]:
            return None
        fit = _fitting(request, choice.web)
        self._keep(verdict, fit)
        return fit

    def _keep(self, verdict: tuple[bytes, bytes, bytes], fit: list[Judge]) -> None:
        if 0 < len(verdict[2]) <= _LONGEST_KEPT:
            if len(self._verdicts) >= _MOST_VERDICTS:
                self._verdicts.clear()
            self._verdicts[verdict] = fit

    def _message(self, line: bytes, triggers: bytes, judges: Sequence[Judge], place: Place) -> bool:
        message = formats.read_message(line)
        if message is None:
            if place.format != "sshd":
                return False
            message = formats.Message(None, b"sshd", 0)
        text = line[message.start :]
        speaker = (triggers, message.program)
        concerned = self._speakers.get(speaker)
        if concerned is None:
            concerned = [one for one in judges if one.rule.program.fullmatch(message.program)]
            if len(self._speakers) >= _MOST_CHOICES:
                self._speakers.clear()
            self._speakers[speaker] = concerned
        for judge in concerned:
            for pattern in judge.rule.message:
                found = pattern.fullmatch(text)
                if found is not None:
                    groups = found.groupdict(b"")
                    who = addresses.key_of(groups.get("address", b""))
                    moment = place.time(message.time)
                    event = Event(who, moment, groups.get("user", b""))
                    self.tally.count(judge, event, place)
                    break
        return True

    def findings(self) -> list[Finding]:
        """Return the findings that have not been forgotten, in the order in which they began."""
        return self.tally.findings()

    def changed(self) -> list[Finding]:
        """Return findings that are new or have grown since the last call."""
        return self.tally.changed()

    def new_day(self) -> None:
        """Begin the counts of a day; windows and findings go on."""
        self.seen.clear()
        self.tally.new_day()

    def state(self) -> dict[str, Any]:
        """Return what `restore` takes, as JSON: counts, windows and findings, no line."""
        return {
            "seen": {source: asdict(seen) for source, seen in self.seen.items()},
            "tally": self.tally.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take up where `state` was written; raise KeyError, TypeError or ValueError on rubbish."""
        self.seen = {source: Seen(**seen) for source, seen in state["seen"].items()}
        self.tally.restore(state["tally"])


def _fitting(request: formats.Request, judges: Sequence[Judge]) -> list[Judge]:
    """Return those whose rule the request fits, whoever sent it and when."""
    fields: _Fields | None = None
    fit = []
    for judge in judges:
        if judge.statuses and request.status not in judge.statuses:
            continue
        if judge.methods and request.method not in judge.methods:
            continue
        if judge.patterns:
            fields = fields or _Fields(request)
            if not fields.fit(judge.rule):
                continue
        fit.append(judge)
    return fit


class _Fields:
    """The normalised fields of a request, each made when a rule asks for it first."""

    def __init__(self, request: formats.Request) -> None:
        self._request = request
        self._target = normalise(request.target)
        self._agent: bytes | None = None
        self._anywhere: bytes | None = None

    def fit(self, rule: Rule) -> bool:
        """Whether a pattern of the rule is found."""
        in_target, in_agent, in_any = rule.web
        if in_target is not None and in_target.search(self._target):
            return True
        if self._agent is None and (in_agent or in_any):
            self._agent = normalise(self._request.agent)
        if in_agent is not None and in_agent.search(self._agent or b""):
            return True
        if in_any is None:
            return False
        if self._anywhere is None:
            others = (normalise(self._request.referer), normalise(self._request.user))
            self._anywhere = b"\n".join((self._target, self._agent or b"", *others))
        return in_any.search(self._anywhere) is not None
