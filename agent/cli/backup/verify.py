"""`art32 backup verify`: three tiers."""

from __future__ import annotations

import click

from agent import output
from agent.cli import Context
from agent.cli.backup import HOST
from agent.errors import Art32Error, Code, ExitStatus

_GOOD = {
    "listing": "good: signature, place, names and sizes",
    "hashes": "good: every object has its signed hash",
    "decrypt": "good: every byte decrypts and decompresses",
}


@click.command()
@click.argument("ids", nargs=-1, metavar="[ID]...")
@HOST
@click.option(
    "--tier",
    type=click.Choice(["listing", "hashes", "decrypt"]),
    default="hashes",
    show_default=True,
    help="How deep to look: signature, names and sizes; every hash as well; or all of it down to "
    "the plaintext's checksum, which needs a private key.",
)
@click.option("--source", metavar="SOURCE", help="Only this source.")
@click.option("--newest", is_flag=True, help="Only the newest backup of each source.")
@click.pass_obj
def command(
    context: Context,
    ids: tuple[str, ...],
    host: str | None,
    tier: str,
    source: str | None,
    newest: bool,
) -> None:
    """Check the named backups, or all that have a signature."""
    from agent.backup import catalog, history, identity, make
    from agent.backup.catalog import State
    from agent.backup.verify import Tier, ledger_notes
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
    notes += ledger_notes(config, backups)
    make.ledger_of(config).append(
        history.VERIFIED, tier=tier, good=len(results) - len(bad), bad=len(bad)
    )
    status = ExitStatus.VERIFICATION if bad else ExitStatus.WARNINGS if notes else ExitStatus.OK
    lines = [
        f"{result.backup.place.source} {result.backup.id}: "
        f"{_GOOD[tier] if result.good else result.problem}"
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
