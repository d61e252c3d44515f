"""Restoring PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator

from agent.backup.sources import RestoreRequest

GLOBALS_FORMAT = "postgresql-globals"


def check_target(request: RestoreRequest) -> None:
    raise NotImplementedError


def restore(stream: Iterator[bytes], request: RestoreRequest) -> str:
    raise NotImplementedError
