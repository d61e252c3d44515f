"""`art32 logs pipe` on the command line: what makes no sense is one clear error."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from agent import cli
from tests.fixtures.daemons import ROOT

LINE = b"from 203.0.113.77\n"


def said(
    capsys: pytest.CaptureFixture[str], *words: str, config: Path | None = None
) -> tuple[int, str]:
    """Return the exit status and standard error of a command line that goes wrong at once."""
    before = ("--config", str(config)) if config else ()
    with pytest.raises(SystemExit) as end:
        cli.main([*before, "logs", "pipe", *words])
    assert isinstance(end.value.code, int)
    return end.value.code, capsys.readouterr().err


def configuration(directory: Path, more: str = "") -> Path:
    file = directory / "agent.toml"
    file.write_text(
        f'host = "a"\nstate_directory = "{directory / "state"}"\n'
        f'[store]\nkind = "directory"\npath = "{directory}"\n{more}'
    )
    return file


ONE = '[[logs.pipes]]\nname = "one"\nlisten = "udp:127.0.0.1:5599"\nto = "/nowhere/one.log"\n'


@pytest.mark.parametrize(
    ("words", "status", "sentence"),
    [
        ((), 78, "the configuration has no `logs.pipes`"),
        (("--fsync",), 2, "`--fsync` and `--confirm` go with `--to`"),
        (("--to", "relative"), 2, "`--to` must be an absolute path"),
        (("--to", "/a", "one"), 2, "`--to` takes standard input"),
    ],
)
def test_a_command_line_that_makes_no_sense_says_why(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    status: int,
    sentence: str,
) -> None:
    code, err = said(capsys, *words, config=configuration(tmp_path))
    assert code == status
    assert f"art32: error: {sentence}" in err
    assert "hint: " in err


def test_a_pipe_that_is_not_configured_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, err = said(capsys, "two", config=configuration(tmp_path, ONE))
    assert (code, "there is no pipe `two`" in err, "`one`" in err) == (2, True, True)


def test_an_output_that_cannot_be_opened_is_told_before_a_line_is_taken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, err = said(capsys, config=configuration(tmp_path, ONE + "scan = false\n"))
    assert code == 13
    assert "`/nowhere/one.log` cannot be opened" in err


def filtered(
    tmp_path: Path, *words: str, config: Path | None, stdin: bytes = LINE
) -> subprocess.CompletedProcess[bytes]:
    before = ["--config", str(config)] if config else []
    environment = {**os.environ, "ART32_CONFIG": ""}
    return subprocess.run(
        [sys.executable, "-m", "agent", *before, *words],
        input=stdin,
        capture_output=True,
        cwd=ROOT,
        env=environment,
        check=False,
    )


def test_standard_input_needs_no_configuration(tmp_path: Path) -> None:
    done = filtered(tmp_path, "logs", "pipe", "--to", str(tmp_path / "a"), config=None)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "a").read_bytes() == b"from 203.0.113.0\n"
    assert done.stdout == b""
    assert b"1 lines received, 1 written" in done.stderr


def test_a_configuration_that_is_named_and_missing_or_wrong_stops_it(tmp_path: Path) -> None:
    wrong = configuration(tmp_path, "[logs.scrub]\nmode = 'nothing'\n")
    for config in (wrong, tmp_path / "missing.toml"):
        done = filtered(tmp_path, "logs", "pipe", "--to", str(tmp_path / "a"), config=config)
        assert done.returncode == 78
        assert not (tmp_path / "a").exists()


def test_the_settings_of_scrubbing_count_and_the_state_is_for_health(tmp_path: Path) -> None:
    config = configuration(tmp_path, "[logs.scrub]\nmode = 'remove'\n")
    words = ("--output", "json", "logs", "pipe", "--to", str(tmp_path / "a"))
    done = filtered(tmp_path, *words, config=config, stdin=LINE * 3 + b"no end 203.0.113.77")
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "a").read_bytes()
    assert text.count(b"\n") == 4
    assert b"203.0.113" not in text
    answer = json.loads(done.stdout)
    assert answer["schema"] == "art32.logs.pipe/1"
    (state,) = (tmp_path / "state/pipe").glob("*.json")
    document = json.loads(state.read_text())
    assert document["received"] == document["written"] == answer["data"][0]["written"] == 4
    assert state.stat().st_mode & 0o077 == 0
    assert not (tmp_path / "state/pipe/pipe.pid").exists()  # that is the service's


def test_an_output_through_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    done = filtered(tmp_path, "logs", "pipe", "--to", str(tmp_path / "a"), config=None)
    assert done.returncode == 77
    assert not (tmp_path / "b").exists()
    assert b"203.0.113" not in done.stderr
