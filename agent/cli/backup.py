"""`art32 backup`: make, list, show, accept, verify, prune and delete backups."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from agent import output
from agent.cli import Context
from agent.errors import Art32Error, Code, ExitStatus

if TYPE_CHECKING:
    from agent.backup.catalog import Backup
    from agent.backup.make import Made, RunResult
    from agent.backup.prune import Deleted
    from agent.config.model import Configuration
    from agent.config.sources import Source

HOST = click.option("--host", metavar="HOST", help="Another host than this configuration's.")


@click.group()
def command() -> None:
    """Make, list, verify, prune and delete backups."""


@command.command()
@click.argument("sources", nargs=-1, metavar="[SOURCE]...")
@click.option("--dry-run", is_flag=True, help="Check keys, sources and target; store nothing.")
@click.pass_obj
def run(context: Context, sources: tuple[str, ...], dry_run: bool) -> None:
    """Back up the named sources, or all of them."""
    from agent.backup import identity, make
    from agent.progress import Progress

    config = context.load()
    chosen = _chosen(config, sources)
    results = []
    with identity.writer(config) as writer:
        warnings = writer.warnings()
        if dry_run:
            context.finish(_dry_run(config, chosen, warnings))
        for source in chosen:
            with Progress(f"backing up {source.name}") as progress:
                result = make.back_up(config, source, writer, progress=progress.at)
            results.append(result)
            if result.error is not None and context.form == "human":
                output.fail(result.error, context.form)
    context.finish(_run_answer(results, warnings))


def _chosen(config: Configuration, names: tuple[str, ...]) -> list[Source]:
    known = {source.name: source for source in config.sources}
    if not known:
        raise Art32Error(
            Code.CONFIG_INVALID,
            "the configuration has no `sources`",
            hint="art32 config sample shows one of each kind",
        )
    for name in names:
        if name not in known:
            raise Art32Error(
                Code.USAGE,
                f"there is no source `{name}`",
                hint=f"configured are {', '.join(f'`{one}`' for one in known)}",
            )
    return [known[name] for name in names] if names else list(known.values())


def _dry_run(config: Configuration, chosen: list[Source], warnings: list[str]) -> output.Answer:
    from agent.backup import make

    lines = []
    for source in chosen:
        members = make.probe(source)
        parts = f", {len(members)} parts" if len(members) > 1 else ""
        lines.append(f"would back up `{source.name}`{parts} to {make.address(config)}")
    return output.Answer(
        "art32.backup.dry-run/1", {"sources": [source.name for source in chosen]}, lines, warnings
    )


def _run_answer(results: list[RunResult], warnings: list[str]) -> output.Answer:
    lines, data = [], []
    found = list(warnings)
    status = ExitStatus.WARNINGS if warnings else ExitStatus.OK
    for result in results:
        for made in result.made:
            lines.append(_made_line(made))
            found += _made_warnings(made)
        data.append(
            {
                "source": result.source,
                "backups": [vars(made) for made in result.made],
                "error": None
                if result.error is None
                else {"code": result.error.code.label, "error": result.error.sentence},
            }
        )
    if len(found) > len(warnings):
        status = ExitStatus.WARNINGS
    errors = [result.error for result in results if result.error is not None]
    if errors:
        status = errors[0].exit_status
    return output.Answer("art32.backup.run/1", data, lines, found, status)


def _made_line(made: Made) -> str:
    rate = made.plain_bytes / max(made.seconds, 1e-6)
    return (
        f"{made.source}: backup {made.id}, {output.size(made.plain_bytes)} in "
        f"{output.size(made.stored_bytes)}, {output.duration(made.seconds)} "
        f"({output.size(rate)}/s)"
    )


def _made_warnings(made: Made) -> list[str]:
    found = [
        f"backup `{made.id}` of `{made.source}`: {count} x {code}" for code, count in made.warnings
    ]
    if made.suspicious:
        found.append(
            f"backup `{made.id}` of `{made.source}` is suspicious ({', '.join(made.suspicious)}): "
            f"it does not count until a person runs: art32 backup accept {made.id}"
        )
    return found


@command.command(name="list")
@click.argument("source", required=False)
@HOST
@click.option("--all-hosts", is_flag=True, help="The backups of every host in the store.")
@click.pass_obj
def list_(context: Context, source: str | None, host: str | None, all_hosts: bool) -> None:
    """List the backups in the store, oldest first."""
    from agent.backup import listing

    config = context.load()
    wanted = None if all_hosts else host or config.host
    context.finish(listing.answer(config, host=wanted, source=source))


@command.command()
@click.argument("backup_id", metavar="ID")
@HOST
@click.option("--details", is_flag=True, help="Decrypt what is in it; needs a private key.")
@click.pass_obj
def show(context: Context, backup_id: str, host: str | None, details: bool) -> None:
    """Show one backup."""
    from agent.backup import listing

    config = context.load()
    context.finish(listing.show(config, backup_id, host=host or config.host, details=details))


@command.command()
@click.argument("backup_id", metavar="ID")
@click.pass_obj
def accept(context: Context, backup_id: str) -> None:
    """Accept a suspicious backup: from now on it counts, and later ones are compared with it."""
    from agent.backup import history, make

    config = context.load()
    ledger = make.ledger_of(config)
    known = history.read(ledger.records())
    matching = [one for one in known.backups if one.id.startswith(backup_id)]
    if len(matching) == 1:
        backup_id = matching[0].id
    elif not _is_suspicious_elsewhere(config, backup_id):
        raise Art32Error(
            Code.NO_BACKUP, f"there is no suspicious backup `{backup_id}`", hint="art32 backup list"
        )
    ledger.append(history.ACCEPTED, id=backup_id)
    context.finish(
        output.Answer("art32.backup.accept/1", {"id": backup_id}, [f"accepted {backup_id}"])
    )


def _is_suspicious_elsewhere(config: Configuration, backup_id: str) -> bool:
    backup = _find(config, backup_id, None)
    return backup.manifest is not None and bool(backup.manifest.suspicious)


def _find(config: Configuration, backup_id: str, host: str | None) -> Backup:
    from agent.backup import catalog, identity
    from agent.store import open_store

    with identity.reader(config) as reader:
        backups = catalog.read(open_store(config.store), reader, config.store.prefix, host=host)
    return catalog.find(backups, backup_id)


@command.command()
@click.argument("ids", nargs=-1, metavar="[ID]...")
@HOST
@click.option(
    "--tier",
    type=click.Choice(["listing", "hashes", "decrypt"]),
    default="hashes",
    show_default=True,
    help="How deep to look; `decrypt` needs a private key.",
)
@click.option("--source", help="Only this source.")
@click.option("--newest", is_flag=True, help="Only the newest backup of each source.")
@click.pass_obj
def verify(
    context: Context,
    ids: tuple[str, ...],
    host: str | None,
    tier: str,
    source: str | None,
    newest: bool,
) -> None:
    """Verify the named backups, or all that have a signature."""
    from agent.backup import catalog, history, identity, make
    from agent.backup.catalog import State
    from agent.backup.verify import Tier
    from agent.backup.verify import verify as verify_one
    from agent.progress import Progress
    from agent.store import open_store

    config = context.load()
    store = open_store(config.store)
    with identity.reader(config) as reader:
        backups = catalog.read(
            store, reader, config.store.prefix, host=host or config.host, source=source
        )
    if ids:
        chosen = [catalog.find(backups, one) for one in ids]
    else:
        chosen = [backup for backup in backups if backup.state is not State.ABSENT]
        if newest:
            chosen = list({backup.place_key: backup for backup in chosen}.values())
    if not chosen:
        raise Art32Error(Code.NO_BACKUP, "there is nothing to verify", hint="art32 backup run")
    total = sum(backup.stored_bytes for backup in chosen)
    with Progress("verifying", total) as progress:
        results = [
            verify_one(config, store, backup, Tier(tier), progress=progress.add)
            for backup in chosen
        ]
    bad = [result for result in results if not result.good]
    notes = [
        f"backup `{result.backup.id}`: {note}" for result in results for note in result.backup.notes
    ]
    make.ledger_of(config).append(
        history.VERIFIED, tier=tier, good=len(results) - len(bad), bad=len(bad)
    )
    status = ExitStatus.VERIFICATION if bad else ExitStatus.WARNINGS if notes else ExitStatus.OK
    lines = [
        f"{result.backup.place.source} {result.backup.id}: "
        f"{'good' if result.good else result.problem} ({tier})"
        for result in results
    ]
    data = [
        {
            "id": result.backup.id,
            "source": result.backup.place.source,
            "tier": tier,
            "good": result.good,
            "problem": result.problem or None,
        }
        for result in results
    ]
    context.finish(output.Answer("art32.backup.verify/1", data, lines, notes, status))


@command.command()
@click.option("--apply", "apply_", is_flag=True, help="Delete what the plan says.")
@HOST
@click.pass_obj
def prune(context: Context, apply_: bool, host: str | None) -> None:
    """Plan which backups to delete by age; delete them with --apply."""
    from agent.backup import catalog, history, identity, make
    from agent.backup import prune as pruning
    from agent.store import open_store

    config = context.load()
    store = open_store(config.store)
    ledger = make.ledger_of(config)
    with identity.reader(config) as reader:
        backups = catalog.read(store, reader, config.store.prefix, host=host)
    local = history.read(ledger.records())
    plans = pruning.plan(backups, config.retention, store, local)
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
        lines += _deleted_lines(done)
    elif any(plan.deletions for plan in plans):
        lines.append("nothing was deleted: pass --apply to do it")
    status = ExitStatus.TRY_AGAIN if refusals else ExitStatus.OK
    answer = output.Answer(
        "art32.backup.prune/1",
        {"plan": data, "applied": apply_, "deleted": [vars_of(one) for one in done]},
        lines,
        refusals,
        status,
    )
    context.finish(answer)


@command.command()
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@click.option("--apply", "apply_", is_flag=True, help="Delete; without it only the plan is shown.")
@click.option("--below-floor", is_flag=True, help="Even the last good backups.")
@HOST
@click.pass_obj
def delete(
    context: Context, ids: tuple[str, ...], apply_: bool, below_floor: bool, host: str | None
) -> None:
    """Delete single backups: every version of every object, the key first among the data."""
    from agent.backup import catalog, history, identity, make
    from agent.backup import prune as pruning
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
            {"deleted": [vars_of(one) for one in done]},
            _deleted_lines(done),
            status=ExitStatus.WARNINGS if kept else ExitStatus.OK,
        )
    )


def _deleted_lines(done: list[Deleted]) -> list[str]:
    lines = []
    for one in done:
        if one.shredded:
            lines.append(f"deleted   {one.source}  {one.id}  {one.deleted} objects, none is left")
        else:
            until = f" until {one.retained_until:%Y-%m-%d}" if one.retained_until else ""
            lines.append(
                f"retained  {one.source}  {one.id}  a lock keeps {one.retained} objects{until}"
            )
    return lines


def vars_of(one: Deleted) -> dict[str, Any]:
    """Return a deletion as JSON."""
    until = one.retained_until.isoformat() if one.retained_until else None
    return {**vars(one), "retained_until": until, "shredded": one.shredded}
