"""One shipment: from a dump to a signed manifest, in that order and no other.

What exists before the signature is *absent*; the signature makes it *complete*.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from agent import clock, files
from agent.backup import history, layout, unsent
from agent.backup.area import BACKUPS, Area
from agent.backup.history import History
from agent.backup.identity import Writer
from agent.backup.layout import Place
from agent.backup.manifest import Details, Manifest, ObjectEntry, SetEntry, WalEntry, sha256, sums
from agent.backup.segments import SegmentWriter, Totals
from agent.backup.sources import Dumper, DumpReport
from agent.config.model import Configuration
from agent.config.sources import Source
from agent.crypto import recipients, symmetric
from agent.crypto.signatures import sign
from agent.errors import Art32Error, Code
from agent.ledger import Ledger
from agent.store import Store

HOST_LOCK = ".host.lock"
SHRUNK = "shrunk"

Progress = Callable[[int, int | None], None]


@dataclass(frozen=True)
class Made:
    """A backup that now is complete. Sizes in bytes, `seconds` of wall time."""

    source: str
    id: str
    path: str
    plain_bytes: int
    stored_bytes: int
    seconds: float
    suspicious: tuple[str, ...] = ()
    warnings: tuple[tuple[str, int], ...] = ()


def member_tag(state: Path, member: str) -> str | None:
    """Return an opaque, stable tag for a member of a set; None for a source of one member.

    A database's name does not belong in the plain manifest, and a bare hash of it could be
    guessed: the tag is keyed with a salt that stays on this host.
    """
    if not member:
        return None
    path = state / "member-salt"
    with contextlib.suppress(FileExistsError):  # another source's run may be the first as well
        if not path.exists():
            files.create(path, secrets.token_bytes(32))
    return hashlib.blake2b(member.encode(), key=path.read_bytes(), digest_size=8).hexdigest()


@dataclass(frozen=True)
class Parcel:
    """What one run is to ship: a source, and the plug-in that dumps its members.

    `started` stands in the names, by default the present. `flags` go into the manifest as
    suspicious, `facts` into the ledger's record of what became complete.
    """

    source: Source
    adapter: Dumper
    area: Area = BACKUPS
    started: datetime | None = None
    flags: tuple[str, ...] = ()
    facts: Mapping[str, int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.source.name


@dataclass(frozen=True)
class Run:
    """What stays the same for all members of a parcel."""

    config: Configuration
    parcel: Parcel
    writer: Writer
    store: Store
    ledger: Ledger
    known: History
    progress: Progress
    segment_bytes: int

    def put(self, place: Place, name: str, data: bytes | bytearray) -> ObjectEntry:
        """Store one object of a backup, under the hash that the manifest will give."""
        entry = ObjectEntry(name=name, size=len(data), sha256=sha256(data))
        self.store.put(place.name(name), data, sha256=entry.sha256)
        return entry


def ship(run: Run, member: str, entry: SetEntry | None) -> Made:
    """Ship one member of a parcel and return what now is complete; raise what went wrong."""
    begun = clock.monotonic()
    place = layout.new_place(run.config.host, run.parcel.name, run.parcel.started or clock.now())
    tag = member_tag(run.config.state_directory, member)
    baseline = run.known.baseline(place.source, tag)
    expected = baseline.plain_bytes if baseline else None
    home, passphrase = run.writer.home, symmetric.new_passphrase()
    sealed = recipients.encrypt(home, passphrase.encode() + b"\n", run.writer.recipients)
    objects = [run.put(place, layout.KEY, sealed)]
    totals, report = _stream(run, member, place, passphrase, expected)
    objects += totals.segments
    details = Details(
        kind=source_kind(run.parcel.source),
        member=member,
        plain_bytes=totals.plain,
        compressed_bytes=totals.compressed,
        rows=report.rows,
        facts={**report.facts, "host": os.uname().nodename},
        warnings=list(report.warnings),
    )
    sealed_details = symmetric.encrypt(home, passphrase, details.serialise())
    objects.append(run.put(place, layout.DETAILS, sealed_details))
    objects.append(run.put(place, layout.SUMS, sums(objects)))
    signed = _sign(
        run,
        place,
        member=tag,
        set=entry,
        wal=None if report.wal is None else WalEntry(**report.wal),
        objects=objects,
        suspicious=[*run.parcel.flags, *_suspicions(run.parcel.source, totals.plain, expected)],
    )
    stored = _commit(run, place, signed, totals.plain)
    return Made(
        source=place.source,
        id=place.id,
        path=place.path,
        plain_bytes=totals.plain,
        stored_bytes=stored,
        seconds=clock.monotonic() - begun,
        suspicious=tuple(signed.manifest.suspicious),
        warnings=report.warnings,
    )


def _stream(
    run: Run, member: str, place: Place, passphrase: str, expected: int | None
) -> tuple[Totals, DumpReport]:
    """Run the dump into segments; return when all of them are stored and the dump ended well."""
    segments = SegmentWriter(
        run.writer.home,
        passphrase,
        run.store,
        place,
        segment_bytes=run.segment_bytes,
        progress=lambda totals: run.progress(totals.plain, expected),
    )
    try:
        with run.parcel.adapter.dump(run.parcel.source, member) as dump:
            while chunk := dump.read():
                segments.write(chunk)
            report = dump.finish()
        totals = segments.finish()
    except BaseException:
        segments.abort()
        raise
    if totals.plain == 0:
        raise Art32Error(
            Code.SOURCE_EMPTY,
            f"source `{run.parcel.name}` produced nothing",
            hint="an empty dump is no backup; look at what the source should hold",
        )
    return totals, report


def source_kind(source: Source) -> str:
    """Return the kind under which the plug-in of a source is found."""
    return str(source.model_dump(include={"kind"})["kind"])


@dataclass(frozen=True)
class _Signed:
    manifest: Manifest
    data: bytes
    signature: bytes


def _sign(run: Run, place: Place, **facts: Any) -> _Signed:
    """Give the backup the host's next sequence number and sign its manifest.

    One run at a time, whatever its source: the number is read, spent in the ledger and never used
    again. A crash before the signature arrives leaves a gap, never two backups of one number.
    """
    lock = run.config.state_directory / "locks" / HOST_LOCK
    with files.lock(lock, what="this host", wait=True):
        known = history.read(run.ledger.records(), run.writer.signer.fingerprint, run.parcel.area)
        manifest = Manifest(
            prefix=run.config.store.prefix,
            host=place.host,
            source=place.source,
            id=place.id,
            sequence=known.sequence + 1,
            ordinal=known.ordinal + 1,
            previous=known.previous,
            ledger=run.ledger.head(),
            started=place.started,
            finished=clock.stamp(clock.now()),
            signer=run.writer.signer.fingerprint,
            recipients=[recipient.key.fingerprint for recipient in run.writer.recipients],
            accepted=sorted(known.accepted),
            **facts,
        )
        data = manifest.serialise()
        signature = sign(run.writer.home, manifest.signer, data)
        run.ledger.append(
            run.parcel.area.event("signing"),
            id=place.id,
            source=place.source,
            signer=manifest.signer,
            sequence=manifest.sequence,
            ordinal=manifest.ordinal,
            manifest=sha256(data),
        )
    return _Signed(manifest, data, signature)


def _commit(run: Run, place: Place, signed: _Signed, plain_bytes: int) -> int:
    """Store the manifest and, last of all, its signature; return the bytes of the whole backup.

    Both are kept here until the ledger has its record: the next run finishes what this one cannot.
    """
    manifest = signed.manifest
    stored = manifest.size + len(signed.data) + len(signed.signature)
    facts: dict[str, str | int | bool | None] = {
        "id": place.id,
        "source": place.source,
        "path": place.path,
        "member": manifest.member,
        "set": manifest.set.id if manifest.set else None,
        "set_size": manifest.set.size if manifest.set else None,
        "plain_bytes": plain_bytes,
        "stored_bytes": stored,
        "suspicious": bool(manifest.suspicious),
        **run.parcel.facts,
    }
    with unsent.kept(
        run.config.state_directory,
        run.parcel.area,
        path=place.path,
        finished=manifest.finished,
        manifest=signed.data,
        signature=signed.signature,
        facts=facts,
    ) as done:
        run.put(place, layout.MANIFEST, signed.data)
        run.put(place, layout.SIGNATURE, signed.signature)
        run.ledger.append(run.parcel.area.event("complete"), **facts)
        done()
    return stored


def _suspicions(source: Source, plain: int, expected: int | None) -> list[str]:
    if expected and plain < expected * source.shrink_warning:
        return [SHRUNK]
    return []
