"""`python -m rehearse`, small: the worst case from end to end, as a person runs it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.postgresql import binaries

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def short() -> Iterator[Path]:
    """A directory of a short path, through which the server's user may go."""
    path = Path(tempfile.mkdtemp(prefix="art32-", dir="/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.mark.slow
def test_a_server_that_is_destroyed_comes_back_by_art32_and_by_hand(
    confinement: None, short: Path
) -> None:
    if binaries() is None:
        pytest.skip("no PostgreSQL server is installed")
    small = ["--scale", "1", "--seconds", "4", "--archive-timeout", "2"]
    done = subprocess.run(
        [sys.executable, "-m", "rehearse", *small, "--directory", str(short)],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "HOME": "/nonexistent"},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "art32 and stock tools have brought back the same rows of every table" in done.stdout
    assert re.search(r"acknowledged commits are lost: RPO \d+\.\d s", done.stdout)
    assert len(re.findall(r"RTO \d+\.\d s", done.stdout)) == 3
    assert done.stdout.count("1000 invoices; amcheck found nothing") == 2
