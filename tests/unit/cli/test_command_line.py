"""Wrong command lines: one clear error, the right exit status, never a traceback."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from subprocess import PIPE
from typing import IO

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from agent import cli, clock
from agent.backup import catalog
from agent.errors import Art32Error, Code, ExitStatus
from tests.fixtures.repository import MakeRepository
from tests.fixtures.simulation import BEGINNING, simulated

ROOT = Path(cli.__file__).parent.parent.parent
SOURCE = '[[sources]]\nname = "app"\nkind = "command"\ncommand = ["printf", "some data"]'
CANARY = "canary-5f1c-of-the-tests"


@dataclass(frozen=True)
class Said:
    """What a run printed and exited with."""

    status: int
    out: str
    err: str


Say = Callable[..., Said]


@pytest.fixture
def say(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Say]:
    """Run a command line in this process, without a configuration of the machine's own."""
    monkeypatch.setenv("ART32_CONFIG", str(tmp_path / "not-there.toml"))
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def run(*arguments: str) -> Said:
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            cli.main(list(arguments))
        printed = capsys.readouterr()
        assert isinstance(end.value.code, int)
        return Said(end.value.code, printed.out, printed.err)

    yield run
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("frobnicate",), "no such command `frobnicate`"),
        (("backup", "frobnicate"), "no such command `frobnicate`"),
        (("backup", "run", "--frobnicate"), "no such option `--frobnicate`"),
        (("--output", "xml", "doctor"), "`xml` is not one of"),
        (("--config",), "option `--config` requires an argument"),
        (("restore",), "missing argument `SOURCE`"),
        (("restore", "app"), "missing option `--to`"),
        (("backup", "show"), "missing argument `ID`"),
        (("backup", "show", "one", "two"), "unexpected extra argument"),
        (("backup", "verify", "--tier", "deep"), "`deep` is not one of"),
        (("backup", "delete"), "missing argument `ID...`"),
    ],
)
def test_a_wrong_command_line_is_a_usage_error_with_a_hint(
    say: Say, words: tuple[str, ...], sentence: str
) -> None:
    said = say(*words)
    assert (said.status, said.out) == (ExitStatus.USAGE, "")
    first, second = said.err.splitlines()
    assert first.startswith("art32: error: ")
    assert sentence in first
    assert not first.endswith(".")
    assert second.startswith("hint: art32")


@pytest.mark.parametrize("name", ["app", "/app", "db1/"])
def test_what_is_no_host_and_source_cannot_be_retired(
    say: Say, make_repository: MakeRepository, name: str
) -> None:
    site = make_repository(SOURCE)
    said = say("--config", str(site.config_file), "backup", "prune", "--retired", name)
    assert (said.status, said.out) == (ExitStatus.USAGE, "")
    assert f"`{name}` is no HOST/SOURCE" in said.err


def test_a_source_of_this_very_machine_has_not_ended(
    say: Say, make_repository: MakeRepository
) -> None:
    site = make_repository(SOURCE)
    said = say("--config", str(site.config_file), "backup", "prune", "--retired", "db1/app")
    assert (said.status, said.out) == (ExitStatus.USAGE, "")
    assert "`db1/app` has not ended" in said.err
    said = say("--config", str(site.config_file), "backup", "prune", "--retired", "db1/old")
    assert said.status == ExitStatus.WARNINGS
    assert "there is nothing of `db1/old` in the store" in said.err


def test_a_retired_source_is_pruned_to_the_last_backup(
    say: Say, make_repository: MakeRepository
) -> None:
    site = make_repository(SOURCE)
    site.back_up("app")
    (backup,) = site.backup_directories("app")
    moment = (clock.now() - timedelta(days=31)).timestamp()
    for path in backup.iterdir():
        os.utime(path, (moment, moment))
    text = site.config_file.read_text()
    site.config_file.write_text(text.replace('name = "app"', 'name = "other"'))
    prune = ("--config", str(site.config_file), "backup", "prune", "--apply")
    said = say(*prune)
    assert said.status == ExitStatus.TRY_AGAIN
    assert "no backup is deleted: the newest good backup is older than 48 hours" in said.err
    assert backup.exists()
    assert say(*prune, "--retired", "db1/app").status == ExitStatus.OK
    assert not backup.exists()


