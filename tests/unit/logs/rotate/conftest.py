"""What the tests of rotation share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent.config.logs_rotate import RotatedLog

Section = Callable[..., RotatedLog]


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """A directory for logs."""
    place = tmp_path / "logs"
    place.mkdir(mode=0o755)
    return place


@pytest.fixture
def section(logs: Path, tmp_path: Path) -> Section:
    """A function that makes the section of `access.log`, whose writer does not run."""

    def make(**more: Any) -> RotatedLog:
        return RotatedLog.model_validate(
            {
                "name": "web",
                "path": logs / "access.log",
                "signal": "USR1",
                "pid_file": tmp_path / "none",
                "process": "none",
                **more,
            }
        )

    return make
