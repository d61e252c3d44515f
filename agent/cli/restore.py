"""`art32 restore`: bring a backup back."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from agent import clock, output
from agent.cli import Context
from agent.cli._moment import moment
from agent.errors import Art32Error, Code, ExitStatus

if TYPE_CHECKING:
    from agent.backup.manifest import Details
    from agent.backup.sources import RestoreRequest


@click.command()
@click.argument("source")
@click.option(
    "--to",
    "target",
    required=True,
    metavar="TARGET",
    help="`postgresql:///NEW?host=/SOCKET/DIRECTORY&user=ROLE`, `mysql:///NEW?socket=PATH`, a new "
    "directory or file, or `-` for standard output.",
)
@click.option("--id", "wanted", metavar="ID", help="This backup; by default the newest good one.")
@click.option(
    "--at",
    metavar="TIME",
    help="The newest good one stored at or before this moment, as in 2026-11-23T03:15:00Z. A "
    "base backup then follows its write-ahead log to that moment; without --at, to its end.",
)
@click.option(
    "--only", metavar="NAME", help="One table (SCHEMA.TABLE), or one path, out of the backup."
)
@click.option(
    "--member",
    metavar="NAME",
    help="Of a backup of all databases: this one, or `globals` for the roles.",
)
@click.option("--host", metavar="HOST", help="The host whose backup is meant; by default this one.")
@click.option(
    "--wal-host",
    "wal_hosts",
    multiple=True,
    metavar="HOST",
    help="Of a base backup: take the write-ahead log that this host has shipped, in place of that "
    "of the host of the backup. May be given several times, after a failover.",
)
@click.option("--overwrite", is_flag=True, help="Replace what stands at the target.")
@click.option(
    "--owners",
    is_flag=True,
    help="Restore owners, grants and tablespaces as well, and a database's settings for single "
    "roles. Its other settings, its comment, and what PUBLIC may not do come back in any case.",
)
@click.option(
    "--allow-superuser",
    is_flag=True,
    help="Let the dump act with a superuser's rights on the target server.",
)
@click.pass_obj
def command(
    context: Context,
    source: str,
    target: str,
    wanted: str | None,
    at: str | None,
    only: str | None,
    member: str | None,
    host: str | None,
    wal_hosts: tuple[str, ...],
    overwrite: bool,
    owners: bool,
    allow_superuser: bool,
) -> None:
    """Restore SOURCE into a new database, directory or file.

    Signature, hashes and decryption are checked before anything is handed over as good. The result
    gets its name last; a failed restore leaves nothing behind.
    """
    from contextlib import ExitStack

    from agent.backup import catalog, history, identity, make, recovery, restore
    from agent.backup.sources import RestoreRequest
    from agent.progress import Progress
    from agent.store import open_store

    config = context.load()
    store = open_store(config.store)
    at_moment = moment(at, "--at")
    with identity.reader(config) as reader:
        backups = catalog.read(
            store, reader, config.store.prefix, host=host or config.host, source=source
        )
    accepted = catalog.accepted_ids(
        backups, history.read(make.ledger_of(config).records()).accepted
    )
    chosen = restore.choose(
        backups,
        source=source,
        host=host or config.host,
        wanted=wanted,
        at=at_moment,
        accepted=accepted,
    )
    backup = restore.part(config, store, chosen, member)
    to_output = target == restore.STANDARD_OUTPUT
    if to_output and sys.stdout.isatty():
        raise Art32Error(
            Code.USAGE, "a backup does not belong on a terminal", hint="redirect standard output"
        )
    if to_output and (only or overwrite or owners or allow_superuser or wal_hosts):
        raise Art32Error(Code.USAGE, "`--to -` takes the whole backup and no options")

    follow = ExitStack()
    notes: list[str] = []

    def request(details: Details) -> RestoreRequest:
        log = None
        if details.kind == recovery.KIND:
            log = follow.enter_context(
                recovery.following(
                    config, details, backup.place.host, wal_hosts, at_moment, notes.append
                )
            )
        return RestoreRequest(
            target=target,
            facts=details.facts,
            only=only,
            overwrite=overwrite,
            owners=owners,
            allow_superuser=allow_superuser,
            engine_user=config.restore.engine_user,
            recovery=log,
        )

    with follow, Progress(f"restoring {source}", backup.stored_bytes) as progress:
        done = restore.restore(
            config,
            store,
            backup,
            make.ledger_of(config),
            request,
            output=sys.stdout.buffer if to_output else None,
            progress=progress.add,
        )
    rate = done.plain_bytes / max(done.seconds, 1e-6)
    line = (
        f"{source}: backup {done.id} of {clock.iso(backup.stored_at)}: {done.sentence}; "
        f"{output.size(done.plain_bytes)}, {output.duration(done.seconds)} "
        f"({output.size(rate)}/s)"
    )
    warnings = [*reader.notes, *notes, *done.warnings]
    if wanted is None:
        warnings += restore.doubts(backups, chosen, at=at_moment)
    status = ExitStatus.WARNINGS if warnings else ExitStatus.OK
    if to_output:
        for text in (line, *(f"warning: {warning}" for warning in warnings)):
            output.say(text)
        raise SystemExit(output.exit_code(status, context.form))
    context.finish(output.Answer("art32.restore/1", vars(done), [line], warnings, status))
