"""Changes of the list of pinned hosts: a person accepts a key, retires one, renews the list.

Each is tried on the newest list and published as its successor. Where somebody else was quicker,
it is tried on the list that is newest then.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from agent import clock
from agent.backup import catalog, identity, make
from agent.backup.area import AREAS, within
from agent.backup.catalog import State
from agent.config.model import Configuration, S3Store
from agent.errors import Art32Error, Code
from agent.host import candidates
from agent.host.candidates import Candidate
from agent.pins import publish
from agent.pins import read as pins
from agent.pins.document import PinList, PinnedHost
from agent.pins.read import Current
from agent.store import Store, aws, open_store

ACCEPTED = "host-accepted"
RETIRED = "host-retired"
RENEWED = "pins-renewed"
_TRIES = 5
_Change = Callable[[Current, Store], Sequence[PinnedHost] | None]


@dataclass(frozen=True)
class Changed:
    """What came of it: the key, its host, the list that now counts, the keys that it replaced.

    `list` is None when nothing had to be done.
    """

    host: str
    fingerprint: str
    list: PinList | None
    closed: tuple[PinnedHost, ...] = ()
    notes: tuple[str, ...] = ()


def accept(
    config: Configuration,
    fingerprint: str,
    *,
    replaces: bool = False,
    beside: bool = False,
    despite_doubts: bool = False,
) -> Changed:
    """Pin an enrolled key. The host's keys that sign until now are closed at their last number
    with `replaces`, and go on with `beside`.

    Raise HOST_UNKNOWN, ENROLMENT_INVALID, ENROLMENT_DOUBTFUL (also when the host has a key and
    neither is said), PINS_CONFLICT, and what publishing raises.
    """
    named: list[str] = []
    closed: list[PinnedHost] = []

    def change(now: Current, store: Store) -> Sequence[PinnedHost] | None:
        listed = now.trusted.list if now.trusted else None
        line = listed.find(fingerprint) if listed else None
        if line is not None and not line.active:
            raise Art32Error(
                Code.ENROLMENT_INVALID,
                f"the key `{fingerprint}` of `{line.host}` has been retired",
                hint="a host that comes back makes a new key: art32 host enrol",
            )
        if line is not None and not _copies(store, line):
            named.append(line.host)
            return None
        candidate = _candidate(config, store, fingerprint, listed)
        named[:] = [candidate.host]
        _no_doubts(candidate, despite_doubts)
        hosts = [one for one in (listed.hosts if listed else []) if one.fingerprint != fingerprint]
        new = pinned(candidate)
        older = [
            one
            for one in hosts
            if (one.host, one.purpose) == (new.host, new.purpose) and one.active
        ]
        closed[:] = _closed(config, older, candidate, replaces=replaces, beside=beside)
        ended = {one.fingerprint: one for one in closed}
        return [*(ended.get(one.fingerprint, one) for one in hosts), new]

    made, notes = _published(config, change)
    host = named[-1]
    if made is not None:
        _record(config, ACCEPTED, made, host, fingerprint)
        for one in closed:
            _record(config, RETIRED, made, one.host, one.fingerprint)
    return Changed(host, fingerprint, made, tuple(closed), notes)


def retire(
    config: Configuration,
    wanted: str,
    *,
    after: int | None = None,
    wal_until: datetime | None = None,
    forget: bool = False,
) -> Changed:
    """Close a key, given by fingerprint or as the only active key of a host, at a sequence number:
    `after`, by default the last that it has signed and the store shows. WAL has no numbers: what
    was stored by `wal_until` counts, by default with `after` none, else all that is there.

    The key of an enrolment that waits is refused: nothing that it signs will ever count. With
    `forget` the line goes, and what the key has signed is pending from then on.
    Raise HOST_UNKNOWN, PINS_CONFLICT, and what publishing raises.
    """
    done: list[PinnedHost] = []

    def change(now: Current, store: Store) -> Sequence[PinnedHost] | None:
        listed = now.trusted.list if now.trusted else None
        hosts = list(listed.hosts) if listed else []
        line = _line(hosts, wanted)
        if line is None:
            candidate = _candidate(config, store, wanted, listed)
            ended = closed_line(pinned(candidate), 0, None)
        elif after is None:
            number = last_sequence(config, line.host, line.fingerprint)
            ended = closed_line(line, number, wal_until or store.now())
        else:
            ended = closed_line(line, after, wal_until)
        done[:] = [ended]
        others = [one for one in hosts if one.fingerprint != ended.fingerprint]
        return others if forget else [*others, ended]

    made, notes = _published(config, change)
    (line,) = done
    assert made is not None
    _record(config, RETIRED, made, line.host, line.fingerprint)
    return Changed(line.host, line.fingerprint, made, (line,), notes)


def renew(config: Configuration) -> tuple[PinList, tuple[str, ...]]:
    """Publish the same hosts anew, to be good for `pins.valid_days` from now on."""
    made, notes = _published(config, lambda now, _: now.trusted.list.hosts if now.trusted else [])
    assert made is not None
    make.ledger_of(config).append(RENEWED, serial=made.serial, hosts=len(made.hosts))
    return made, notes


def last_sequence(config: Configuration, host: str, fingerprint: str) -> int:
    """Return the highest sequence number of the key's complete backups and segments of logs."""
    numbers = [0]
    for area in AREAS:
        inner = within(config, area)
        with identity.reader(inner) as reader:
            found = catalog.read(open_store(inner.store), reader, inner.store.prefix, host=host)
        numbers += [
            one.manifest.sequence
            for one in found
            if one.state is State.COMPLETE
            and one.manifest is not None
            and one.manifest.signer == fingerprint
        ]
    return max(numbers)


