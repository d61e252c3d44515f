"""A disk that is full when a log is rotated: no line is lost or doubled, and it says so."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

from tests.fixtures.repository import MakeRepository, Repository, text
from tests.integration.logs.test_pipe_loss import small_disk
from tests.integration.logs.test_rotate_and_restore import NUMBER, ROOT, restored, section

COUNT = 4_000
DISK = 4 << 20


def lines() -> bytes:
    """Return numbered lines that do not compress to nothing."""
    agents = (f"{(number * 2654435761) % 2**64:016x}" * 4 for number in range(COUNT))
    return b"".join(
        f'203.0.113.77 - - [24/Nov/2026:06:03:00 +0000] "GET /n/{number}" 200 1 "-" "{agent}"\n'
        .encode()
        for number, agent in enumerate(agents)
    )  # fmt: skip


def site_of(make_repository: MakeRepository, tmp_path: Path, *more: str) -> Repository:
    how = (f"pid_file = {text(tmp_path / 'none')}", 'process = "none"', 'signal = "USR1"')
    return make_repository("", more=section(tmp_path / "logs" / "access.log", *how, *more))


def rotate(site: Repository) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*(sys.executable, "-m", "agent", "--config", str(site.config_file)),
         *("logs", "rotate", "--force")],
        capture_output=True,
        cwd=ROOT,
        check=False,
    )  # fmt: skip


def fill(directory: Path) -> Path:
    ballast = directory / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)):
            pass
    return ballast


def require_all(site: Repository) -> None:
    assert [int(number) for number in NUMBER.findall(restored(site))] == list(range(COUNT))


def test_without_room_for_the_local_copy_the_segment_is_shipped_all_the_same(
    make_repository: MakeRepository, tmp_path: Path
) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    site = site_of(make_repository, tmp_path, "keep_local = true")
    with small_disk(logs, DISK):
        (logs / "access.log").write_bytes(lines())
        ballast = fill(logs)
        done = rotate(site)
        assert done.returncode == 20, done.stderr
        assert b"cannot be written: No space left on device" in done.stdout + done.stderr
        assert [path.name for path in logs.iterdir()] == [ballast.name]
        require_all(site)


def test_without_room_for_the_ledger_the_raw_segment_stays_and_is_shipped_once(
    make_repository: MakeRepository, tmp_path: Path
) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    site = site_of(make_repository, tmp_path)
    site.state.mkdir(exist_ok=True)
    with small_disk(site.state, DISK):
        ballast = fill(site.state)
        (logs / "access.log").write_bytes(lines())
        failed = rotate(site)
        assert failed.returncode not in (0, 20), failed.stdout
        assert b"Traceback" not in failed.stderr
        assert b"space" in failed.stdout + failed.stderr
        assert list(logs.iterdir()) != []
        ballast.unlink()
        done = rotate(site)
        assert done.returncode in (0, 20), done.stderr
        assert list(logs.iterdir()) == []
        require_all(site)
