"""The section `[drill]`: what a rehearsed restore must show."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, model_validator

from agent.config.section import Section


class DrillCheck(Section):
    """What a drill of one source asks of the restored data, besides what every drill asks."""

    source: str = Field(
        pattern=r"^[a-z0-9][a-z0-9_.-]{0,62}$",
        description="The source, as the host names it.",
        examples=["app"],
    )
    host: str | None = Field(
        None,
        pattern=r"^[a-z0-9][a-z0-9_.-]{0,62}$",
        description="Its host; without it: this one.",
        examples=["db1"],
    )
    database: str | None = Field(
        None,
        min_length=1,
        description="Of a source of all databases: the one of which this is asked; without it, of "
        "each that has no table of its own. Of a base backup: the database that the queries are "
        "for.",
        examples=["crm"],
    )
    assertions: tuple[str, ...] = Field(
        (),
        description="Queries that must each answer with one row of one column that is true.",
        examples=[["SELECT count(*) > 1000 FROM orders"]],
    )
    newest_row: str | None = Field(
        None,
        description="A query for the time of the newest row, with its zone: how much would be "
        "lost.",
        examples=["SELECT max(created_at) FROM orders"],
    )
    maximum_loss_hours: float | None = Field(
        None,
        gt=0,
        description="RPO: the newest row may be at most this old.",
        examples=[26],
    )
    maximum_minutes: float | None = Field(
        None, gt=0, description="RTO: the drill may take at most this long.", examples=[60]
    )
    system_identifier: str | None = Field(
        None,
        pattern=r"^[0-9]{1,20}$",
        description="PostgreSQL's system identifier of the live server (`pg_control_system()`): "
        "the backup must come from that very cluster.",
        examples=["7301234567890123456"],
    )
    must_exist: tuple[str, ...] = Field(
        (),
        description="Of a directory: paths in it that must have come back.",
        examples=[["./invoices/2026"]],
    )

    @model_validator(mode="after")
    def _measurable(self) -> DrillCheck:
        if self.maximum_loss_hours is not None and self.newest_row is None:
            raise ValueError("`maximum_loss_hours` needs `newest_row` to measure it")
        return self


class Drill(Section):
    """Rehearsed restores, on the restorer's machine."""

    directory: Path = Field(
        Path("/var/lib/art32-drill/engines"),
        description="Where throw-away engines live: room for the largest source, and a short "
        "path, for sockets. What is restored there is plaintext until the drill ends.",
        examples=["/var/lib/art32-drill/engines"],
    )
    within_hours: int = Field(
        192,
        ge=1,
        description="Each source must have passed a drill within this time.",
        examples=[192],
    )
    key_within_days: int = Field(
        190,
        ge=1,
        description="The holder of each recipient's key must have answered a challenge within "
        "this time.",
        examples=[190],
    )
    note: bool = Field(
        False,
        description="Note in the store, below `evidence/drills/`, what each drill came to: the "
        "keeper tells from it how long ago the last one was. Needs the right to write there.",
        examples=[True],
    )
    checks: tuple[DrillCheck, ...] = Field((), description="What single sources must show.")

    @model_validator(mode="after")
    def _distinct(self) -> Drill:
        names = [(check.host, check.source, check.database) for check in self.checks]
        if len(set(names)) != len(names):
            raise ValueError("a source, or a database of it, has two tables of `drill.checks`")
        return self

    def check(
        self, host: str, source: str, *, this_host: str, database: str | None = None
    ) -> DrillCheck:
        """Return what the source of a host, or a database of it, must show; nothing particular when
        that is not configured."""
        mine = [one for one in self.checks if (one.host or this_host, one.source) == (host, source)]
        own = [one for one in mine if one.database is not None and one.database == database]
        general = [one for one in mine if one.database is None]
        return next(iter([*own, *general]), DrillCheck(source=source, host=host))

    def databases(self, host: str, source: str, *, this_host: str) -> list[DrillCheck]:
        """Return what single databases of the source of a host must show."""
        places = ((one, (one.host or this_host, one.source)) for one in self.checks)
        return [one for one, place in places if place == (host, source) and one.database]
