"""The section `[restore]`."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from agent.config.section import Section


class Restore(Section):
    """For the machine that restores; a host needs none of it."""

    gnupg_home: Path | None = Field(
        None,
        description="GnuPG home with the private key; by default that of the user.",
        examples=["/root/.gnupg"],
    )
    engine_user: str = Field(
        "nobody",
        description="User as whom restored data is unpacked, when art32 runs as root.",
        examples=["art32-engine"],
    )
    server_user: str | None = Field(
        None,
        description="To whom a recovered PostgreSQL server belongs, when art32 runs as root; by "
        "default `postgres`, where there is such a user.",
        examples=["postgres"],
    )
