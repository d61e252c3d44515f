"""From objects back to a file of a write-ahead log: decrypted, its signature judged, unpacked.

What the store holds is hostile until the signature of the place's own host fits the place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agent import compression
from agent.backup.identity import Reader
from agent.backup.wal import listing, names, pages, timelines
from agent.backup.wal.listing import Entry
from agent.backup.wal.names import Kind, Name
from agent.backup.wal.place import Place
from agent.crypto import private, sealed
from agent.crypto.signatures import Signature, Validity
from agent.errors import Art32Error, Code
from agent.memory import Buffer
from agent.store import Store

_LARGEST = names.SEGMENT_BYTES[-1]
_SMALL = timelines.HISTORY_BYTES


@dataclass(frozen=True)
class Opened:
    """A file that was signed for the place where it stood. `warnings` name other objects of the
    same file that are worth nothing."""

    place: Place
    content: Buffer
    warnings: tuple[str, ...] = ()

    @property
    def segment_bytes(self) -> int | None:
        """How long the segments of this cluster are; None when this is none."""
        found = pages.header(self.content.view)
        return found.segment_bytes if found is not None else None


class Opener:
    """Opens objects of one archive; safe between threads."""

    def __init__(self, archive: Store, reader: Reader, *, prefix: str, private_home: Path) -> None:
        """`archive` comes from `place.open_archive`, `prefix` is that of the `[store]` section."""
        self._archive = archive
        self._reader = reader
        self._prefix = prefix
        self._private_home = private_home

    def find(self, hosts: Sequence[str], system_id: int, name: Name) -> Opened | None:
        """Return a file that any of these hosts has shipped; None when the store has none of it.

        Of several objects each is opened: one that is worth nothing becomes a warning as long as
        another is good. Raise SPLIT_BRAIN when two good ones differ, what `open` raises when none
        is good, and what the store raises.
        """
        found = [
            entry
            for host in hosts
            for entry in listing.of(self._archive, Place(host, system_id, name))
        ]
        good: list[Opened] = []
        failures: list[Art32Error] = []
        for entry in found:
            try:
                good.append(self.open(entry))
            except Art32Error as error:
                if error.code not in (Code.SUSPECT, Code.PENDING, Code.CORRUPT):
                    raise
                failures.append(error)
        if not good:
            if failures:
                raise failures[0]
            return None
        first = good[0]
        if any(other.content.view != first.content.view for other in good[1:]):
            raise Art32Error(
                Code.SPLIT_BRAIN,
                f"the archive holds two different files `{name.text}`, both signed",
                hint="two servers wrote the same timeline: find out which one is right before "
                "anything is recovered",
            )
        return Opened(first.place, first.content, tuple(error.sentence for error in failures))

    def open(self, entry: Entry) -> Opened:
        """Return the file in one object.

        Raise SUSPECT when its signature is not one of the host's for this very place, PENDING when
        the signer is not pinned, CORRUPT when it is damaged, KEY_UNDECRYPTABLE, and what the store
        raises.
        """
        # the room is made before anything arrives: the listing says how much it will be
        limit = min(entry.size, _LARGEST + sealed.OVERHEAD)
        data = self._archive.get(entry.object_name, limit=limit)
        source, signed = _buffer(data), Buffer(len(data))
        attempt = private.unwrap(self._private_home, source, signed)
        if attempt.plaintext is None:
            raise self._unopened(entry, attempt)
        squeezed = Buffer(signed.length)
        signature, notations = self._reader.keyring.open(signed, squeezed)
        self._judge(entry, signature, notations.get(sealed.NOTATION))
        content = _unpack(squeezed, entry.place.name)
        if entry.place.name.kind in (Kind.SEGMENT, Kind.PARTIAL):
            _check(content, entry)
        return Opened(entry.place, content)

    def _unopened(self, entry: Entry, attempt: private.Attempt) -> Art32Error:
        if attempt.locked:
            return Art32Error(
                Code.KEY_UNDECRYPTABLE,
                "the private key is locked",
                hint="unlock it once, so that gpg-agent remembers: gpg --decrypt of any backup's "
                "`key.pgp`",
            )
        able = private.decrypting_parts(self._private_home)
        if not able:
            return Art32Error(
                Code.KEY_UNDECRYPTABLE,
                f"no private key in `{self._private_home}` can decrypt",
                hint="set `restore.gnupg_home`, or import the private key as this user",
            )
        return Art32Error(
            Code.CORRUPT,
            f"`{entry.object_name}` does not decrypt: {attempt.reason}",
            hint="keep it as evidence; another object of the same file may be good",
        )

    def _judge(self, entry: Entry, signature: Signature, label: str | None) -> None:
        place = entry.place
        if signature.validity is Validity.UNKNOWN_SIGNER:
            raise Art32Error(
                Code.PENDING,
                f"`{entry.object_name}` is signed by a key that is not pinned",
                hint="a person looks at the host's key and accepts it: art32 host list",
            )
        if signature.validity is not Validity.GOOD:
            raise _suspect(entry, signature.validity.value)
        signers = [pin for pin in self._reader.pins if pin.fingerprint == signature.signer]
        pins = [pin for pin in signers if pin.host == place.host]
        if not pins:
            raise _suspect(entry, f"it is signed by the key of another host than `{place.host}`")
        if all(pin.ended(entry.stored_at) for pin in pins):
            raise Art32Error(
                Code.PENDING,
                f"`{entry.object_name}` was stored after the list of pinned hosts had ended",
                hint="art32 host renew",
            )
        if not any(pin.covers(entry.stored_at) for pin in pins):
            raise _suspect(
                entry, "its key is retired, and it is not known to be from before (`retired_at`)"
            )
        if label != place.label(self._prefix):
            raise _suspect(entry, "it was signed for another place")


def _suspect(entry: Entry, why: str) -> Art32Error:
    return Art32Error(
        Code.SUSPECT,
        f"`{entry.object_name}` is not to be trusted: {why}",
        hint="keep it as evidence: somebody may have tampered with the store",
    )


def _buffer(data: bytes) -> Buffer:
    filled = Buffer(len(data))
    filled.write(memoryview(data))
    return filled


def _unpack(squeezed: Buffer, name: Name) -> Buffer:
    """Return the plaintext, never more than such a file can have; raise CORRUPT."""
    target: Buffer | None = None
    for piece in compression.decompress(iter([squeezed.view])):
        if target is None:
            found = pages.header(piece)
            target = Buffer(found.segment_bytes if found is not None else _SMALL)
        if target.write(memoryview(piece)) < len(piece):
            raise Art32Error(Code.CORRUPT, f"`{name.text}` is larger than it may be")
    return target if target is not None else Buffer(1)


def _check(content: Buffer, entry: Entry) -> None:
    try:
        pages.check(content.view, entry.place.name, entry.place.system_id)
    except Art32Error as error:
        raise _suspect(
            entry, f"its host signed what is no such segment: {error.sentence}"
        ) from error