def closed_line(line: PinnedHost, number: int, wal_until: datetime | None) -> PinnedHost:
    """Return a line that is closed at a number, and its WAL at a moment of the store's."""
    return line.model_copy(
        update={
            "retired": clock.stamp(clock.now()),
            "retired_after_sequence": number,
            "wal_until": clock.stamp(wal_until) if wal_until else None,
        }
    )


def _published(config: Configuration, change: _Change) -> tuple[PinList | None, tuple[str, ...]]:
    store = pins.store_of(config)
    for _ in range(_TRIES):
        now = pins.current(config, store)
        publish.require(config, now)
        hosts = change(now, store)
        if hosts is None:
            return None, now.notes
        try:
            made = publish.publish(config, store, now, hosts)
            return made, pins.current(config, store).notes
        except Art32Error as error:
            if error.code is not Code.OBJECT_EXISTS:
                raise
    raise Art32Error(
        Code.PINS_CONFLICT,
        "somebody else changes the list of pinned hosts at the same time",
        hint="art32 host list, then try again",
    )


def _copies(store: Store, line: PinnedHost) -> bool:
    """Whether another machine than the accepted one has enrolled the key as well."""
    found = candidates.find(store, line.fingerprint, None)
    return any(not one.problem and one.identity != line.identity for one in found)


def _candidate(
    config: Configuration, store: Store, fingerprint: str, listed: PinList | None
) -> Candidate:
    """Return the one good enrolment of a key, with what AWS says of its machine."""
    found = candidates.find(store, fingerprint, listed)
    if not found:
        raise Art32Error(
            Code.HOST_UNKNOWN, f"nothing has enrolled as `{fingerprint}`", hint="art32 host list"
        )
    good = [one for one in found if not one.problem]
    if not good:
        raise Art32Error(
            Code.ENROLMENT_INVALID,
            f"the enrolment of `{fingerprint}` does not count: {found[0].problem}",
            hint="find out what wrote it: nothing else can become of it",
        )
    if len({one.identity for one in good}) > 1:
        return _doubted(
            good[0], "several machines have enrolled this key: one is a copy of the other"
        )
    return with_machines(config, good[:1])[0]


def with_machines(config: Configuration, found: Sequence[Candidate]) -> list[Candidate]:
    """Add what AWS says against enrolments; elsewhere nobody can be asked."""
    if not isinstance(config.store, S3Store) or not aws.is_aws(config.store):
        return list(found)
    instances = {one: one.identity.partition(":")[2] for one in found if not one.problem}
    try:
        known = [name for name in instances.values() if name.startswith("i-")]
        duties = aws.duties_of(config.store, known)
    except Art32Error as error:
        return [_doubted(one, error.sentence) if one in instances else one for one in found]
    result = []
    for one in found:
        duty = duties.get(instances.get(one, ""))
        if one.problem or duty == one.host:
            result.append(one)
        elif duty is None:
            result.append(_doubted(one, f"there is no instance `{instances[one]}`"))
        else:
            words = f"the stack says that `{instances[one]}` is not `{one.host}`, but `{duty}`"
            result.append(_doubted(one, words))
    return result


def _doubted(candidate: Candidate, doubt: str) -> Candidate:
    return replace(candidate, doubts=(*candidate.doubts, doubt))


def _no_doubts(candidate: Candidate, despite: bool) -> None:
    if candidate.doubts and not despite:
        raise Art32Error(
            Code.ENROLMENT_DOUBTFUL,
            f"`{candidate.fingerprint}` may not be `{candidate.host}`: "
            + "; ".join(candidate.doubts),
            hint="look at the machine itself; when you know why: --despite-doubts",
        )


def _closed(
    config: Configuration,
    older: Sequence[PinnedHost],
    candidate: Candidate,
    *,
    replaces: bool,
    beside: bool,
) -> list[PinnedHost]:
    if older and not replaces and not beside:
        raise Art32Error(
            Code.ENROLMENT_DOUBTFUL,
            f"`{candidate.host}` signs with `{older[0].fingerprint}` until now",
            hint="is that machine gone, add --replaces; do both sign from now on, add --beside",
        )
    if not replaces:
        return []
    moment = open_store(config.store).now()
    return [
        closed_line(one, last_sequence(config, one.host, one.fingerprint), moment) for one in older
    ]


def pinned(candidate: Candidate) -> PinnedHost:
    """Return the line that a good enrolment becomes when it is accepted."""
    return PinnedHost(
        host=candidate.host,
        fingerprint=candidate.fingerprint,
        identity=candidate.identity,
        accepted=clock.stamp(clock.now()),
        purpose=candidate.purpose,
        key=base64.b64encode(candidate.key).decode("ascii"),
    )


def _line(hosts: Sequence[PinnedHost], wanted: str) -> PinnedHost | None:
    """Return the line of a key, or the only active one of a host; None for a fingerprint that is
    not listed."""
    line = next((one for one in hosts if one.fingerprint == wanted), None)
    if line is not None or len(wanted) >= 40:
        return line
    named = [one for one in hosts if one.host == wanted and one.active]
    if len(named) == 1:
        return named[0]
    many = ", ".join(f"`{one.fingerprint}`" for one in named)
    raise Art32Error(
        Code.HOST_UNKNOWN,
        f"`{wanted}` has several active keys: {many}" if named else f"`{wanted}` has no active key",
        hint="give the fingerprint of one" if named else "art32 host list",
    )


def _record(config: Configuration, event: str, made: PinList, host: str, fingerprint: str) -> None:
    make.ledger_of(config).append(event, host=host, fingerprint=fingerprint, serial=made.serial)
