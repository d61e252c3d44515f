"""Which list of pinned hosts counts: the newest that a root has signed, never an older one again.

This machine remembers the newest list that it has seen. Who takes newer ones out of the store, or
puts an old one back, is told, and changes nothing here.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from agent import clock, files, parallel
from agent.config.model import Configuration
from agent.crypto import envelope, keys
from agent.crypto.home import isolated_home
from agent.crypto.signatures import Keyring, Validity
from agent.errors import Art32Error, Code
from agent.pins import document
from agent.pins.document import LIST_LIMIT, PinList
from agent.store import Store, open_store

GENESIS = "0" * 64
_MEMORY = "pins.json"
_READERS = 4
_EXAMPLES = 3


@dataclass(frozen=True)
class Trusted:
    """A list that a root has signed, and the envelope it came in.

    `until` is the end of its word: its own, or that of the root's key when that is sooner.
    """

    list: PinList
    until: datetime
    digest: str
    sealed: bytes


@dataclass(frozen=True)
class Current:
    """The list in force, None when there is none; sentences for people; the highest serial number
    that any object in the store bears, or that this machine remembers."""

    trusted: Trusted | None = None
    notes: tuple[str, ...] = ()
    highest: int = 0


def store_of(config: Configuration) -> Store:
    """Return the store below whose prefix `pins/` and `enroll/` stand."""
    prefix = prefix_of(config)
    return open_store(config.store.model_copy(update={"prefix": prefix}))


def prefix_of(config: Configuration) -> str:
    """Return the prefix that lists and enrolments are bound to."""
    return config.store.prefix if config.pins.prefix is None else config.pins.prefix


@contextlib.contextmanager
def roots(config: Configuration) -> Iterator[Keyring]:
    """Hold the configured roots' public keys; raise a key error when a file is not what it was."""
    with isolated_home() as home:
        for root in config.pins.roots:
            keys.read_file(home, root, what="the root of the pinned hosts")
        keys.import_public_halves(home, config.pins.roots)
        yield Keyring(home)


def current(config: Configuration, store: Store | None = None) -> Current:
    """Return the list in force; nothing when no root is configured, and then ask nobody.

    What the store holds beside lists of a root is told and left alone. Raise what the listing
    raises, and a key error for the roots.
    """
    if not config.pins.roots:
        return Current()
    store = store or store_of(config)
    prefix = prefix_of(config)
    with roots(config) as keyring:
        remembered = _remembered(config, keyring, prefix)
        shown, highest, notes = _newest(store, keyring, prefix)
    chosen, more = _choice(shown, remembered)
    notes += more
    if (
        chosen is shown
        and shown is not None
        and (remembered is None or shown.list.serial > remembered.list.serial)
    ):
        notes += _remember(config, shown)
    if chosen is None:
        notes.append("no list of pinned hosts that a root has signed is in the store")
    elif chosen.list.serial < config.pins.minimum_serial:
        notes.append(
            f"the newest list of pinned hosts has the serial number {chosen.list.serial}, below "
            f"`pins.minimum_serial`: it is an old one, and does not count"
        )
        highest, chosen = max(highest, chosen.list.serial), None
    elif chosen.until <= clock.now():
        notes.append(
            f"the list of pinned hosts ended {clock.iso(chosen.until)}: what was stored since "
            "then is pending until a person has renewed it (art32 host renew)"
        )
    if chosen is not None:
        highest = max(highest, chosen.list.serial)
    return Current(chosen, tuple(notes), highest)


def _choice(shown: Trusted | None, remembered: Trusted | None) -> tuple[Trusted | None, list[str]]:
    if remembered is None or (shown is not None and shown.digest == remembered.digest):
        return shown, []
    seen = remembered.list.serial
    if shown is not None and shown.list.serial > seen:
        return shown, []
    if shown is not None and shown.list.serial == seen:
        note = (
            f"two lists of pinned hosts have the serial number {seen}, both signed by a root: this "
            "machine keeps to the one that it saw first"
        )
        return remembered, [note]
    number = shown.list.serial if shown else "none"
    note = (
        f"the newest list of pinned hosts in the store is {number}, and this machine has seen "
        f"{seen}, to which it keeps: somebody removed it, or shows an old store"
    )
    return remembered, [note]


