"""Making backups: dump, compress, encrypt, ship, sign, in that order and no other.

What exists before the signature is *absent*; the signature makes it *complete*.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent import clock, files
from agent.backup import history, layout
from agent.backup.history import History
from agent.backup.identity import Writer
from agent.backup.layout import Place
from agent.backup.manifest import Details, Manifest, ObjectEntry, SetEntry, sha256, sums
from agent.backup.segments import SEGMENT_BYTES, SegmentWriter, Totals
from agent.backup.sources import DumpReport, Plugin, plugin
from agent.config.model import Configuration
from agent.config.sources import Source
from agent.crypto import recipients, symmetric
from agent.crypto.signatures import sign
from agent.errors import Art32Error, Code, Interrupted
from agent.ledger import Ledger
from agent.store import Store, open_store

LEDGER = "ledger.jsonl"
HOST_LOCK = ".host.lock"
SHRUNK = "shrunk"
MEMBER_MISSING = "member-missing"


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


@dataclass
class RunResult:
    """What a run over one source came to."""

    source: str
    made: list[Made] = field(default_factory=list)
    error: Art32Error | None = None


Progress = Callable[[int, int | None], None]


def ledger_of(config: Configuration) -> Ledger:
    """Return the ledger of this machine."""
    return Ledger(config.state_directory / LEDGER)


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


@contextlib.contextmanager
def _recorded(ledger: Ledger, source: Source, run_id: str) -> Iterator[RunResult]:
    """Record the beginning and the end of a run, whatever happens in between."""
    result = RunResult(source.name)
    ledger.append(history.RUN_STARTED, run=run_id, source=source.name)
    try:
        yield result
    except Art32Error as error:
        result.error = error
        _finish_record(ledger, result, run_id, error.code.label)
    except Interrupted:
        _finish_record(ledger, result, run_id, Code.INTERRUPTED.label)
        raise
    except BaseException:
        _finish_record(ledger, result, run_id, Code.DEFECT.label)
        raise
    else:
        _finish_record(ledger, result, run_id, "ok")


def _finish_record(ledger: Ledger, result: RunResult, run_id: str, outcome: str) -> None:
    ledger.append(
        history.RUN_FINISHED,
        run=run_id,
        source=result.source,
        result=outcome,
        backups=len(result.made),
    )


def back_up(
    config: Configuration,
    source: Source,
    writer: Writer,
    *,
    store: Store | None = None,
    progress: Progress = lambda *_: None,
    segment_bytes: int = SEGMENT_BYTES,
) -> RunResult:
    """Back one source up and return what came of it; the failure of a run is in its result.

    Raise LOCKED when another run of the source is in progress, DISK or LEDGER_BROKEN when the
    run cannot be recorded, `Interrupted` after a signal.
    """
    store = store or open_store(config.store)
    ledger = ledger_of(config)
    lock = config.state_directory / "locks" / f"{source.name}.lock"
    with (
        files.lock(lock, what=f"source `{source.name}`"),
        _recorded(ledger, source, secrets.token_hex(8)) as result,
    ):
        known = history.read(ledger.records(), writer.signer.fingerprint)
        adapter = plugin(_kind(source))
        adapter.probe(source)
        members = adapter.members(source)
        tags = {member_tag(config.state_directory, member) for member in members}
        gone = known.last_members(source.name) - tags
        run = _Run(
            config=config,
            source=source,
            adapter=adapter,
            writer=writer,
            store=store,
            ledger=ledger,
            known=known,
            flags=(MEMBER_MISSING,) if gone else (),
            progress=progress,
            segment_bytes=segment_bytes,
        )
        set_id = secrets.token_hex(8)
        for number, member in enumerate(members, 1):
            entry = SetEntry(id=set_id, number=number, size=len(members))
            result.made.append(_back_up_member(run, member, entry if len(members) > 1 else None))
    return result


def probe(source: Source) -> tuple[str, ...]:
    """Return the members of a source that could be backed up now; raise what a run would raise."""
    adapter = plugin(_kind(source))
    adapter.probe(source)
    return adapter.members(source)


def address(config: Configuration) -> str:
    """Return how to name the configured store in a message."""
    return open_store(config.store).address


def _kind(source: Source) -> str:
    return str(source.model_dump(include={"kind"})["kind"])


@dataclass(frozen=True)
class _Run:
    """What stays the same for all members of a source."""

    config: Configuration
    source: Source
    adapter: Plugin
    writer: Writer
    store: Store
    ledger: Ledger
    known: History
    flags: tuple[str, ...]
    progress: Progress
    segment_bytes: int

    def put(self, place: Place, name: str, data: bytes | bytearray) -> ObjectEntry:
        """Store one object of a backup, under the hash that the manifest will give."""
        entry = ObjectEntry(name=name, size=len(data), sha256=sha256(data))
        self.store.put(place.name(name), data, sha256=entry.sha256)
        return entry


def _back_up_member(run: _Run, member: str, entry: SetEntry | None) -> Made:
    begun = clock.monotonic()
    place = layout.new_place(run.config.host, run.source.name, clock.now())
    tag = member_tag(run.config.state_directory, member)
    baseline = run.known.baseline(place.source, tag)
    expected = baseline.plain_bytes if baseline else None
    home, passphrase = run.writer.home, symmetric.new_passphrase()
    sealed = recipients.encrypt(home, passphrase.encode() + b"\n", run.writer.recipients)
    objects = [run.put(place, layout.KEY, sealed)]
    totals, report = _ship(run, member, place, passphrase, expected)
    objects += totals.segments
    details = Details(
        kind=_kind(run.source),
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
        objects=objects,
        suspicious=[*run.flags, *_suspicions(run.source, totals.plain, expected)],
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


def _ship(
    run: _Run, member: str, place: Place, passphrase: str, expected: int | None
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
        with run.adapter.dump(run.source, member) as dump:
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
            f"source `{run.source.name}` produced nothing",
            hint="an empty dump is no backup; look at what the source should hold",
        )
    return totals, report


@dataclass(frozen=True)
class _Signed:
    manifest: Manifest
    data: bytes
    signature: bytes


def _sign(run: _Run, place: Place, **facts: Any) -> _Signed:
    """Give the backup the host's next sequence number and sign its manifest.

    One run at a time, whatever its source: the number is read, spent in the ledger and never used
    again. A crash before the signature arrives leaves a gap, never two backups of one number.
    """
    lock = run.config.state_directory / "locks" / HOST_LOCK
    with files.lock(lock, what="this host", wait=True):
        known = history.read(run.ledger.records(), run.writer.signer.fingerprint)
        manifest = Manifest(
            prefix=run.config.store.prefix,
            host=place.host,
            source=place.source,
            id=place.id,
            sequence=known.sequence + 1,
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
            history.SIGNING,
            id=place.id,
            source=place.source,
            signer=manifest.signer,
            sequence=manifest.sequence,
            manifest=sha256(data),
        )
    return _Signed(manifest, data, signature)


def _commit(run: _Run, place: Place, signed: _Signed, plain_bytes: int) -> int:
    """Store the manifest and, last of all, its signature; return the bytes of the whole backup."""
    manifest = signed.manifest
    stored = manifest.size + run.put(place, layout.MANIFEST, signed.data).size
    stored += run.put(place, layout.SIGNATURE, signed.signature).size
    run.ledger.append(
        history.COMPLETE,
        id=place.id,
        source=place.source,
        path=place.path,
        member=manifest.member,
        set=manifest.set.id if manifest.set else None,
        set_size=manifest.set.size if manifest.set else None,
        plain_bytes=plain_bytes,
        stored_bytes=stored,
        suspicious=bool(manifest.suspicious),
    )
    return stored


def _suspicions(source: Source, plain: int, expected: int | None) -> list[str]:
    if expected and plain < expected * source.shrink_warning:
        return [SHRUNK]
    return []
