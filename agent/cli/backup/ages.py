"""`art32 backup ages`: how old the backups and the drills of all hosts are."""

from __future__ import annotations

import click

from agent.cli import Context


@click.command()
@click.option(
    "--publish",
    is_flag=True,
    help="Also put the ages, as metrics of CloudWatch, where `service.keeper_namespace` says.",
)
@click.pass_obj
def command(context: Context, publish: bool) -> None:
    """Show for each host how old its newest good backup is, and how long ago a drill passed.

    For the keeper. Ages go by the store's clock; of several sources the worst counts. Status 20
    when anything is missing, too old, suspect, or waits to be accepted.
    """
    from agent.errors import Art32Error, Code
    from agent.health import ages

    config = context.load()
    namespace = config.service.keeper_namespace
    if publish and namespace is None:
        raise Art32Error(
            Code.CONFIG_INVALID,
            "`--publish` has nowhere to put the ages",
            hint='set `keeper_namespace` under [service], as in "Art32/prod"',
        )
    found = ages.look(config)
    if publish and namespace is not None:
        region = getattr(config.store, "region", None) or "eu-central-1"
        ages.publish(found, namespace=namespace, region=region)
    context.finish(ages.answer(config, found))
