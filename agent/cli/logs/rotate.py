"""`art32 logs rotate`: cut, scrub and ship."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from agent import output
from agent.cli import Context
from agent.errors import Art32Error, Code, ExitStatus

if TYPE_CHECKING:
    from agent.config.logs_rotate import RotatedLog
    from agent.config.model import Configuration
    from agent.logs.rotate.run import Rotation


@click.command()
@click.argument("logs", nargs=-1, metavar="[LOG]...")
@click.option("--force", is_flag=True, help="Cut now, whatever size, age and calendar say.")
@click.option("--dry-run", is_flag=True, help="Say what would be cut and shipped; touch nothing.")
@click.pass_obj
def command(context: Context, logs: tuple[str, ...], force: bool, dry_run: bool) -> None:
    """Cut the named logs, or all that are configured, where it is time; ship what is cut.

    A segment is read when its writer has let go of it, scrubbed and encrypted in memory, and
    removed when its signed manifest is in the store. Run it often: what is left over, also after a
    kill, is done by the next run.
    """
    from agent.cli import _report
    from agent.logs.rotate import work

    config = context.load()
    chosen = _chosen(config, logs)
    if dry_run:
        lines = [line for log in chosen for line in work.plan(log, force=force)]
        context.finish(
            output.Answer("art32.logs.rotate.dry-run/1", lines, lines or ["nothing to do"])
        )
    told = _report.attacks(config, "logs rotate")
    results, warnings = work.rotate_all(config, chosen, force=force, told=told)
    for result in results:
        for error in result.errors:
            if context.form == "human":
                output.fail(error, context.form)
    context.finish(_answer(results, warnings, context.form))


def _chosen(config: Configuration, names: tuple[str, ...]) -> list[RotatedLog]:
    known = {log.name: log for log in config.logs.rotate}
    if not known:
        raise Art32Error(
            Code.CONFIG_INVALID,
            "the configuration has no [[logs.rotate]]",
            hint="art32 config sample shows one",
        )
    for name in names:
        if name not in known:
            raise Art32Error(
                Code.USAGE,
                f"there is no log `{name}`",
                hint=f"configured are {', '.join(f'`{one}`' for one in known)}",
            )
    return [known[name] for name in names] if names else list(known.values())


def _answer(results: list[Rotation], warnings: list[str], form: output.Form) -> output.Answer:
    found = [*warnings, *(warning for result in results for warning in result.warnings)]
    errors = [error for result in results for error in result.errors]
    status = ExitStatus.WARNINGS if found else ExitStatus.OK
    if errors:
        status = errors[0].exit_status
    if form == "nagios":
        found = [*(error.sentence for error in errors), *found]
    lines = [line for result in results for line in _lines(result)]
    data = [_entry(result) for result in results]
    return output.Answer(
        "art32.logs.rotate/1",
        data,
        lines or ([] if errors else ["nothing was due"]),
        found,
        status,
        errors=[(result.log, error) for result in results for error in result.errors],
    )


def _lines(result: Rotation) -> list[str]:
    lines = [
        f"{result.log}: cut {cut.segment.name}, {output.size(cut.size)} ({cut.reason})"
        for cut in result.cut
    ]
    for one in result.shipped:
        what = "removed, shipped before" if one.stored_bytes is None else "shipped and removed"
        size = "" if one.stored_bytes is None else f" in {output.size(one.stored_bytes)}"
        lines.append(f"{result.log}: {what} {one.segment.name}, {output.size(one.raw_bytes)}{size}")
    return lines + [
        f"{result.log}: {segment.name} waits for its writer to let go" for segment in result.waiting
    ]


def _entry(result: Rotation) -> dict[str, Any]:
    return {
        "log": result.log,
        "told": result.told,
        "cut": [
            {"segment": cut.segment.name, "bytes": cut.size, "reason": cut.reason}
            for cut in result.cut
        ],
        "shipped": [
            {
                "segment": one.segment.name,
                "raw_bytes": one.raw_bytes,
                "stored_bytes": one.stored_bytes,
                "second_scanner_hits": one.found.hits,
                "unscrubbed": one.raw,
            }
            for one in result.shipped
        ],
        "waiting": [segment.name for segment in result.waiting],
        "errors": [{"code": error.code.label, "error": error.sentence} for error in result.errors],
    }