def _newest(store: Store, keyring: Keyring, prefix: str) -> tuple[Trusted | None, int, list[str]]:
    """Return the newest list of a root, the highest serial number in any name, and notes.

    However much junk lies above it: whoever fills `pins/` makes this slow, and hides nothing.
    """
    sizes = {
        serial: item.size
        for item in store.list(document.DIRECTORY)
        if (serial := document.serial_of(item.name)) is not None
    }
    serials = sorted(sizes, reverse=True)
    highest = serials[0] if serials else 0
    notes: list[str] = []
    passed = 0
    found: Trusted | None = None
    with contextlib.closing(
        parallel.ordered(
            lambda serial: _fetched(store, serial, sizes[serial]), serials, workers=_READERS
        )
    ) as fetched:
        for serial, data in zip(serials, fetched, strict=True):
            try:
                if isinstance(data, str):
                    raise ValueError(data)
                found = _trusted(data, keyring, prefix, serial)
                break
            except ValueError as error:
                passed += 1
                if len(notes) < _EXAMPLES:
                    notes.append(f"`{document.name(serial)}` is no list of pinned hosts: {error}")
    if passed > len(notes):
        notes.append(f"{passed} objects in `{document.DIRECTORY}` are no lists of pinned hosts")
    return found, highest, notes


def _fetched(store: Store, serial: int, size: int) -> bytes | str:
    """Return what a list's object holds, or a sentence about why it is none."""
    if size > LIST_LIMIT:
        return f"larger than {LIST_LIMIT} bytes"
    try:
        return store.get(document.name(serial), limit=LIST_LIMIT)
    except Art32Error as error:
        if error.code in (Code.CORRUPT, Code.OBJECT_MISSING, Code.SUSPECT):
            return error.sentence
        raise


def _trusted(data: bytes, keyring: Keyring, prefix: str, serial: int | None) -> Trusted:
    """Return the list in an envelope; raise ValueError unless it counts for this store."""
    sealed = envelope.parse(data, document.KIND)
    signature = keyring.verify(sealed.signed, sealed.signature)
    if signature.validity is Validity.UNKNOWN_SIGNER:
        raise ValueError("signed by a key that is no root")
    if signature.validity is not Validity.GOOD or signature.signer is None:
        raise ValueError(signature.validity.value)
    found = document.parse(sealed.payload)
    if found.prefix != prefix:
        raise ValueError("made for another store")
    if serial is not None and found.serial != serial:
        raise ValueError("stored under another serial number")
    ends = [found.until]
    expires = keyring.keys[signature.signer].parts[0].expires
    if expires is not None:
        ends.append(expires)
    return Trusted(found, min(ends), hashlib.sha256(sealed.payload).hexdigest(), data)


def _memory(config: Configuration) -> Path:
    return config.state_directory / _MEMORY


def _remembered(config: Configuration, keyring: Keyring, prefix: str) -> Trusted | None:
    """Return the list that this machine saw last; None when it has seen none that counts."""
    try:
        return _trusted(_memory(config).read_bytes(), keyring, prefix, None)
    except (OSError, ValueError):
        return None


def _remember(config: Configuration, seen: Trusted) -> list[str]:
    """Keep a list; return a sentence when that cannot be done."""
    try:
        files.make_directory(config.state_directory)
        files.replace(_memory(config), seen.sealed)
    except OSError as error:
        return [f"the list of pinned hosts cannot be remembered: {error.strerror}"]
    return []


def remember(config: Configuration, sealed: bytes) -> None:
    """Keep a list that was just published here; raise DISK when it cannot be kept."""
    try:
        files.make_directory(config.state_directory)
        files.replace(_memory(config), sealed)
    except OSError as error:
        raise Art32Error(
            Code.DISK,
            f"the list of pinned hosts is published and cannot be remembered: {error.strerror}",
            hint="free some space: until then this machine does not notice an old list",
        ) from error