def test_a_backup_that_is_named_twice_is_deleted_once(
    say: Say, make_repository: MakeRepository
) -> None:
    site = make_repository(SOURCE)
    (made,) = site.back_up("app")
    delete = ("--config", str(site.config_file), "backup", "delete", made.id, made.id)
    assert say(*delete, "--below-floor").out.count(made.id) == 1
    said = say(*delete, "--below-floor", "--apply")
    assert (said.status, said.out.count(made.id)) == (ExitStatus.OK, 1)


def test_one_part_of_a_set_is_deleted_alone_only_on_request(
    say: Say, make_repository: MakeRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = make_repository(SOURCE)
    parts = [simulated(10 + n, BEGINNING, part=(10, n, 3)) for n in (1, 2, 3)]
    monkeypatch.setattr(catalog, "read", lambda *_, **__: parts)
    delete = ("--config", str(site.config_file), "backup", "delete", parts[0].id, "--below-floor")
    said = say(*delete)
    lines = said.out.splitlines()
    assert [line.split()[:3] for line in lines[:3]] == [
        ["delete", "app", part.id] for part in parts
    ]
    assert lines[0].endswith(", part 1 of 3 of a set")
    assert said.err == ""
    said = say(*delete, "--part")
    assert said.out.count("delete  app") == 1
    assert "warning: 2 other parts of the same set stay" in said.err


@pytest.mark.parametrize("words", [(), ("backup",), ("config",)])
def test_a_command_line_without_a_verb_shows_the_help_and_is_an_error(
    say: Say, words: tuple[str, ...]
) -> None:
    said = say(*words)
    assert (said.status, said.out) == (ExitStatus.USAGE, "")
    assert said.err.startswith("Usage: art32")
    assert "error" not in said.err


def test_a_global_option_after_the_verb_is_told_its_place(say: Say) -> None:
    said = say("backup", "list", "--output", "json")
    assert said.status == ExitStatus.USAGE
    assert json.loads(said.err)["hint"].startswith("`--output` stands before the verb")


@pytest.mark.parametrize("verb", [("doctor",), ("backup", "run"), ("config", "check")])
def test_a_missing_configuration_says_how_to_make_one(say: Say, verb: tuple[str, ...]) -> None:
    said = say(*verb)
    assert (said.status, said.out) == (ExitStatus.CONFIGURATION, "")
    assert "cannot be read: No such file or directory" in said.err
    assert "hint: art32 config sample" in said.err


def test_an_error_as_json_is_one_object_on_standard_error(say: Say) -> None:
    said = say("--output", "json", "backup", "list")
    assert said.out == ""
    document = json.loads(said.err)
    assert document["schema"] == "art32.error/1"
    assert (document["ok"], document["code"]) == (False, "config-missing")
    assert document["exit_status"] == said.status == ExitStatus.CONFIGURATION


def test_an_error_for_monitoring_is_one_critical_line(say: Say) -> None:
    said = say("--output", "nagios", "backup", "list")
    assert (said.status, said.err) == (2, "")
    assert said.out.startswith("ART32 CRITICAL - config-missing: ")
    assert said.out.count("\n") == 1


@pytest.mark.parametrize("text", ["yesterday", "2026-11-23", "2026-11-23T03:15:00", ""])
def test_a_moment_without_a_time_zone_is_a_usage_error(say: Say, tmp_path: Path, text: str) -> None:
    file = tmp_path / "agent.toml"
    file.write_text(f'host = "db1"\n[store]\nkind = "directory"\npath = "{tmp_path}"\n')
    said = say("--config", str(file), "restore", "app", "--to", str(tmp_path / "x"), "--at", text)
    assert said.status == ExitStatus.USAGE
    assert "is no moment with a time zone" in said.err
    assert "hint: as in --at 2026-11-23T03:15:00Z" in said.err


def test_a_defect_is_reported_by_type_and_place_and_never_by_its_text(
    say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode(_: object) -> None:
        raise RuntimeError(CANARY)

    monkeypatch.setattr("agent.config.load.load", explode)
    said = say("config", "check")
    assert (said.status, said.out) == (ExitStatus.DEFECT, "")
    assert "a defect in art32: `RuntimeError` at `agent." in said.err
    assert "Traceback" not in said.err
    assert CANARY not in said.err


def test_a_closed_standard_output_is_no_traceback(
    say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    def close(_: object) -> None:
        raise Art32Error(Code.DISK, "the disk is full", hint="make room", runbook="disk-full")

    monkeypatch.setattr("agent.config.load.load", close)
    said = say("config", "check")
    assert said.status == ExitStatus.STORE
    assert said.err == "art32: error: the disk is full\nhint: make room\nrunbook: disk-full\n"


WORDS = st.one_of(
    st.sampled_from(
        [
            *("backup", "run", "list", "show", "verify", "prune", "delete", "accept", "restore"),
            *("config", "check", "sample", "schema", "doctor", "--config", "--output", "json"),
            *("nagios", "--to", "-", "--id", "--at", "--only", "--host", "--apply", "--tier"),
            *("hashes", "--dry-run", "--", "-h", "--version", "", "--all-hosts", "--no-probe"),
        ]
    ),
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12),
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(WORDS, max_size=6))
@example(["--config", "", "config", "check"])
@example(["--output=json", "--", "backup"])
def test_no_command_line_ends_in_a_defect(say: Say, words: list[str]) -> None:
    said = say(*words)
    assert said.status in {int(status) for status in ExitStatus} - {int(ExitStatus.DEFECT)}
    assert "Traceback" not in said.err + said.out
    if said.status not in (ExitStatus.OK, ExitStatus.USAGE):
        assert said.status == ExitStatus.CONFIGURATION


def art32(*arguments: str, stdout: int | IO[bytes], stderr: int | IO[bytes] = PIPE) -> Said:
    """Run the program itself, with standard output where a test wants it."""
    command = [sys.executable, "-m", "agent", *arguments]
    done = subprocess.run(command, stdout=stdout, stderr=stderr, check=False, cwd=ROOT)
    return Said(done.returncode, "", (done.stderr or b"").decode())


PRINTING = [("--help",), ("--version",), ("backup", "run", "--help"), ("config", "sample")]


@contextlib.contextmanager
def broken_pipe() -> Iterator[int]:
    """Hold the writing end of a pipe that nobody reads."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        yield writing
    finally:
        os.close(writing)


@pytest.mark.parametrize("words", PRINTING)
def test_a_closed_pipe_is_told_in_one_line(words: tuple[str, ...]) -> None:
    with broken_pipe() as pipe:
        said = art32(*words, stdout=pipe)
    assert said.status == ExitStatus.SOURCE
    assert said.err == "art32: error: the output cannot be written: Broken pipe\n"


@pytest.mark.parametrize("words", [*PRINTING, ("--output", "json", "config", "sample")])
def test_a_full_disk_under_standard_output_is_told_in_one_line(words: tuple[str, ...]) -> None:
    with open("/dev/full", "wb") as full:
        said = art32(*words, stdout=full)
    assert said.status == ExitStatus.SOURCE
    assert len(said.err.splitlines()) == 1
    assert "the output cannot be written: No space left on device" in said.err


def test_monitoring_is_told_on_standard_error_when_its_pipe_is_closed() -> None:
    with broken_pipe() as pipe:
        said = art32("--output", "nagios", "config", "check", stdout=pipe)
    assert said.status == 2
    assert said.err == "art32: error: the output cannot be written: Broken pipe\n"


def test_when_nobody_hears_anything_the_status_still_tells(tmp_path: Path) -> None:
    with broken_pipe() as pipe:
        said = art32("config", "sample", stdout=pipe, stderr=pipe)
        assert said.status == ExitStatus.SOURCE
        missing = str(tmp_path / "none.toml")
        said = art32("--config", missing, "doctor", stdout=pipe, stderr=pipe)
        assert said.status == ExitStatus.SOURCE


def test_a_broken_pipe_that_is_not_the_output_is_a_defect(
    say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_context: object) -> None:
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr(cli.root, "invoke", fail)
    said = say("config", "sample")
    assert said.status == ExitStatus.DEFECT
    assert "a defect in art32: `BrokenPipeError`" in said.err
