"""`art32 health`: what is true of this host now."""

from __future__ import annotations

from pathlib import Path

import click

from agent.cli import Context


@click.command()
@click.argument("checks", nargs=-1, metavar="[CHECK]...")
@click.option(
    "--prometheus",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Also write the results for node_exporter's textfile collector.",
)
@click.option(
    "--cloudwatch", metavar="NAMESPACE", help="Also put the results as metrics of CloudWatch."
)
@click.option("--region", metavar="REGION", help="Of CloudWatch; by default the store's.")
@click.pass_obj
def command(
    context: Context,
    checks: tuple[str, ...],
    prometheus: Path | None,
    cloudwatch: str | None,
    region: str | None,
) -> None:
    """Look at this host: disks, memory, listeners, updates, backups, keys, clock, certificates,
    units, logs and art32's own files; or make the named CHECKs only.

    Status 14 when one fails, 20 when one warns or cannot be made.
    """
    from agent.health import examine

    config = context.load()
    found = examine.examine(config, checks)
    if prometheus is not None:
        from agent.health.prometheus import write

        write(found, prometheus)
    if cloudwatch is not None:
        from agent.health.cloudwatch import publish

        place = region or getattr(config.store, "region", None) or "eu-central-1"
        publish(found, namespace=cloudwatch, host=config.host, region=place)
    context.finish(examine.answer(found))
