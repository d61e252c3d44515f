"""`art32 health`: what is true of this host now."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from agent.cli import Context

if TYPE_CHECKING:
    from agent.config.model import Configuration
    from agent.health.examine import Examined

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("checks", nargs=-1, metavar="[CHECK]...")
@click.option(
    "--prometheus",
    type=_FILE,
    metavar="FILE",
    help="Also write the results for node_exporter's textfile collector.",
)
@click.option(
    "--cloudwatch", metavar="NAMESPACE", help="Also put the results as metrics of CloudWatch."
)
@click.option("--region", metavar="REGION", help="Of CloudWatch; by default the store's.")
@click.option("--save", type=_FILE, metavar="FILE", help="Also write the results for --from.")
@click.option(
    "--from",
    "saved",
    type=_FILE,
    metavar="FILE",
    help="Look at nothing: take what --save wrote. Old results are a failure.",
)
@click.option(
    "--publish", is_flag=True, help="Put the results where `[service]` of the configuration says."
)
@click.pass_obj
def command(
    context: Context,
    checks: tuple[str, ...],
    prometheus: Path | None,
    cloudwatch: str | None,
    region: str | None,
    save: Path | None,
    saved: Path | None,
    publish: bool,
) -> None:
    """Look at this host: disks, memory, listeners, updates, backups, keys, clock, certificates,
    units, logs and art32's own files; or make the named CHECKs only.

    Status 14 when one fails, 20 when one warns or cannot be made.
    """
    from agent.health import examine

    config = context.load()
    found = _found(config, checks, saved)
    if save is not None:
        from agent.health import saved as file

        file.save(found, save)
    if prometheus is not None:
        from agent.health.prometheus import write

        write(found, prometheus)
    namespace = cloudwatch or (config.service.cloudwatch_namespace if publish else None)
    if namespace is not None:
        from agent.health.cloudwatch import publish as put

        place = region or getattr(config.store, "region", None) or "eu-central-1"
        put(found, namespace=namespace, host=config.host, region=place)
    if saved is None and not checks:
        from agent.cli import _report

        _report.checks(context, found)
    context.finish(examine.answer(found))


def _found(config: Configuration, checks: tuple[str, ...], saved: Path | None) -> Examined:
    from agent.errors import Art32Error, Code
    from agent.health import examine

    if saved is None:
        return examine.examine(config, checks)
    if checks:
        raise Art32Error(
            Code.USAGE, "`--from` takes no CHECK", hint="art32 health --from FILE, and nothing more"
        )
    from agent.health import saved as file

    return file.load(saved)
