"""Following a runbook: one shell, every status counts, nothing runs on after a failure."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from agent.errors import Art32Error, Code
from agent.run import readable
from agent.runbook.model import Block, Runbook, parse
from agent.runbook.run import Decision, StepResult, chosen, missing, run
from tests.unit.runbook.test_model import BODY, HEAD


def page(*blocks: str) -> Runbook:
    """Return a runbook of blocks, each `KIND FLAGS` on its first line."""
    fences = []
    for block in blocks:
        info, _, text = block.partition("\n")
        fences.append(f"```sh {info}\n{text}\n```\n")
    return parse("page", HEAD + BODY.replace("## Verify\n", "## Verify\n\n" + "\n".join(fences), 1))


class Watcher:
    """Lets everything run, and remembers what it has seen."""

    def __init__(self, *decisions: Decision) -> None:
        self.decisions = list(decisions)
        self.seen: list[int] = []
        self.printed = ""

    def decide(self, block: Block) -> Decision:
        self.seen.append(block.step)
        return self.decisions.pop(0) if self.decisions else "run"

    def show(self, piece: str) -> None:
        self.printed += piece


def go(
    runbook: Runbook, *decisions: Decision, **variables: str
) -> tuple[Watcher, list[StepResult], Art32Error | None]:
    watcher, results = Watcher(*decisions), list[StepResult]()
    error = None
    try:
        run(
            runbook,
            runbook.blocks,
            variables=variables,
            environment={},
            person=watcher,
            record=results.append,
        )
    except Art32Error as caught:
        error = caught
    return watcher, results, error


def words(results: list[StepResult]) -> list[str]:
    return [one.word for one in results]


def test_variables_and_directories_last_from_block_to_block(tmp_path: Path) -> None:
    runbook = page(f"fix\ncd {tmp_path}; found=42", 'check\necho "$PWD $found"')
    watcher, results, error = go(runbook)
    assert error is None
    assert words(results) == ["ok", "ok"]
    assert watcher.printed == f"{tmp_path} 42\n"


@pytest.mark.parametrize(
    "failing",
    ["false", "false\ntrue", "true | false | true", 'echo "$NOBODY_HAS_SET_THIS"', "(exit 3)"],
)
def test_the_first_command_that_fails_stops_the_runbook(failing: str, tmp_path: Path) -> None:
    runbook = page(f"fix\n{failing}", f"fix\ntouch {tmp_path}/ran")
    watcher, results, error = go(runbook)
    assert words(results) == ["failed"]
    assert watcher.seen == [1]
    assert not (tmp_path / "ran").exists()
    assert error is not None
    assert error.code is Code.RUNBOOK_STOPPED
    assert "step 1 of `page` (fix: Verify) failed with status" in error.sentence
    assert "art32 runbook run page --step 1" in (error.hint or "")


def test_a_block_that_ends_the_shell_is_no_success(tmp_path: Path) -> None:
    runbook = page("fix\nexit 0", f"fix\ntouch {tmp_path}/ran")
    _, results, error = go(runbook)
    assert words(results) == ["failed"]
    assert error is not None
    assert not (tmp_path / "ran").exists()


def test_what_is_printed_is_compared() -> None:
    right = page("check\nseq 3")
    block = Block(**{**vars(right.blocks[0]), "expected": "1\n...\n3"})
    fits = Runbook(**{**vars(right), "blocks": (block,)})
    assert words(go(fits)[1]) == ["ok"]
    other = Block(**{**vars(block), "expected": "1\n...\n4"})
    _, results, error = go(Runbook(**{**vars(right), "blocks": (other,)}))
    assert words(results) == ["unexpected"]
    assert error is not None
    assert "printed something else than the runbook says" in error.sentence


def test_a_block_that_takes_too_long_is_ended() -> None:
    _, results, error = go(page("check timeout=1s\nsleep 600"))
    assert words(results) == ["timeout"]
    assert error is not None
    assert "did not end in 1 s" in error.sentence


def test_what_a_block_leaves_in_the_background_does_not_hold_the_next_one_up(
    tmp_path: Path,
) -> None:
    os.mkfifo(tmp_path / "fifo")
    held = os.open(tmp_path / "fifo", os.O_RDWR)
    try:  # what reads it ends when nobody can write to it any more
        watcher, results, error = go(page(f"fix\ncat {tmp_path}/fifo &", "check\necho next"))
    finally:
        os.close(held)
    assert error is None
    assert words(results) == ["ok", "ok"]
    assert "next" in watcher.printed


def test_standard_error_is_shown_in_its_place() -> None:
    watcher, _, _ = go(page("check\necho one; echo two >&2; echo three"))
    assert watcher.printed == "one\ntwo\nthree\n"


def test_skipped_and_manual_blocks_do_not_run(tmp_path: Path) -> None:
    touch = f"touch {tmp_path}/ran"
    runbook = page(f"fix\n{touch}", f"fix manual\n{touch}", f"fix manual\n{touch}", "check\ntrue")
    _, results, _ = go(runbook, "skip", "skip", "run", "run")
    assert words(results) == ["skipped", "skipped", "manual", "ok"]
    assert not (tmp_path / "ran").exists()


def test_a_value_is_taken_as_it_is_and_no_child_sees_it(tmp_path: Path) -> None:
    value = "a 'b' \"c\" $(touch nothing) ; & \\"
    runbook = page('check\nprintf "%s\\n" "${NAME:?a name}"; env | grep -c ^NAME= || true')
    watcher, _, error = go(runbook, NAME=value)
    assert error is None
    assert watcher.printed == f"{value}\n0\n"


def test_what_must_be_filled_in_is_known_before_anything_runs() -> None:
    runbook = page('fix\necho "${ONE:?the first}"', 'undo\necho "${TWO:?the second}"')
    assert missing(runbook, runbook.blocks, {"TWO": "x"}) == {"ONE": "the first"}
    assert [block.kind for block in chosen(runbook, "undo", 1)] == ["undo"]
    assert chosen(runbook, "mend", 2) == ()
    with pytest.raises(Art32Error, match="has no step 3: it has 2"):
        chosen(runbook, "mend", 3)


def art32(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "agent", "--config", str(cwd / "none.toml"), "runbook", *arguments],
        cwd=Path(__file__).parents[3],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


RECORD = ("run", "personal-data-breach")


def test_nothing_runs_without_a_person_or_yes(tmp_path: Path) -> None:
    done = art32(*RECORD, cwd=tmp_path)
    assert done.returncode == 2
    assert "nobody is at a terminal to be asked" in done.stderr
    assert "--yes" in done.stderr


def test_all_missing_values_are_named_at_once(tmp_path: Path) -> None:
    done = art32(*RECORD, "--yes", cwd=tmp_path)
    assert done.returncode == 2
    assert "`AWARE`: when you became aware" in done.stderr
    assert "`RECORD`: a new file" in done.stderr
    assert "hint: --set AWARE=... --set RECORD=..." in done.stderr


def test_a_broken_configuration_does_not_keep_a_runbook_from_running(tmp_path: Path) -> None:
    record, transcript = tmp_path / "record", tmp_path / "transcript"
    given = ("--set", "AWARE=2026-11-24 03:14 UTC", "--set", f"RECORD={record}")
    done = art32(*RECORD, "--yes", *given, "--record", str(transcript), cwd=tmp_path)
    assert done.returncode == 20, done.stderr
    assert "nothing is recorded in the ledger" in done.stdout + done.stderr
    assert record.exists()
    assert "the notification is due by 2026-11-27 03:14 UTC" in transcript.read_text()
    assert transcript.stat().st_mode & 0o777 == 0o600


def test_a_transcript_is_masked(tmp_path: Path) -> None:
    transcript = tmp_path / "transcript"
    given = ("--set", "AWARE=2026-11-24 03:14 UTC", "--set", "RECORD=/nowhere/user@example.org")
    done = art32(*RECORD, "--yes", *given, "--record", str(transcript), cwd=tmp_path)
    assert done.returncode == 14
    assert "user@example.org" not in transcript.read_text()


def test_a_dry_run_shows_all_steps_and_what_they_need(tmp_path: Path) -> None:
    done = art32("run", "disk-full", "--dry-run", cwd=tmp_path)
    assert done.returncode == 0
    assert "step 3, fix, danger: 3. Remove what may go" in done.stdout
    assert "REMOVE: the file or directory that may go" in done.stdout


def test_what_destroys_something_needs_a_word_of_its_own(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.touch()
    given = ("--set", f"PLACE={tmp_path}", "--set", f"REMOVE={victim}")
    done = art32("run", "disk-full", "--yes", *given, "--step", "3", cwd=tmp_path)
    assert done.returncode == 2
    assert "say --danger as well as --yes" in done.stderr
    assert victim.exists()


def test_the_list_shows_the_most_severe_first(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "agent", "--output", "json", "runbook", "list"],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        check=True,
    )
    pages = json.loads(done.stdout)["data"]
    assert [one["severity"] for one in pages] == sorted(
        (one["severity"] for one in pages), key=["critical", "high", "low"].index
    )


def test_a_person_at_a_terminal_is_asked_before_each_step(tmp_path: Path) -> None:
    """A real terminal: values are asked for, `s` skips, a danger wants the page's name."""
    victim = tmp_path / "victim"
    victim.touch()
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "agent", "--config", str(tmp_path / "none.toml")]
    with subprocess.Popen(
        [*command, "runbook", "run", "disk-full", "--step", "2"],
        cwd=Path(__file__).parents[3],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        start_new_session=True,
    ) as child:
        os.close(follower)
        seen = ""

        def until(mark: str) -> None:
            nonlocal seen
            while mark not in seen:
                assert readable([leader], 60), seen
                seen += os.read(leader, 4096).decode()
            seen = seen.split(mark, 1)[1]

        def answer(text: str) -> None:
            os.write(leader, f"{text}\n".encode())

        until("PLACE (a directory on the full disk, as /var/lib/art32): ")
        answer(str(tmp_path))
        until("REMOVE (the file or directory that may go): ")
        answer(str(victim))
        until("run it? [y]es, [s]kip, [q]uit: ")
        answer("s")
        until("this destroys something; type `disk-full` to run it: ")
        answer("yes")
        assert child.wait(60) == 20
    os.close(leader)
    assert victim.exists()
