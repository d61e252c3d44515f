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
    """Check the named backups, or all that have a signature.

    With --newest a source without a good backup, or whose newest good one is older than
    `retention.newest_within_hours`, is a failure. With the tier `decrypt` also every file of the
    write-ahead log from the first of the base backups among them on.
    """
    from agent.backup import verify as verification
    from agent.backup import wal_verify
    from agent.progress import Progress
    from agent.store import open_store

    config = context.load()
    store = open_store(config.store)
    depth = verification.Tier(tier)
    choice = verification.choose(config, store, ids=ids, host=host, source=source, newest=newest)
    deep = depth is verification.Tier.DECRYPT
    logs = wal_verify.logs(config, choice.backups) if deep else []
    total = choice.stored_bytes + sum(log.size for log in logs)
    with Progress("verifying", total) as progress:
        results = verification.verify_all(config, store, choice, depth, progress=progress.add)
        opened = wal_verify.read(config, logs, progress=progress.add)
    bad = sum(not result.good for result in results)
    worthless = sum(len(log.problems) for log in opened)
    warnings = [
        f"backup `{result.backup.id}`: {note}" for result in results for note in result.backup.notes
    ]
    warnings += [warning for log in opened for warning in log.warnings]
    warnings += choice.warnings
    warnings += verification.record(
        config, depth, good=len(results) - bad, bad=bad + len(choice.missing) + worthless
    )
    found: list[tuple[str, str | None, str | None]] = [
        (result.backup.place.source, result.backup.id, result.problem or None) for result in results
    ]
    found += [(one.source, one.id, one.problem) for one in choice.missing]
    whole = {}
    for log in opened:
        name = f"wal of {log.log.host}, cluster {log.log.system_id}"
        whole[name] = f"good: {log.good} files decrypt, each is signed for its place"
        found += [(name, None, problem) for problem in log.problems]
        if not log.problems:
            found.append((name, None, None))
    lines = [
        f"{name} {number}: {problem or _GOOD[tier]}"
        if number
        else f"{name}: {problem or whole[name]}"
        for name, number, problem in found
    ]
    data = [
        {"id": number, "source": name, "tier": tier, "good": not problem, "problem": problem}
        for name, number, problem in found
    ]
    problems = [line for line, entry in zip(lines, data, strict=True) if not entry["good"]]
    told = verification.errors(results, choice)
    lines += dict.fromkeys(f"hint: {error.hint}" for _, error in told if error.hint)
    lines += dict.fromkeys(f"runbook: {error.runbook}" for _, error in told if error.runbook)
    status = ExitStatus.WARNINGS if warnings else ExitStatus.OK
    context.finish(
        output.Answer(
            "art32.backup.verify/1",
            data,
            lines,
            warnings,
            ExitStatus.VERIFICATION if problems else status,
            summary="; ".join(problems),
            errors=told,
        )
    )
