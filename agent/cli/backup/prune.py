"""`art32 backup prune`: retention, planned first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from agent import output
from agent.cli import Context
from agent.errors import ExitStatus

if TYPE_CHECKING:
    from agent.backup.prune import Deleted


@click.command()
@click.option("--apply", "apply_", is_flag=True, help="Delete; without it only the plan is shown.")
@click.option("--host", metavar="HOST", help="Only this host; by default all in the store.")
@click.pass_obj
def command(context: Context, apply_: bool, host: str | None) -> None:
    """Show which backups are old enough to delete; delete them with --apply.

    How long backups are kept stands under [retention] in the configuration. Refuses when the
    newest good backup is too old or the clocks differ.
    """
    from agent.backup import catalog, history, identity, make
    from agent.backup import prune as pruning
    from agent.cli.backup import _deleted
    from agent.store import open_store

    config = context.load()
    store = open_store(config.store)
    ledger = make.ledger_of(config)
    with identity.reader(config) as reader:
        backups = catalog.read(store, reader, config.store.prefix, host=host)
    local = history.read(ledger.records())
    plans = pruning.plan(backups, config.retention, store, local, this_host=config.host)
    lines, data, refusals = [], [], []
    done: list[Deleted] = []
    for plan in plans:
        name = f"{plan.host}/{plan.source}"
        if plan.refused is not None:
            refusals.append(f"`{name}`: nothing is deleted: {plan.refused}")
        for decision in plan.decisions:
            verb = "delete" if decision.delete and plan.refused is None else "keep"
            for backup in decision.unit.backups:
                lines.append(f"{verb:6}  {name}  {backup.id}  {decision.reason}")
                data.append(
                    {"id": backup.id, "source": name, "action": verb, "reason": decision.reason}
                )
        if apply_:
            done += [
                pruning.delete(store, ledger, backup, reason="retention")
                for unit in plan.deletions
                for backup in unit.backups
            ]
    if apply_:
        ledger.append(
            history.PRUNED,
            deleted=sum(one.shredded for one in done),
            retained=sum(not one.shredded for one in done),
            refused=len(refusals),
        )
        lines += _deleted.lines(done)
    elif any(plan.deletions for plan in plans):
        lines.append("nothing was deleted: pass --apply to do it")
    status = ExitStatus.TRY_AGAIN if refusals else ExitStatus.OK
    answer = output.Answer(
        "art32.backup.prune/1",
        {"plan": data, "applied": apply_, "deleted": [_deleted.entry(one) for one in done]},
        lines,
        refusals,
        status,
    )
    context.finish(answer)
