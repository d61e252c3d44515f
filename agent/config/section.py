"""The base of every section of the configuration."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, field_validator


class Section(BaseModel):
    """A frozen section: no unknown keys, no path that depends on where art32 runs."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)

    @field_validator("*")
    @classmethod
    def _usable(cls, value: object) -> object:
        for item in value if isinstance(value, tuple) else (value,):
            if isinstance(item, str | Path) and "\0" in str(item):
                raise ValueError("holds a NUL character")
            if isinstance(item, Path) and not item.is_absolute():
                raise ValueError("is not an absolute path")
        return value
