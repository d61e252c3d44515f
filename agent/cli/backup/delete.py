"""`art32 backup delete`: single backups, every version of every object."""

from __future__ import annotations

import click

from agent import output
from agent.cli import Context
from agent.cli.backup import HOST
from agent.errors import ExitStatus


@click.command()
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@click.option("--apply", "apply_", is_flag=True, help="Delete; without it only the plan is shown.")
@click.option(
    "--below-floor", is_flag=True, help="Even when fewer than `retention.minimum_backups` stay."
)
@HOST
@click.pass_obj
def command(
    context: Context, ids: tuple[str, ...], apply_: bool, below_floor: bool, host: str | None
) -> None:
    """Delete single backups: every version of every object, the key first among the data."""
    from agent.backup import catalog, history, identity, make
    from agent.backup import prune as pruning
    from agent.cli.backup import _deleted
    from agent.store import open_store

    config = context.load()
    store = open_store(config.store)
    ledger = make.ledger_of(config)
    with identity.reader(config) as reader:
        backups = catalog.read(store, reader, config.store.prefix, host=host or config.host)
    chosen = [catalog.find(backups, one) for one in ids]
    local = history.read(ledger.records())
    accepted = catalog.accepted_ids(backups, local.accepted)
    if not below_floor:
        pruning.require_floor(backups, chosen, config.retention, accepted)
    if not apply_:
        lines = [
            f"delete  {backup.place.source}  {backup.id}  {len(backup.objects)} objects, "
            f"{output.size(backup.stored_bytes)}"
            for backup in chosen
        ]
        lines.append("nothing was deleted: pass --apply to do it")
        context.finish(
            output.Answer("art32.backup.delete/1", {"plan": [one.id for one in chosen]}, lines)
        )
    done = [pruning.delete(store, ledger, backup, reason="request") for backup in chosen]
    kept = any(not one.shredded for one in done)
    context.finish(
        output.Answer(
            "art32.backup.delete/1",
            {"deleted": [_deleted.entry(one) for one in done]},
            _deleted.lines(done),
            status=ExitStatus.WARNINGS if kept else ExitStatus.OK,
        )
    )
