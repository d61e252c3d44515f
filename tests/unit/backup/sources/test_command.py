"""Command sources, with real programs."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from agent.backup.sources import RestoreRequest
from agent.backup.sources import command as plugin
from agent.config.sources import CommandSource
from agent.errors import Art32Error, Code
from tests.fixtures.waiting import runs, until


def source(*argv: str, trailer: str | None = None) -> CommandSource:
    return CommandSource(kind="command", name="export", command=argv, trailer=trailer)


def printing(script: str, *, trailer: str | None = None) -> CommandSource:
    return source(sys.executable, "-c", script, trailer=trailer)


def dumped(config: CommandSource) -> bytes:
    with plugin.dump(config, "") as running:
        data = b"".join(iter(running.read, b""))
        running.finish()
        return data


def failing(config: CommandSource) -> Art32Error:
    with pytest.raises(Art32Error) as caught:
        dumped(config)
    return caught.value


def test_arguments_are_no_shells_line() -> None:
    config = source("printf", "%s|", "$(id)", "a b", "*", "`id`", ";", "")
    assert dumped(config) == b"$(id)|a b|*|`id`|;||"


def test_a_status_is_named_and_what_the_command_said_is_not() -> None:
    error = failing(source("sh", "-c", "echo out; echo canary >&2; exit 37"))
    assert error.code is Code.SOURCE_FAILED
    assert "status 37" in error.sentence
    assert "canary" not in error.sentence


def test_a_signal_is_named() -> None:
    error = failing(source("sh", "-c", "echo out; kill -TERM $$"))
    assert error.code is Code.SOURCE_FAILED
    assert "SIGTERM" in error.sentence


def test_no_output_is_an_error() -> None:
    assert failing(source("true")).code is Code.SOURCE_EMPTY


@pytest.mark.parametrize(("behind", "found"), [(4096 - 3, True), (4096 - 2, False)])
def test_the_trailer_must_be_in_the_last_4096_bytes(behind: int, found: bool) -> None:
    script = f"import sys; sys.stdout.write('x' * 3_000_000 + 'END' + 'y' * {behind})"
    config = printing(script, trailer="END")
    if found:
        assert len(dumped(config)) == 3_000_003 + behind
    else:
        assert failing(config).code is Code.SOURCE_INCOMPLETE


def test_a_trailer_that_comes_in_pieces_is_found() -> None:
    script = "import os, time\nfor b in b'data END': os.write(1, bytes([b])); time.sleep(0.005)"
    assert dumped(printing(script, trailer="END")) == b"data END"


@pytest.mark.parametrize("make", ["nothing", "not executable", "directory"])
def test_a_program_that_cannot_be_run_is_missing(tmp_path: Path, make: str) -> None:
    program = tmp_path / "program"
    if make == "not executable":
        program.write_text("#!/bin/sh\n")
    if make == "directory":
        program.mkdir()
    with pytest.raises(Art32Error) as caught:
        plugin.probe(source(str(program)))
    assert caught.value.code is Code.SOURCE_MISSING


def test_a_background_process_that_keeps_the_pipe_ends_with_the_block() -> None:
    script = "echo $$; sleep 1000 & echo $!"
    with plugin.dump(source("sh", "-c", script), "") as running:
        text = b""
        while text.count(b"\n") < 2:
            text += running.read()
    numbers = text.split()
    until(lambda: not any(runs(int(number)) for number in numbers), "the end of both")


def test_finishing_before_the_end_is_a_defect() -> None:
    with plugin.dump(source("printf", "text"), "") as running:
        with pytest.raises(Art32Error) as caught:
            running.finish()
        assert caught.value.code is Code.DEFECT


def test_restoring_makes_a_private_file(tmp_path: Path) -> None:
    target = tmp_path / "out"
    sentence = plugin.restore(iter([b"a", b"", b"bc"]), RestoreRequest(str(target), {}))
    assert target.read_bytes() == b"abc"
    assert target.stat().st_mode & 0o7777 == 0o600
    assert os.listdir(tmp_path) == ["out"]
    assert "3 bytes" in sentence


def test_overwriting_keeps_the_old_file_beside_the_new(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.write_text("old")
    plugin.restore(iter([b"new"]), RestoreRequest(str(target), {}, overwrite=True))
    (kept,) = tmp_path.glob("out.replaced-*")
    assert (target.read_text(), kept.read_text()) == ("new", "old")


def test_links_and_directories_are_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "directory").mkdir()
    for name in ("link", "directory"):
        with pytest.raises(Art32Error) as caught:
            plugin.restore(iter([b"new"]), RestoreRequest(str(tmp_path / name), {}, overwrite=True))
        assert caught.value.code is Code.TARGET_EXISTS
    assert (tmp_path / "file").read_text() == "old"


def test_a_target_that_appears_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    target = tmp_path / "out"

    def stream() -> object:
        yield b"new"
        target.write_text("appeared")

    with pytest.raises(Art32Error) as caught:
        plugin.restore(stream(), RestoreRequest(str(target), {}))  # type: ignore[arg-type]
    assert caught.value.code is Code.TARGET_EXISTS
    assert target.read_text() == "appeared"
    assert os.listdir(tmp_path) == ["out"]


def test_a_directory_that_does_not_exist_is_an_error_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(Art32Error) as caught:
        plugin.check_target(RestoreRequest(str(tmp_path / "no" / "out"), {}))
    assert caught.value.code is Code.TARGET_FAILED
    assert "mkdir" in str(caught.value.hint)


def test_a_part_of_the_output_cannot_be_asked_for(tmp_path: Path) -> None:
    with pytest.raises(Art32Error) as caught:
        plugin.check_target(RestoreRequest(str(tmp_path / "out"), {}, only="a"))
    assert caught.value.code is Code.USAGE
