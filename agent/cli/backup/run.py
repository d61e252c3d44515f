"""`art32 backup run`: dump, compress, encrypt, ship, sign."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from agent import output
from agent.cli import Context
from agent.errors import Art32Error, Code, ExitStatus, from_defect

if TYPE_CHECKING:
    from agent.backup.identity import Writer
    from agent.backup.make import RunResult
    from agent.backup.shipment import Made
    from agent.config.model import Configuration
    from agent.config.sources import Source
    from agent.progress import Progress


@click.command()
@click.argument("sources", nargs=-1, metavar="[SOURCE]...")
@click.option("--dry-run", is_flag=True, help="Check keys and sources only; store nothing.")
@click.pass_obj
def command(context: Context, sources: tuple[str, ...], dry_run: bool) -> None:
    """Back up the named sources, or all that are configured.

    One source that fails does not stop the others; the first failure gives the exit status.
    """
    from agent.backup import identity
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
                result = _back_up(config, source, writer, progress)
            results.append(result)
            if result.error is not None and context.form == "human":
                output.fail(_about(source, result.error), context.form)
    context.finish(_run_answer(results, warnings, context.form))


def _back_up(
    config: Configuration, source: Source, writer: Writer, progress: Progress
) -> RunResult:
    """Back one source up; whatever becomes of it, the next one has its turn."""
    from agent.backup import make

    try:
        return make.back_up(config, source, writer, progress=progress.at)
    except Art32Error as error:
        return make.RunResult(source.name, error=error)
    except Exception as error:  # noqa: BLE001 - a defect in one source is no reason to skip others
        return make.RunResult(source.name, error=from_defect(error))


def _about(source: Source, error: Art32Error) -> Art32Error:
    """Return the error with its source named."""
    name = f"`{source.name}`"
    sentence = error.sentence if name in error.sentence else f"source {name}: {error.sentence}"
    return Art32Error(error.code, sentence, hint=error.hint, runbook=error.runbook)


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


def _run_answer(results: list[RunResult], warnings: list[str], form: output.Form) -> output.Answer:
    lines, data = [], []
    found = list(warnings)
    status = ExitStatus.WARNINGS if warnings else ExitStatus.OK
    for result in results:
        found += result.warnings
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
    if form == "nagios":
        failed = [f"{one.source}: {one.error.sentence}" for one in results if one.error]
        found = [*failed, *found]
    told = [(result.source, result.error) for result in results if result.error is not None]
    told += [(one.source, _suspicious(one)) for r in results for one in r.made if one.suspicious]
    done = [
        result.source
        for result in results  # what does not count yet is no success
        if result.error is None and not any(made.suspicious for made in result.made)
    ]
    return output.Answer("art32.backup.run/1", data, lines, found, status, errors=told, done=done)


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
        error = _suspicious(made)
        found.append(f"{error.sentence}: it does not count until a person runs: {error.hint}")
    return found


def _suspicious(made: Made) -> Art32Error:
    return Art32Error(
        Code.SUSPICIOUS,
        f"backup `{made.id}` of `{made.source}` is suspicious ({', '.join(made.suspicious)})",
        hint=f"art32 backup accept {made.id}",
    )
