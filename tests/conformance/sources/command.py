"""Commands in the conformance suite."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent.config.sources import CommandSource
from tests.conformance.sources.case import CANARY, Case, names_below, wrap

TRAILER = "-- export complete"


def make(directory: Path, request: pytest.FixtureRequest) -> Case:
    printed = directory / f"export-{CANARY}"
    lines = os.urandom(1 << 20).hex() + f"\n{CANARY}\n{TRAILER}\n"
    printed.write_text(lines)
    (directory / "existing").write_text("existing")

    def config(program: str) -> CommandSource:
        command = (program, str(printed))
        return CommandSource(kind="command", name="export", command=command, trailer=TRAILER)

    def content(target: str | None) -> object:
        return Path(target or printed).read_bytes()

    def shortened(status: int) -> CommandSource:
        return config(str(wrap(directory / "wrapper", "cat", status=status)))

    return Case(
        kind="command",
        config=config("cat"),
        missing=config(str(directory / "nowhere")),
        target=str(directory / "target"),
        existing=str(directory / "existing"),
        content=content,
        traces=lambda: names_below(directory),
        dies=lambda patch: shortened(3),
        cut=lambda patch: shortened(0),
    )
