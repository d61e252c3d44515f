"""Making backups: dump, compress, encrypt, ship, sign, in that order and no other.

What exists before the signature is *absent*; the signature makes it *complete*.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

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
from agent.errors import Art32Error, Code
from agent.ledger import Ledger
from agent.store import Store, open_store

LEDGER = "ledger.jsonl"
SHRUNK = "shrunk"


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
    try:
        salt = path.read_bytes()
    except FileNotFoundError:
        salt = secrets.token_bytes(32)
        files.create(path, salt)
    return hashlib.blake2b(member.encode(), key=salt, digest_size=8).hexdigest()


@contextmanager
def _recorded(ledger: Ledger, source: Source, run_id: str) -> Iterator[RunResult]:
    """Record the beginning and the end of a run, whatever happens in between."""
    result = RunResult(source.name)
    ledger.append(history.RUN_STARTED, run=run_id, source=source.name)
    try:
        yield result
    except Art32Error as error:
        result.error = error
        if error.code is Code.INTERRUPTED:
            _finish_record(ledger, result, run_id, error.code.label)
            raise
        _finish_record(ledger, result, run_id, error.code.label)
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
    run cannot be recorded, INTERRUPTED after a signal.
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
        set_id = secrets.token_hex(8) if len(members) > 1 else None
        for number, member in enumerate(members, 1):
            task = _Task(
                config=config,
                source=source,
                adapter=adapter,
                member=member,
                tag=member_tag(config.state_directory, member),
                entry=SetEntry(id=set_id, number=number, size=len(members)) if set_id else None,
                known=known,
                segment_bytes=segment_bytes,
            )
            made, manifest_hash = _back_up_member(task, writer, store, ledger, progress)
            known.sequence += 1
            known.previous = manifest_hash
            result.made.append(made)
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
class _Task:
    config: Configuration
    source: Source
    adapter: Plugin
    member: str
    tag: str | None
    entry: SetEntry | None
    known: History
    segment_bytes: int


def _back_up_member(
    task: _Task, writer: Writer, store: Store, ledger: Ledger, progress: Progress
) -> tuple[Made, str]:
    begun = clock.monotonic()
    started = clock.now()
    source = task.source
    place = layout.new_place(task.config.host, source.name, started)
    baseline = task.known.baseline(source.name, task.tag)
    expected = baseline.plain_bytes if baseline else None
    passphrase = symmetric.new_passphrase()
    objects: list[ObjectEntry] = []

    def put(name: str, data: bytes | bytearray) -> ObjectEntry:
        entry = ObjectEntry(name=name, size=len(data), sha256=sha256(data))
        store.put(place.name(name), data, sha256=entry.sha256)
        objects.append(entry)
        return entry

    sealed = recipients.encrypt(writer.home, passphrase.encode() + b"\n", writer.recipients)
    put(layout.KEY, sealed)
    segments = SegmentWriter(
        writer.home,
        passphrase,
        store,
        place,
        segment_bytes=task.segment_bytes,
        progress=lambda totals: progress(totals.plain, expected),
    )
    try:
        with task.adapter.dump(source, task.member) as dump:
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
            f"source `{source.name}` produced nothing",
            hint="an empty dump is no backup; look at what the source should hold",
        )
    objects += totals.segments
    details = _details(task, totals, report)
    put(layout.DETAILS, symmetric.encrypt(writer.home, passphrase, details.serialise()))
    listed = [*objects]
    put(layout.SUMS, sums(listed))
    suspicious = _suspicions(source, totals.plain, expected)
    manifest = Manifest(
        prefix=task.config.store.prefix,
        host=place.host,
        source=place.source,
        id=place.id,
        member=task.tag,
        set=task.entry,
        sequence=task.known.sequence + 1,
        previous=task.known.previous,
        ledger=ledger.head(),
        started=place.started,
        finished=clock.stamp(clock.now()),
        signer=writer.signer.fingerprint,
        recipients=[recipient.key.fingerprint for recipient in writer.recipients],
        suspicious=suspicious,
        accepted=sorted(task.known.accepted),
        objects=objects,
    )
    return _commit(task, writer, store, ledger, place, manifest, totals, report, begun)


def _commit(
    task: _Task,
    writer: Writer,
    store: Store,
    ledger: Ledger,
    place: Place,
    manifest: Manifest,
    totals: Totals,
    report: DumpReport,
    begun: float,
) -> tuple[Made, str]:
    data = manifest.serialise()
    digest = sha256(data)
    signature = sign(writer.home, writer.signer.fingerprint, data)
    store.put(place.name(layout.MANIFEST), data, sha256=digest)
    ledger.append(
        history.SIGNING,
        id=place.id,
        source=place.source,
        signer=writer.signer.fingerprint,
        sequence=manifest.sequence,
        manifest=digest,
    )
    store.put(place.name(layout.SIGNATURE), signature, sha256=sha256(signature))
    stored = manifest.size + len(data) + len(signature)
    ledger.append(
        history.COMPLETE,
        id=place.id,
        source=place.source,
        path=place.path,
        member=task.tag,
        set=task.entry.id if task.entry else None,
        plain_bytes=totals.plain,
        stored_bytes=stored,
        suspicious=bool(manifest.suspicious),
    )
    made = Made(
        source=place.source,
        id=place.id,
        path=place.path,
        plain_bytes=totals.plain,
        stored_bytes=stored,
        seconds=clock.monotonic() - begun,
        suspicious=tuple(manifest.suspicious),
        warnings=report.warnings,
    )
    return made, digest


def _details(task: _Task, totals: Totals, report: DumpReport) -> Details:
    return Details(
        kind=_kind(task.source),
        member=task.member,
        plain_bytes=totals.plain,
        compressed_bytes=totals.compressed,
        rows=report.rows,
        facts={**report.facts, "host": os.uname().nodename},
        warnings=list(report.warnings),
    )


def _suspicions(source: Source, plain: int, expected: int | None) -> list[str]:
    if expected and plain < expected * source.shrink_warning:
        return [SHRUNK]
    return []
