"""What holds for every runbook before anyone follows it: shape, links, commands that exist."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from agent.cli import root
from agent.errors import RUNBOOKS, Code
from agent.runbook import library
from agent.runbook.model import Block, Runbook, parse

ALL = library.everything()
DIRECTORY = library.directory()
BLOCKS = [(runbook, block) for runbook in ALL for block in runbook.blocks]
BIN = Path(sys.executable).parent
PLACEHOLDERS = re.compile(
    r"\$\{[A-Z_]+(?::\?[^}]*|-)\}|\$[A-Z]+[^\s\"]*|\b(?:ID|HOST/SOURCE|TIME)\b"
)
# conditions that no page mends: a wrong command line, a defect, a signal, the runbooks themselves
WITHOUT_RUNBOOK = {
    *(Code.USAGE, Code.DEFECT, Code.INTERRUPTED, Code.PERMISSION, Code.OUTPUT_FAILED),
    *(Code.RUNBOOK_INVALID, Code.RUNBOOK_MISSING, Code.RUNBOOK_STOPPED),
}


def label(value: Runbook | Block) -> str:
    return value.id if isinstance(value, Runbook) else f"step-{value.step}"


def section(runbook: Runbook, title: str) -> str:
    return runbook.text.split(f"## {title}\n", 1)[1].split("\n## ", 1)[0].strip()


def test_the_template_is_a_runbook_itself() -> None:
    template = parse("TEMPLATE", (DIRECTORY / "TEMPLATE.md").read_text())
    assert {block.kind for block in template.blocks} == {"check", "fix", "verify", "undo"}


@pytest.mark.parametrize("runbook", ALL, ids=label)
class TestEveryRunbook:
    def test_its_heading_is_its_title_and_begins_with_a_verb(self, runbook: Runbook) -> None:
        assert re.search(rf"^# {re.escape(runbook.title)}$", runbook.text, re.MULTILINE)
        assert re.fullmatch(r"[A-Z][a-z]+ .+[^.]", runbook.title)

    def test_no_section_is_empty(self, runbook: Runbook) -> None:
        assert [one for one in runbook.headings if len(section(runbook, one)) < 20] == []

    def test_it_can_be_verified(self, runbook: Runbook) -> None:
        assert any(block.kind == "verify" for block in runbook.blocks)

    def test_it_says_after_how_many_minutes_to_escalate(self, runbook: Runbook) -> None:
        minutes = runbook.escalate_after
        spoken = {f"After {minutes} minutes": True}
        if minutes % 60 == 0:
            words = {1: "one hour", 2: "two hours", 4: "four hours"}
            spoken[f"After {words.get(minutes // 60, '')}"] = True
        assert any(section(runbook, "Escalate").startswith(words) for words in spoken)

    def test_every_link_leads_to_a_file(self, runbook: Runbook) -> None:
        links = re.findall(r"\]\(([^)#]+)\)", runbook.text)
        missing = [link for link in links if not (DIRECTORY / link).is_file()]
        assert missing == []

    def test_it_fits_on_a_few_screens(self, runbook: Runbook) -> None:
        assert len(runbook.text.splitlines()) <= 200

    def test_nothing_in_it_is_left_to_do(self, runbook: Runbook) -> None:
        assert re.search(r"TODO|FIXME|XXX|TBD", runbook.text) is None


@pytest.mark.parametrize(("runbook", "block"), BLOCKS, ids=lambda value: label(value))
class TestEveryBlock:
    def test_bash_can_parse_it(self, runbook: Runbook, block: Block) -> None:
        done = subprocess.run(
            ["bash", "-n"], input=block.text, text=True, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr

    def test_it_has_no_prompt_and_no_placeholder_that_bash_would_take_for_text(
        self, runbook: Runbook, block: Block
    ) -> None:
        assert re.search(r"^\s*[$#] ", block.text, re.MULTILINE) is None
        assert re.search(r"\$\{[a-z]+-[a-z]", block.text) is None
        if not block.manual:
            assert re.search(r"<[a-z -]+>", block.text) is None

    def test_no_condition_is_turned_round_where_its_failure_would_stop_nothing(
        self, runbook: Runbook, block: Block
    ) -> None:
        """`! command` never ends a shell under `set -e`; as the last command it fails the block."""
        commands = re.sub(r"\\\n", " ", block.text).rstrip().split("\n")
        assert [line for line in commands[:-1] if line.lstrip().startswith("! ")] == []

    def test_what_destroys_something_says_so(self, runbook: Runbook, block: Block) -> None:
        destroys = re.search(
            r"\brm --recursive|\bdropdb\b|\bRENAME TO\b|delete --apply|prune --apply|\bDROP\b",
            block.text,
        )
        assert not destroys or block.danger or block.manual


def test_shellcheck_finds_nothing_in_any_block(tmp_path: Path) -> None:
    files = []
    for runbook in ALL:
        script = tmp_path / f"{runbook.id}.sh"
        text = "\n".join(block.text for block in runbook.blocks)
        # blocks go on in one shell: what one sets the next uses
        script.write_text(f"#!/bin/bash\nset -Eeuo pipefail\n{text}")
        files.append(str(script))
    skip = "SC2086,SC2164,SC1090"  # options on purpose unquoted; set -e is on
    done = subprocess.run(
        [str(BIN / "shellcheck"), f"--exclude={skip}", "--severity=warning", *files],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def commands_of(runbook: Runbook) -> list[list[str]]:
    """Return the words of every art32 command line: in blocks, and between backticks in prose."""
    prose = re.sub(r"^```.*?^```$", "", runbook.text, flags=re.MULTILINE | re.DOTALL)
    lines = re.findall(r"`(art32 [^`]*)`", prose)
    for block in runbook.blocks:
        joined = re.sub(r"\\\n\s*", " ", PLACEHOLDERS.sub("VALUE", block.text))
        for part in re.split(r"\n|;|&&|\|\|?", joined):
            if match := re.match(r"\s*(?:! )?(art32 .*)", part):
                lines.append(match[1])
    return [shlex.split(PLACEHOLDERS.sub("VALUE", line))[1:] for line in lines]


def test_every_art32_command_is_one_that_the_command_line_takes() -> None:
    seen = 0
    for runbook in ALL:
        for words in commands_of(runbook):
            said = f"{runbook.id}: art32 {' '.join(words)}"
            command: click.Command = root
            context, rest = click.Context(root, info_name="art32"), list(words)
            while isinstance(command, click.Group) and rest:
                _, (name, *rest), _ = command.make_parser(context).parse_args(rest)
                found = command.get_command(context, name)
                assert found is not None, said
                command, context = found, click.Context(found, info_name=name, parent=context)
            assert not isinstance(command, click.Group), said
            options = {name for one in command.params for name in (*one.opts, *one.secondary_opts)}
            used = {word.split("=")[0] for word in rest if word.startswith("--")}
            assert used <= options, said
            seen += 1
    assert seen > 25


def test_every_error_has_a_runbook_or_is_one_that_no_page_mends() -> None:
    named = {error: runbook.id for runbook in ALL for error in runbook.errors}
    assert len(named) == sum(len(runbook.errors) for runbook in ALL), "a code has two runbooks"
    assert {code.label: page for code, page in RUNBOOKS.items()} == named
    assert {code for code in Code if code not in RUNBOOKS} == WITHOUT_RUNBOOK


def test_an_alert_has_one_runbook() -> None:
    # a health check may name another page for each of its results
    alerts = [one for page in ALL for one in page.alerts if not one.startswith("health:")]
    assert len(alerts) == len(set(alerts))


def test_steps_that_nobody_can_run_by_machine_are_few_and_counted() -> None:
    manual = [f"{runbook.id} {block.step}" for runbook, block in BLOCKS if block.manual]
    assert len(manual) <= len(BLOCKS) / 3, manual
