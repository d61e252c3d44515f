"""`art32 backup verify`: three tiers."""

from __future__ import annotations

import click

from agent import output
from agent.cli import Context
from agent.cli.backup import HOST
from agent.errors import ExitStatus

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
@click.option(
    "--newest",
    is_flag=True,
    help="Only the newest backup of each source, and whether it is recent and good.",
)
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
    from agent.backup import verify as verification
    from agent.progress import Progress
    from agent.store import open_store

    config = context.load()
    store = open_store(config.store)
    depth = verification.Tier(tier)
    choice = verification.choose(config, store, ids=ids, host=host, source=source, newest=newest)
    with Progress("verifying", choice.stored_bytes) as progress:
        results = verification.verify_all(config, store, choice, depth, progress=progress.add)
    bad = sum(not result.good for result in results)
    warnings = [
        f"backup `{result.backup.id}`: {note}" for result in results for note in result.backup.notes
    ]
    warnings += choice.warnings
    warnings += verification.record(
        config, depth, good=len(results) - bad, bad=bad + len(choice.missing)
    )
    found: list[tuple[str, str | None, str | None]] = [
        (result.backup.place.source, result.backup.id, result.problem or None) for result in results
    ]
    found += [(one.source, one.id, one.problem) for one in choice.missing]
    lines = [
        f"{name} {number}: {problem or _GOOD[tier]}" if number else f"{name}: {problem}"
        for name, number, problem in found
    ]
    data = [
        {"id": number, "source": name, "tier": tier, "good": not problem, "problem": problem}
        for name, number, problem in found
    ]
    problems = [line for line, entry in zip(lines, data, strict=True) if not entry["good"]]
    status = ExitStatus.WARNINGS if warnings else ExitStatus.OK
    context.finish(
        output.Answer(
            "art32.backup.verify/1",
            data,
            lines,
            warnings,
            ExitStatus.VERIFICATION if problems else status,
            summary="; ".join(problems),
            errors=verification.errors(results, choice),
        )
    )
