"""Who is pinned, who waits: what `host list` says, and what doctor and health make of it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from agent import clock, output
from agent.backup import catalog, identity
from agent.backup.catalog import State
from agent.config.model import Configuration
from agent.errors import Art32Error, Code, ExitStatus
from agent.host import candidates, change
from agent.host.candidates import Candidate, Found
from agent.host.change import Changed
from agent.pins import read as pins
from agent.pins.document import PinnedHost
from agent.pins.read import Current
from agent.store import aws, open_store

PENDING, ACCEPTED, RETIRED, REFUSED = "pending", "accepted", "retired", "refused"
INVALID, CONFIGURED = "invalid", "configured"
ENDS_SOON = timedelta(days=21)


@dataclass(frozen=True)
class Standing:
    """The list in force and what waits; `waiting` counts the backups that each key has signed."""

    now: Current
    found: Found
    waiting: dict[str, int]

    @property
    def pending(self) -> tuple[Candidate, ...]:
        """What a person has to look at."""
        return tuple(one for one in self.found.candidates if not one.problem)


def standing(config: Configuration, *, count: bool = True) -> Standing:
    """Return how hosts stand; with `count` the pending backups are counted, host by host."""
    store = pins.store_of(config)
    now = pins.current(config, store)
    found = candidates.look(store, now.trusted.list if now.trusted else None)
    configured = {pin.fingerprint for pin, _ in identity.pinned(config)}
    waiting = [one for one in found.candidates if one.fingerprint not in configured]
    found = replace(found, candidates=tuple(change.with_machines(config, waiting)))
    return Standing(now, found, _waiting(config, found.candidates) if count else {})


def _waiting(config: Configuration, found: Sequence[Candidate]) -> dict[str, int]:
    """Count what would be complete if the candidates were accepted."""
    lines = {one.fingerprint: change.pinned(one) for one in found if not one.problem}
    counts: Counter[str] = Counter()
    if not lines:
        return counts
    store = open_store(config.store)
    with identity.reader(config, tuple(lines.values())) as reader:
        for host in sorted({one.host for one in lines.values()}):
            for backup in catalog.read(store, reader, config.store.prefix, host=host):
                if backup.state is State.COMPLETE and backup.manifest is not None:
                    counts[backup.manifest.signer] += backup.manifest.signer in lines
    return counts


def answer(config: Configuration) -> output.Answer:
    """Return the list of all keys, those that wait first; status 20 when anything wants a look."""
    here = standing(config)
    entries = [_candidate_entry(one, here.waiting) for one in here.found.candidates]
    trusted = here.now.trusted
    entries += [_pinned_entry(one) for one in (trusted.list.hosts if trusted else [])]
    entries += [
        _configured_entry(pin)
        for pin, _ in identity.pinned(config)
        if not (trusted and trusted.list.find(pin.fingerprint))
    ]
    said = warnings(here)
    data = {
        "serial": trusted.list.serial if trusted else None,
        "valid_until": clock.iso(trusted.until) if trusted else None,
        "hosts": entries,
    }
    lines = [line for one in entries for line in _lines(one)] or ["there are no hosts"]
    if trusted:
        lines.append(f"list {trusted.list.serial}, good until {clock.iso(trusted.until)}")
    if here.found.candidates and not aws.is_aws(config.store):
        lines.append("this store does not prove who wrote an enrolment: only the fingerprint does")
    return output.Answer(
        "art32.host.list/1",
        data,
        lines,
        said,
        ExitStatus.WARNINGS if said else ExitStatus.OK,
    )


def warnings(here: Standing) -> list[str]:
    """Return a sentence for everything about hosts that wants a person."""
    found = [*here.now.notes]
    trusted, soon = here.now.trusted, clock.now() + ENDS_SOON
    if trusted and clock.now() < trusted.until < soon:
        found.append(
            f"the list of pinned hosts ends {clock.iso(trusted.until)}: renew it (art32 host renew)"
        )
    for one in here.pending:
        backups = here.waiting.get(one.fingerprint)
        more = f", and {backups} of its backups with it" if backups else ""
        found.append(f"`{one.host}` waits to be accepted{more}")
    found += [
        f"an enrolment below `{one.identity}` does not count: {one.problem}"
        for one in here.found.candidates
        if one.problem
    ]
    for who, count in list(here.found.unread.items())[:3]:
        found.append(
            f"{count} more enrolments below `{who}` were not looked at: something fills the store"
        )
    if here.found.foreign:
        found.append(f"{here.found.foreign} objects below `enroll/` are no enrolments")
    return found


def grouped(fingerprint: str) -> str:
    """Return a fingerprint as people compare it: in groups of four, the halves apart."""
    groups = [fingerprint[at : at + 4] for at in range(0, len(fingerprint), 4)]
    half = len(groups) // 2
    return f"{' '.join(groups[:half])}  {' '.join(groups[half:])}"


def _lines(entry: dict[str, Any]) -> list[str]:
    closed = entry["retired_after_sequence"]
    facts = [
        entry["state"],
        entry["host"],
        "for its write-ahead log" if entry["purpose"] else "",
        f"since {entry['since']}" if entry["since"] else "",
        f"by {entry['identity']}" if entry["identity"] else "",
        f"{entry['backups']} backups wait" if entry["backups"] is not None else "",
        f"up to sequence {closed}" if closed else "",
        entry["machine"] or "",
    ]
    lines = [", ".join(fact for fact in facts if fact), f"    {grouped(entry['fingerprint'])}"]
    return lines + [f"    {word}" for word in (*entry["doubts"], entry["problem"]) if word]


def _entry(state: str, host: str, fingerprint: str, **more: Any) -> dict[str, Any]:
    empty = dict.fromkeys(
        (
            *("since", "identity", "purpose", "backups", "retired_after_sequence", "machine"),
            "problem",
        )
    )
    return {"state": state, "host": host, "fingerprint": fingerprint, **empty, "doubts": [], **more}


def _candidate_entry(one: Candidate, waiting: dict[str, int]) -> dict[str, Any]:
    machine = one.enrolment.machine if one.enrolment else None
    return _entry(
        INVALID if one.problem else PENDING,
        one.host,
        one.fingerprint,
        since=clock.iso(one.stored_at),
        identity=one.identity,
        purpose=one.purpose,
        backups=None if one.problem else waiting.get(one.fingerprint, 0),
        machine=f"{machine.system}, {machine.architecture}, art32 {machine.art32}"
        if machine
        else None,
        problem=one.problem or None,
        doubts=list(one.doubts),
    )


def _pinned_entry(one: PinnedHost) -> dict[str, Any]:
    state = ACCEPTED if one.active else RETIRED if one.retired_after_sequence else REFUSED
    return _entry(
        state,
        one.host,
        one.fingerprint,
        since=clock.iso(clock.parse_stamp(one.retired or one.accepted)),
        identity=one.identity,
        purpose=one.purpose,
        retired_after_sequence=one.retired_after_sequence,
    )


def _configured_entry(pin: identity.Pin) -> dict[str, Any]:
    retired = pin.retired_after_sequence
    return _entry(
        CONFIGURED if retired is None else RETIRED,
        pin.host,
        pin.fingerprint,
        retired_after_sequence=retired,
    )


@dataclass(frozen=True)
class Wanted:
    """What a person named: a whole fingerprint, else the name of a host."""

    fingerprint: str
    name: str | None = None


def wanted(text: str) -> Wanted:
    """Return what a command line names; raise USAGE for a part of a fingerprint."""
    if re.fullmatch(r"[0-9A-Fa-f]{40}|[0-9A-Fa-f]{64}", text):
        return Wanted(text.upper())
    if re.fullmatch(r"[0-9A-F]{8,}", text):
        raise Art32Error(
            Code.USAGE,
            f"`{text}` is a part of a fingerprint: others can have it in common",
            hint="give all 40 digits: art32 host list",
        )
    return Wanted("", text)


def offer(config: Configuration, host: str) -> output.Answer:
    """Return which key waits to become a host, and how to accept it: a name is no proof.

    Raise HOST_UNKNOWN when none does.
    """
    here = standing(config)
    entries = [_candidate_entry(one, here.waiting) for one in here.pending if one.host == host]
    if not entries:
        raise Art32Error(
            Code.HOST_UNKNOWN, f"no key waits to become `{host}`", hint="art32 host list"
        )
    lines = [line for one in entries for line in _lines(one)]
    lines.append("compare it with what the host itself shows, then:")
    lines += [f"    art32 host accept {grouped(one['fingerprint'])}" for one in entries]
    return output.Answer(
        "art32.host.list/1", {"hosts": entries}, lines, here.now.notes, ExitStatus.WARNINGS
    )


def changed(schema: str, word: str, done: Changed) -> output.Answer:
    """Return what a change of the list came to."""
    lines = [f"{word}: {done.host}, {grouped(done.fingerprint)}"]
    if done.list is None:
        lines = [f"{done.host} was {word} before: {grouped(done.fingerprint)}"]
    for one in done.closed:
        lines.append(f"{one.fingerprint} counts up to sequence {one.retired_after_sequence}")
    if done.list is not None:
        lines.append(f"list {done.list.serial}, good until {clock.iso(done.list.until)}")
    data = {
        "host": done.host,
        "fingerprint": done.fingerprint,
        "serial": done.list.serial if done.list else None,
        "closed": {one.fingerprint: one.retired_after_sequence for one in done.closed},
    }
    status = ExitStatus.WARNINGS if done.notes else ExitStatus.OK
    return output.Answer(schema, data, lines, done.notes, status)
