"""The section `[retention]`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from agent.config.section import Section

_HOST_AND_SOURCE = r"^[a-z0-9][a-z0-9_.-]{0,62}/[a-z0-9][a-z0-9_.-]{0,62}$"


class Retention(Section):
    """How long backups are kept."""

    days: int = Field(30, ge=1, le=3660, description="Days by the store's clock.", examples=[30])
    minimum_backups: int = Field(
        7,
        ge=1,
        description="Never go below this many good backups of a source, however old they are.",
        examples=[7],
    )
    newest_within_hours: int = Field(
        48,
        ge=1,
        description="Prune only while the newest good backup is at most this old: when backups "
        "have stopped, or a clock has jumped, nothing is deleted. Older is a failure for a drill, "
        "too.",
        examples=[48],
    )
    retired: tuple[Annotated[str, Field(pattern=_HOST_AND_SOURCE)], ...] = Field(
        (),
        description="Sources that have ended, as HOST/SOURCE: `prune` deletes their last backup "
        "when it is old enough, and nobody waits for a new one or for a drill.",
        examples=[["db1/old-shop"]],
    )
