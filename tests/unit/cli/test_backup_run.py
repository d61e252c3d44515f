"""`art32 backup run` over several sources: one that cannot run does not stop the others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agent import files
from agent.cli import main
from agent.errors import ExitStatus
from tests.fixtures.repository import MakeRepository, text


def source(name: str, *argv: str) -> str:
    words = ", ".join(text(word) for word in argv)
    return f'[[sources]]\nname = "{name}"\nkind = "command"\ncommand = [{words}]\n'


def run(config: Path, *arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["--config", str(config), *arguments, "backup", "run"])
    return int(ended.value.code or 0)


def test_a_locked_and_an_unstartable_source_do_not_stop_the_others(
    make_repository: MakeRepository, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken"
    broken.write_text("no first line\n")
    broken.chmod(0o755)
    good = source("good", "echo", "rows")
    site = make_repository(source("held", "echo", "x") + source("broken", str(broken)) + good)
    lock = site.state / "locks" / "held.lock"
    with files.lock(lock, what="the test"):
        status = run(site.config_file, "--output", "json")
    said = capsys.readouterr()
    results = {one["source"]: one for one in json.loads(said.out)["data"]}
    assert status == ExitStatus.LOCKED
    assert results["held"]["error"]["code"] == "locked"
    assert results["broken"]["error"]["code"] == "tool-failed"
    assert len(results["good"]["backups"]) == 1
    assert "Traceback" not in said.err


def test_monitoring_is_told_which_source_failed(
    make_repository: MakeRepository, capsys: pytest.CaptureFixture[str]
) -> None:
    site = make_repository(source("good", "echo", "rows") + source("bad", "false"))
    assert run(site.config_file, "--output", "nagios") == 2
    said = capsys.readouterr().out
    assert said.startswith("ART32 CRITICAL - bad: ")
    assert said.count("\n") == 1
