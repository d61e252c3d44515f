"""Making backups: a run over one source, recorded whatever comes of it."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field

from agent import files
from agent.backup import history, unsent
from agent.backup.area import BACKUPS
from agent.backup.identity import Writer
from agent.backup.manifest import SetEntry
from agent.backup.segments import SEGMENT_BYTES
from agent.backup.shipment import Made, Parcel, Progress, Run, member_tag, ship, source_kind
from agent.backup.sources import plugin
from agent.config.model import Configuration
from agent.config.sources import Source
from agent.errors import Art32Error, Code, Interrupted
from agent.ledger import Ledger
from agent.store import Store, open_store

LEDGER = "ledger.jsonl"
MEMBER_MISSING = "member-missing"


@dataclass
class RunResult:
    """What a run over one source came to."""

    source: str
    made: list[Made] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    error: Art32Error | None = None


def ledger_of(config: Configuration) -> Ledger:
    """Return the ledger of this machine."""
    return Ledger(config.state_directory / LEDGER)


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
        result.warnings += unsent.settle(
            config.state_directory, BACKUPS, config.host, source.name, store, ledger
        )
        known = history.read(ledger.records(), writer.signer.fingerprint)
        adapter = plugin(source_kind(source))
        adapter.probe(source)
        members = adapter.members(source)
        tags = {member_tag(config.state_directory, member) for member in members}
        gone = known.last_members(source.name) - tags
        run = Run(
            config=config,
            parcel=Parcel(source, adapter, flags=(MEMBER_MISSING,) if gone else ()),
            writer=writer,
            store=store,
            ledger=ledger,
            known=known,
            progress=progress,
            segment_bytes=segment_bytes,
        )
        set_id = secrets.token_hex(8)
        for number, member in enumerate(members, 1):
            entry = SetEntry(id=set_id, number=number, size=len(members))
            result.made.append(ship(run, member, entry if len(members) > 1 else None))
    return result


def probe(source: Source) -> tuple[str, ...]:
    """Return the members of a source that could be backed up now; raise what a run would raise."""
    adapter = plugin(source_kind(source))
    adapter.probe(source)
    return adapter.members(source)


def address(config: Configuration) -> str:
    """Return how to name the configured store in a message."""
    return open_store(config.store).address
