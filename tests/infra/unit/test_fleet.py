"""The document that runs a verb on many machines: what it takes, and what reaches the agent."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import click
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent.cli import LazyGroup, root
from infra import fleet
from infra.fleet import HOSTILE, PATTERN, VERBS

FINE = [
    *VERBS,
    "backup run --dry-run",
    "backup verify --host db --newest",
    "backup prune --retired db/app".replace("/", ":"),
    "health own_files keys",
    "runbook show restore-database",
]


def script(verb: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the document's script as Systems Manager does: the parameter is written into its text."""
    agent = folder / "art32"
    agent.write_text('#!/bin/bash\nprintf "<%s>" "$@"\n')
    agent.chmod(0o755)
    text = "\n".join(fleet.commands()).replace("{{ verb }}", verb)
    text = text.replace("/usr/bin/art32", str(agent))
    return subprocess.run(
        ["bash", "-c", text], capture_output=True, text=True, check=False, cwd=folder, timeout=20
    )


@pytest.mark.parametrize("verb", FINE)
def test_a_verb_reaches_the_agent_as_words(verb: str, tmp_path: Path) -> None:
    assert re.search(PATTERN, verb)
    done = script(verb, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "".join(f"<{word}>" for word in verb.split(" "))


@pytest.mark.parametrize("tail", [one for one in HOSTILE if "\0" not in one])
@pytest.mark.parametrize("verb", ["health", "backup run"])
def test_what_a_shell_would_expand_is_refused_by_pattern_and_by_script(
    verb: str, tail: str, tmp_path: Path
) -> None:
    assert not re.search(PATTERN, verb + tail)
    done = script(verb + tail, tmp_path)
    # a second line is never read as part of the verb
    assert done.returncode == 2 or done.stdout == "".join(f"<{one}>" for one in verb.split())
    assert "uid=" not in done.stdout + done.stderr
    assert [one.name for one in tmp_path.iterdir()] == ["art32"]


@pytest.mark.parametrize(
    "verb",
    [
        *("", " ", "health ", " health", "health  keys", "Health", "restore app --to out"),
        *("logs restore nginx", "logs scrub", "--config x health", "backup", "backup delete x"),
        *("host accept " + "A" * 40, "drill challenge escrow", "runbook run restore-database"),
        "health " + "a" * fleet.LONGEST,
    ],
)
def test_what_is_no_verb_for_many_machines_is_refused(verb: str, tmp_path: Path) -> None:
    assert not re.search(PATTERN, verb) or len(verb) > fleet.LONGEST
    done = script(verb, tmp_path)
    assert (done.returncode, done.stdout) == (2, "")


@given(st.text(max_size=40))
@example("health\n")
@example("health\x0b")
def test_nothing_matches_but_plain_words(text: str) -> None:
    if re.search(PATTERN, text):
        assert re.fullmatch(r"[A-Za-z0-9_.,:=@+ -]+\n?", text)
        assert text.startswith(VERBS)


def test_the_pattern_keeps_the_end_of_the_script_s_text_out() -> None:
    # the script alone would run what follows: this is the pattern's to refuse
    assert not re.search(PATTERN, "health\nEND_OF_THE_VERB\ntouch left")


def leaves(group: click.Group, context: click.Context) -> dict[str, click.Command]:
    found: dict[str, click.Command] = {}
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            inner = leaves(command, click.Context(command, parent=context))
            found |= {f"{name} {verb}": one for verb, one in inner.items()}
        else:
            found[name] = command
    return found


def test_every_verb_that_may_be_run_is_one_of_the_agent() -> None:
    assert isinstance(root, LazyGroup)
    verbs = leaves(root, click.Context(root))
    assert set(VERBS) <= set(verbs)
    # these print what was backed up or logged, or decide whose backups count
    for verb in ("restore", "logs restore", "logs scrub", "host accept", "backup delete"):
        assert verb in verbs
        assert verb not in VERBS
