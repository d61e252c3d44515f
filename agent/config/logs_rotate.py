"""The sections `[[logs.rotate]]` and `[logs.retention]`: which files, when, how, for how long."""

from __future__ import annotations

import dataclasses
import fnmatch
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from agent.config.logs_presets import PRESETS, UNSCANNED, Preset, Signal
from agent.config.section import Section
from agent.config.sources import SourceName

_WILD = "*?["


class RotatedLog(Section):
    """A log file, or a pattern of names, that is cut, scrubbed and shipped."""

    name: SourceName = Field(
        description="Name of the log in the store; visible to whoever lists it.",
        examples=["nginx-access"],
    )
    path: Path = Field(
        description="The file; `*` stands for any part of its name, not of its directory.",
        examples=["/var/log/nginx/access.log"],
    )
    preset: str | None = Field(
        None,
        description="The program that writes it: "
        + ", ".join(f"`{name}`" for name in PRESETS)
        + ". It brings defaults for the seven keys below.",
        examples=["nginx"],
    )
    method: Literal["reopen", "copytruncate"] = Field(
        "reopen",
        description="`reopen` renames the file, tells the writer, and waits until it has let go: "
        "no line is lost. `copytruncate`, for a writer that cannot reopen, copies and empties: "
        "**lines written in between are lost**, and each run says so.",
        examples=["reopen"],
    )
    pid_file: Path | None = Field(
        None, description="Where the writer leaves its process id.", examples=["/run/nginx.pid"]
    )
    unit: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9:_.\\@-]{1,200}\.(?:service|scope)$",
        description="Its systemd unit, asked by `systemctl kill` where `pid_file` does not exist.",
        examples=["nginx.service"],
    )
    process: str | None = Field(
        None,
        min_length=1,
        max_length=15,
        description="Name of its process: a stale process id must not hit another program.",
        examples=["nginx"],
    )
    signal: Signal | None = Field(
        None, description="What makes it reopen its logs.", examples=["USR1"]
    )
    child: str | None = Field(
        None,
        min_length=1,
        description="Signal the child of the process whose title ends so, not the process.",
        examples=["logger"],
    )
    owner: str | None = Field(
        None,
        description="User, besides root and the one who runs art32, to whom directory and files "
        "may belong.",
        examples=["www-data"],
    )
    group: str | None = Field(
        None,
        description="Group that may write to the directory. Any other directory that others may "
        "write to is refused.",
        examples=["adm"],
    )
    max_bytes: int = Field(
        1 << 30, ge=1, description="Cut when it is at least this large.", examples=[1073741824]
    )
    max_age_hours: float | None = Field(
        None, gt=0, description="Cut when it was begun this long ago.", examples=[6]
    )
    every: Literal["hour", "day", "week", "month", "never"] = Field(
        "day",
        description="Cut what was begun before this hour, day, week (Monday) or month, in UTC.",
        examples=["day"],
    )
    wait_seconds: float = Field(
        30,
        ge=0,
        le=3600,
        description="How long a run waits for the writer to let go; what it still holds is left "
        "to the next run, however often.",
        examples=[30],
    )
    scan: bool | None = Field(
        None,
        description="Find attacks in it before it is scrubbed, where `art32 logs watch` has not "
        "looked; findings go where [logs.scan] says. By default yes, but not for `postgresql`, for "
        "which there are no rules.",
        examples=[True],
    )
    keep_local: bool = Field(
        False,
        description="Keep a scrubbed, compressed copy beside the log: `zstd -dc` reads it.",
        examples=[False],
    )

    @field_validator("preset")
    @classmethod
    def _known(cls, value: str | None) -> str | None:
        if value is not None and value not in PRESETS:
            raise ValueError(f"is not one of {', '.join(f'`{name}`' for name in PRESETS)}")
        return value

    @model_validator(mode="after")
    def _whole(self) -> RotatedLog:
        if any(character in str(self.path.parent) for character in _WILD):
            raise ValueError("`path` has a pattern in its directory; only the name may have one")
        if ".." in self.path.parts or self.path.name == "":
            raise ValueError("`path` is no plain path to a file")
        if self.method == "reopen" and self.preset is None and self.signal is None:
            raise ValueError(
                "says neither `preset` nor `signal`: nothing would make the writer reopen"
            )
        if self.method == "copytruncate" and any(one in self.path.name for one in _WILD):
            raise ValueError("`copytruncate` takes one file, not a pattern")
        if self.method == "reopen":
            how = self.reopening()
            if how.pid_file is None and how.unit is None:
                raise ValueError("says neither `pid_file` nor `unit`: whom to tell to reopen")
        return self

    def reopening(self) -> Preset:
        """Return what makes the writer reopen: the preset, and what is said here instead."""
        base = PRESETS[self.preset] if self.preset else Preset(self.signal or "HUP", "")
        said = {
            field.name: value
            for field in dataclasses.fields(Preset)
            if (value := getattr(self, field.name)) is not None
        }
        return dataclasses.replace(base, **said)

    @property
    def scanned(self) -> bool:
        """Whether attacks are looked for in it."""
        return self.preset not in UNSCANNED if self.scan is None else self.scan

    def matches(self, name: str) -> bool:
        """Whether a file of that name in the directory is such a log."""
        return fnmatch.fnmatchcase(name, self.path.name)


class LogRetention(Section):
    """How long logs are kept: in the store by `art32 logs prune`, here by each rotation."""

    days: int = Field(30, ge=1, le=3660, description="Days in the store.", examples=[30])
    max_bytes: int | None = Field(
        None,
        ge=1,
        description="At most this much of each log in the store; the oldest goes first.",
        examples=[107374182400],
    )
    minimum_days: int = Field(
        7,
        ge=0,
        le=3660,
        description="`max_bytes` takes nothing that is younger: a flood, or whoever has taken the "
        "host over, does not drive out what it has shipped before.",
        examples=[7],
    )
    local_days: int = Field(
        30, ge=1, le=3660, description="Days for copies of `keep_local`.", examples=[7]
    )
    local_max_bytes: int | None = Field(
        None,
        ge=1,
        description="At most this much of copies for each log; the oldest goes first.",
        examples=[1073741824],
    )
