"""`art32 backup prune`: retention, planned first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from agent import output
from agent.cli import Context
from agent.errors import Art32Error, Code, ExitStatus

if TYPE_CHECKING:
    from agent.backup.prune import Deleted
    from agent.config.model import Configuration


def _ended(names: tuple[str, ...], config: Configuration) -> frozenset[tuple[str, str]]:
    """Return HOST/SOURCE as pairs; raise USAGE for one that this machine still backs up."""
    found = set()
    for name in names:
        host, _, source = name.partition("/")
        if not host or not source:
            raise Art32Error(Code.USAGE, f"`{name}` is no HOST/SOURCE", hint="as in db1/app")
        if host == config.host and source in {one.name for one in config.sources}:
            raise Art32Error(
                Code.USAGE,
                f"`{name}` has not ended: it is in the configuration of this machine",
                hint="take it out of `sources` first",
            )
        found.add((host, source))
    return frozenset(found)


@click.command()
@click.option("--apply", "apply_", is_flag=True, help="Delete; without it only the plan is shown.")
@click.option("--host", metavar="HOST", help="Only this host; by default all in the store.")
@click.option(
    "--retired",
    "ended",
    multiple=True,
    metavar="HOST/SOURCE",
    help="This source has ended: what is older than `retention.days` goes, to the last backup. "
    "May be given several times; `retention.retired` of the configuration says it for good.",
)
@click.pass_obj
def command(context: Context, apply_: bool, host: str | None, ended: tuple[str, ...]) -> None:
    """Show which backups are old enough to delete; delete them with --apply.

    How long backups are kept stands under [retention] in the configuration. Deletes no backup of a
    source whose newest good one is too old or of which one cannot be read, and nothing at all when
    the clocks differ. Deletes no write-ahead log of a host while a suspect or pending backup may be
    a base backup. What a failed run left goes after a week.
    """
    from agent.backup import catalog, history, identity, make, wal_retention
    from agent.backup import prune as pruning
    from agent.backup.wal import place
    from agent.cli.backup import _deleted
    from agent.store import open_store

    config = context.load()
    named = _ended(ended, config)
    retired = named | _ended(config.retention.retired, config)
    store = open_store(config.store)
    ledger = make.ledger_of(config)
    with identity.reader(config) as reader:
        backups = catalog.read(store, reader, config.store.prefix, host=host)
        notes = reader.notes
    local = history.read(ledger.records())
    plans = pruning.plan(
        backups, config.retention, store, local, this_host=config.host, retired=retired
    )
    unknown = sorted(named - {(plan.host, plan.source) for plan in plans})
    warnings = list(notes)
    warnings += [f"there is nothing of `{one}/{source}` in the store" for one, source in unknown]
    lines, data, refusals = [], [], []
    done: list[Deleted] = []
    for plan in plans:
        name = f"{plan.host}/{plan.source}"
        if plan.refused is not None:
            what = "nothing" if plan.time_in_doubt else "no backup"
            refusals.append(f"`{name}`: {what} is deleted: {plan.refused}")
        for decision in plan.decisions:
            verb = "delete" if decision.unit in plan.deletions else "keep"
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
    archive = place.open_archive(config.store)
    logs = wal_retention.plans(archive, plans, config.retention, host=host, retired=named)
    for log in logs:
        name = f"wal of {log.host}, cluster {log.system_id}"
        if log.refused is not None:
            refusals.append(f"{name}: nothing is deleted: {log.refused}")
        elif log.delete:
            why = f"older than {config.retention.days} days and needed by no base backup"
            lines.append(
                f"delete  {name}  {len(log.delete)} files of {len(log.delete) + log.kept}, "
                f"{output.size(log.size)}  {why}"
            )
        if apply_ and log.refused is None and log.delete:
            gone = wal_retention.carry_out(archive, ledger, log)
            lines.append(f"{name}: {gone.deleted} files are gone, {gone.retained} locked")
    if apply_:
        ledger.append(
            history.PRUNED,
            deleted=sum(one.shredded for one in done),
            retained=sum(not one.shredded for one in done),
            refused=len(refusals),
        )
        lines += _deleted.lines(done)
    elif any(plan.deletions for plan in plans) or any(one.delete for one in logs):
        lines.append("nothing was deleted: pass --apply to do it")
    status = ExitStatus.WARNINGS if warnings else ExitStatus.OK
    if refusals:
        status = ExitStatus.TRY_AGAIN
    answer = output.Answer(
        "art32.backup.prune/1",
        {
            "plan": data,
            "wal": [
                {
                    "host": one.host,
                    "system_id": str(one.system_id),
                    "delete": [entry.object_name for entry in one.delete],
                    "kept": one.kept,
                    "refused": one.refused,
                }
                for one in logs
            ],
            "applied": apply_,
            "deleted": [_deleted.entry(one) for one in done],
        },
        lines,
        [*refusals, *warnings],
        status,
    )
    context.finish(answer)
