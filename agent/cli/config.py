"""`art32 config`: check, show, sample, schema."""

from __future__ import annotations

import json

import click

from agent import output
from agent.cli import Context


@click.group()
def command() -> None:
    """Check, show and document the configuration."""


@command.command()
@click.pass_obj
def check(context: Context) -> None:
    """Report every mistake in the file at once; touch nothing else."""
    from agent.logs.scrub.shared_keys import units_share, unshared

    config = context.load()
    sources = ", ".join(source.name for source in config.sources) or "none"
    reason = None if units_share() else unshared(config)
    context.finish(
        output.Answer(
            "art32.config.check/1",
            {"path": str(context.config_path)},
            [f"`{context.config_path}` is valid; sources: {sources}"],
            [] if reason is None else [reason],
        )
    )


@command.command()
@click.pass_obj
def show(context: Context) -> None:
    """Show every value in effect and where it comes from."""
    from agent.config.reference import effective

    values = effective(context.load())
    context.finish(
        output.Answer(
            "art32.config.show/1",
            [{"key": key, "value": value, "from": origin} for key, value, origin in values],
            output.table(
                [("key", "value", "from"), *((key, value, origin) for key, value, origin in values)]
            ),
        )
    )


@command.command()
def sample() -> None:
    """Print a commented file with every key, to start from."""
    from agent.config.reference import sample as text

    click.echo(text(), nl=False)


@command.command()
def schema() -> None:
    """Print the JSON schema of the configuration."""
    from agent.config.model import Configuration

    click.echo(json.dumps(Configuration.model_json_schema(), indent=2))
