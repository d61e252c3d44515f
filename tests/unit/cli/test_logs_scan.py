from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

FAILED = "Nov 24 06:03:0{} web1 sshd[9]: Failed password for root from 203.0.113.7 port 1 ssh2\n"
ATTACK = "".join(FAILED.format(second) for second in range(6)).encode() + (
    b'203.0.113.8 - - [24/Nov/2026:06:03:00 +0000] "GET /.env HTTP/1.1" 200 15 "-" "curl/8.5.0"\n'
)


def scan(
    *arguments: str, stdin: bytes = b"", form: str = "json", config: Path | None = None
) -> subprocess.CompletedProcess[bytes]:
    chosen = ["--config", str(config)] if config else []
    return subprocess.run(
        [sys.executable, "-m", "agent", *chosen, "--output", form, "logs", "scan", *arguments],
        input=stdin,
        capture_output=True,
        check=False,
    )


def found(done: subprocess.CompletedProcess[bytes]) -> Any:
    return json.loads(done.stdout)["data"]


@pytest.mark.parametrize("engine", ["hyperscan", "re"])
def test_standard_input_is_scanned_and_findings_exit_with_20(engine: str) -> None:
    done = scan("--engine", engine, stdin=ATTACK)
    assert (done.returncode, done.stderr) == (20, b"")
    assert [(one["rule"], one["severity"], one["count"]) for one in found(done)["findings"]] == [
        ("http-secret-files", "critical", 1),
        ("ssh-failed-login", "medium", 6),
    ]


def test_quiet_logs_exit_with_0() -> None:
    line = b'203.0.113.8 - - [24/Nov/2026:06:03:00 +0000] "GET / HTTP/1.1" 200 15 "-" "Mozilla"\n'
    done = scan(stdin=line * 100)
    assert (done.returncode, found(done)["findings"]) == (0, [])
    assert found(done)["looked_at"] == [
        {"source": "-", "lines": 100, "bytes": 100 * len(line), "hits": 0, "unread": 0, "cut": 0}
    ]


@pytest.mark.parametrize("compress", [bytes, gzip.compress, zstd.compress])
def test_files_may_be_compressed(tmp_path: Path, compress: Any) -> None:
    file = tmp_path / "log"
    file.write_bytes(compress(ATTACK))
    done = scan(str(file))
    assert done.returncode == 20
    assert found(done)["looked_at"][0]["lines"] == 7


def test_no_address_is_shown_unless_asked_for() -> None:
    for form in ("json", "human", "nagios"):
        done = scan(stdin=ATTACK, form=form)
        assert b"203.0.113" not in done.stdout + done.stderr
    assert b"203.0.113.7" in scan("--show-addresses", stdin=ATTACK).stdout


def test_a_file_that_cannot_be_read_is_named_and_the_others_are_scanned(tmp_path: Path) -> None:
    good, cut = tmp_path / "good", tmp_path / "cut.gz"
    good.write_bytes(ATTACK)
    cut.write_bytes(gzip.compress(ATTACK * 1000)[:-20])
    done = scan(str(cut), str(tmp_path / "none"), str(good))
    assert done.returncode == 15
    assert len(found(done)["findings"]) >= 2
    assert [one["source"] for one in found(done)["not_looked_at"]] == [
        str(cut),
        str(tmp_path / "none"),
    ]
    assert b"Traceback" not in done.stderr


def test_a_configuration_that_was_named_must_be_there(tmp_path: Path) -> None:
    done = scan(stdin=ATTACK, config=tmp_path / "none.toml")
    assert done.returncode == 78
    assert json.loads(done.stderr)["code"] == "config-missing"
