"""What a preflight says of one thing."""

from __future__ import annotations

from dataclasses import dataclass

from agent.errors import ExitStatus


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: `good` is None for a warning."""

    subject: str
    good: bool | None
    detail: str
    hint: str | None = None
    status: ExitStatus = ExitStatus.OK
