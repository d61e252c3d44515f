"""Directories in the conformance suite."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent.config.sources import DirectorySource
from tests.conformance.sources.case import CANARY, Case, names_below, wrap_on_path


def make(directory: Path, request: pytest.FixtureRequest) -> Case:
    tree = directory / "tree"
    (tree / CANARY).mkdir(parents=True)
    for number in range(8):
        (tree / CANARY / f"{CANARY}-{number}").write_bytes(CANARY.encode() + os.urandom(1 << 18))
    (directory / "existing").mkdir()
    config = DirectorySource(kind="directory", name="files", path=tree)

    def content(target: str | None) -> object:
        top = tree if target is None else Path(target)
        return {
            str(path.relative_to(top)): path.read_bytes() if path.is_file() else None
            for path in top.rglob("*")
        }

    def shortened(status: int, patch: pytest.MonkeyPatch) -> DirectorySource:
        wrap_on_path(patch, directory / "wrapper", "tar", status=status)
        return config

    return Case(
        kind="directory",
        config=config,
        missing=config.model_copy(update={"path": directory / "nowhere"}),
        target=str(directory / "target"),
        existing=str(directory / "existing"),
        content=content,
        traces=lambda: names_below(directory),
        dies=lambda patch: shortened(3, patch),
        cut=lambda patch: shortened(0, patch),
    )
