"""`art32 backup delete`: single backups, every version of every object."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from agent import output
from agent.cli import Context
from agent.cli.backup import HOST
from agent.errors import ExitStatus

if TYPE_CHECKING:
    from agent.backup.catalog import Backup


def _line(backup: Backup) -> str:
    entry = backup.manifest.set if backup.manifest else None
    part = f", part {entry.number} of {entry.size} of a set" if entry else ""
    count = f"{len(backup.objects)} objects, {output.size(backup.stored_bytes)}"
    return f"delete  {backup.place.source}  {backup.id}  {count}{part}"


@click.command()
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@click.option("--apply", "apply_", is_flag=True, help="Delete; without it only the plan is shown.")
@click.option(
    "--below-floor", is_flag=True, help="Even when fewer than `retention.minimum_backups` stay."
)
@click.option(
    "--part", is_flag=True, help="Only the named parts of a set; by default the whole set goes."
)
@HOST
@click.pass_obj
def command(
    context: Context,
    ids: tuple[str, ...],
    apply_: bool,
    below_floor: bool,
    part: bool,
    host: str | None,
) -> None:
    """Delete single backups: every version of every object, the key first among the data.

    A set whose parts are not all there is no good backup any more, so they go together.
    """
    from agent.backup import catalog, history, identity, make
    from agent.backup import prune as pruning
    from agent.cli.backup import _deleted
    from agent.store import open_store

    config = context.load()
    store = open_store(config.store)
    ledger = make.ledger_of(config)
    with identity.reader(config) as reader:
        backups = catalog.read(store, reader, config.store.prefix, host=host or config.host)
    named = {backup.place: backup for backup in (catalog.find(backups, one) for one in ids)}
    whole = pruning.whole_sets(backups, named.values())
    chosen = list(named.values()) if part else whole
    left = len(whole) - len(chosen)
    warnings = (
        [f"{left} other parts of the same set stay, and are no good backup without these"]
        if left
        else []
    )
    local = history.read(ledger.records())
    accepted = catalog.accepted_ids(backups, local.accepted)
    if not below_floor:
        pruning.require_floor(backups, chosen, config.retention, accepted)
    if not apply_:
        lines = [_line(backup) for backup in chosen]
        lines.append("nothing was deleted: pass --apply to do it")
        context.finish(
            output.Answer(
                "art32.backup.delete/1", {"plan": [one.id for one in chosen]}, lines, warnings
            )
        )
    done = [pruning.delete(store, ledger, backup, reason="request") for backup in chosen]
    kept = any(not one.shredded for one in done)
    context.finish(
        output.Answer(
            "art32.backup.delete/1",
            {"deleted": [_deleted.entry(one) for one in done]},
            _deleted.lines(done),
            warnings,
            status=ExitStatus.WARNINGS if kept else ExitStatus.OK,
        )
    )
