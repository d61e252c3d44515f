"""The section `[logs]`: each part in a file of its own."""

from __future__ import annotations

from pydantic import Field, field_validator

from agent.config.logs_pipe import LogPipe, check_apart
from agent.config.logs_rotate import LogRetention, RotatedLog
from agent.config.logs_scan import Scan, Watch
from agent.config.logs_scrub import Scrub
from agent.config.section import Section


class Logs(Section):
    """What happens to the logs of this host."""

    scan: Scan = Field(default_factory=lambda: Scan(), description="Attack detection.")
    watch: Watch = Field(default_factory=lambda: Watch(), description="Files to follow.")
    scrub: Scrub = Field(default_factory=lambda: Scrub(), description="What is taken out.")
    pipes: tuple[LogPipe, ...] = Field((), description="Ways by which lines come in.")
    rotate: tuple[RotatedLog, ...] = Field((), description="What to cut, scrub and ship.")
    retention: LogRetention = Field(
        default_factory=lambda: LogRetention(), description="For how long."
    )

    @field_validator("rotate")
    @classmethod
    def _distinct(cls, value: tuple[RotatedLog, ...]) -> tuple[RotatedLog, ...]:
        for what in ("name", "path"):
            values = [str(getattr(log, what)) for log in value]
            doubled = sorted({one for one in values if values.count(one) > 1})
            if doubled:
                raise ValueError(f"two rotated logs have the {what} `{doubled[0]}`")
        return value

    @field_validator("pipes")
    @classmethod
    def _apart(cls, value: tuple[LogPipe, ...]) -> tuple[LogPipe, ...]:
        return check_apart(value)
