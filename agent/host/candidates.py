"""Enrolments that wait for a person: everything in them was written by a machine nobody knows yet.

A writer can fill its own directory below `enroll/` and no other. So a few of each directory are
looked at, the oldest first, and one that is named by its fingerprint always.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from agent import clock, parallel, run
from agent.crypto import envelope, keys
from agent.crypto.home import isolated_home
from agent.crypto.signatures import Keyring, Validity
from agent.errors import Art32Error, Code
from agent.host import record
from agent.host.record import RECORD_LIMIT, Enrolment
from agent.pins.document import KEY_BYTES, PinList, Purpose, key_bytes, role_of
from agent.store import Store, StoredObject

EACH = 5
ALL = 200
_READERS = 4
_SAID = (Code.CORRUPT, Code.OBJECT_MISSING, Code.SUSPECT, Code.STORE_REFUSED, Code.STORE_FAILED)


@dataclass(frozen=True)
class Candidate:
    """An enrolment as the store holds it: by the names, and what is in it where it is good.

    `problem` says why it can never be accepted, `doubts` what a person must look into first. `key`
    is the public key in its smallest form.
    """

    identity: str
    fingerprint: str
    stored_at: datetime
    enrolment: Enrolment | None = None
    key: bytes = b""
    problem: str = ""
    doubts: tuple[str, ...] = ()

    @property
    def host(self) -> str:
        return self.enrolment.host if self.enrolment else "?"

    @property
    def purpose(self) -> Purpose:
        return self.enrolment.purpose if self.enrolment else None


@dataclass(frozen=True)
class Found:
    """What waits below `enroll/`: `unread` counts by identity what was not looked at."""

    candidates: tuple[Candidate, ...] = ()
    unread: dict[str, int] = field(default_factory=dict)
    foreign: int = 0


def look(store: Store, pinned: PinList | None) -> Found:
    """Return the enrolments of keys that are not pinned, and copies of those that are."""
    waiting: dict[str, list[tuple[str, StoredObject]]] = {}
    foreign = 0
    for item in store.list(record.DIRECTORY):
        parsed = record.parse_name(item.name)
        if parsed is None:
            foreign += 1
            continue
        who, fingerprint = parsed
        line = pinned.find(fingerprint) if pinned else None
        if line is None or (line.active and line.identity != who):
            waiting.setdefault(who, []).append((fingerprint, item))
    chosen: list[tuple[str, str, StoredObject]] = []
    unread: dict[str, int] = {}
    for who, items in sorted(waiting.items(), key=lambda one: min(i.stored_at for _, i in one[1])):
        items.sort(key=lambda one: (one[1].stored_at, one[0]))
        room = min(EACH, max(ALL - len(chosen), 0))
        chosen += [(who, fingerprint, item) for fingerprint, item in items[:room]]
        if items[room:]:
            unread[who] = len(items) - room
    return Found(_with_rivals(_read(store, chosen), pinned), unread, foreign)


def find(store: Store, fingerprint: str, pinned: PinList | None) -> list[Candidate]:
    """Return the enrolments of one key, however many others there are."""
    chosen = [
        (parsed[0], fingerprint, item)
        for item in store.list(record.DIRECTORY)
        if (parsed := record.parse_name(item.name)) is not None and parsed[1] == fingerprint
    ]
    return list(_with_doubts(_read(store, chosen[:EACH]), pinned))


def _read(store: Store, chosen: Iterable[tuple[str, str, StoredObject]]) -> list[Candidate]:
    with contextlib.closing(
        parallel.ordered(lambda one: _judge(store, *one), chosen, workers=_READERS)
    ) as found:
        return list(found)


def _judge(store: Store, who: str, fingerprint: str, item: StoredObject) -> Candidate:
    """Return what an object is; raise only when the store does not answer."""
    candidate = Candidate(who, fingerprint, item.stored_at)
    if item.size > RECORD_LIMIT:
        return replace(candidate, problem=f"it is larger than {RECORD_LIMIT} bytes")
    try:
        sealed = envelope.parse(store.get(item.name, limit=RECORD_LIMIT), record.KIND)
        found = record.parse(sealed.payload)
        if (found.identity, found.fingerprint) != (who, fingerprint):
            return replace(candidate, problem="it was made for another place")
        key = _checked_key(found, sealed)
    except ValueError as error:
        return replace(candidate, problem=str(error))
    except Art32Error as error:
        if error.code not in _SAID:
            raise
        return replace(candidate, problem=error.sentence)
    return replace(candidate, enrolment=found, key=key)


def _checked_key(found: Enrolment, sealed: envelope.Envelope) -> bytes:
    """Return the key of an enrolment in its smallest form; raise ValueError unless it has that
    fingerprint, can sign, and has signed the enrolment."""
    given = key_bytes(found.key)
    with isolated_home() as home:
        shown = keys.show(home, given)
        if [one.fingerprint for one in shown] != [found.fingerprint]:
            raise ValueError("its key does not have the fingerprint that it says")
        if shown[0].private:
            raise ValueError("it holds a private key")
        if shown[0].revoked:
            raise ValueError("its key has been revoked")
        end = shown[0].usable_until("s", clock.now())
        if end is not None and end <= clock.now():
            raise ValueError("its key cannot sign, or has expired")
        keys.import_public_keys(home, [given])
        signature = Keyring(home).verify(sealed.signed, sealed.signature)
        if (signature.validity, signature.signer) != (Validity.GOOD, found.fingerprint):
            raise ValueError("its key has not signed it")
        smallest = run.run(
            home.command("--export-options", "export-minimal", "--export", found.fingerprint)
        ).stdout
    if not 0 < len(smallest) <= KEY_BYTES:
        raise ValueError(f"its key is larger than {KEY_BYTES} bytes")
    return smallest


def _with_rivals(candidates: Sequence[Candidate], pinned: PinList | None) -> tuple[Candidate, ...]:
    """Add the doubts, and that several keys want to be the same host, for the same purpose."""
    places = Counter((one.host, one.purpose) for one in candidates if not one.problem)
    found = []
    for one in _with_doubts(candidates, pinned):
        rivals = places[one.host, one.purpose]
        doubt = f"{rivals} keys wait to become `{one.host}`"
        rivalled = rivals > 1 and not one.problem
        found.append(replace(one, doubts=(*one.doubts, doubt)) if rivalled else one)
    return tuple(found)


def _with_doubts(candidates: Sequence[Candidate], pinned: PinList | None) -> Iterable[Candidate]:
    """Add what the list of pinned hosts knows better than an enrolment."""
    for one in candidates:
        if one.problem or pinned is None:
            yield one
            continue
        doubts = []
        line = pinned.find(one.fingerprint)
        if line is not None and line.active and line.identity != one.identity:
            doubts.append(
                f"this key is that of `{line.identity}` already: one machine is a copy of the other"
            )
        role = role_of(one.identity)
        others = {host.host for host in pinned.hosts if host.role == role and host.active}
        if others and one.host not in others:
            names = ", ".join(f"`{other}`" for other in sorted(others))
            doubts.append(f"`{role}` is the role of {names}, not of `{one.host}`")
        roles = {host.role for host in pinned.hosts if host.host == one.host}
        if roles and role not in roles:
            doubts.append(f"`{one.host}` was enrolled by another role so far")
        yield replace(one, doubts=tuple(doubts))
