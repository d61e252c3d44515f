"""`art32 runbook run` behind its options: variables, the person, the record, the answer."""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from agent import clock, output
from agent.errors import Art32Error, Code, ExitStatus
from agent.ledger import Ledger
from agent.runbook import run
from agent.runbook.model import Block, Runbook
from agent.runbook.person import AtTerminal, Unattended, introduction, present

STARTED = "runbook-started"
STEP = "runbook-step"
FINISHED = "runbook-finished"


@dataclass(frozen=True)
class Wish:
    """The options. `given` are texts NAME=VALUE, `variables` a file of such lines."""

    purpose: str = "mend"
    first: int = 1
    dry_run: bool = False
    yes: bool = False
    danger: bool = False
    given: tuple[str, ...] = ()
    variables: Path | None = None
    record: Path | None = None


def follow(runbook: Runbook, wish: Wish, *, config_path: Path) -> output.Answer:
    """Follow a runbook as wished and return what came of it.

    Raise USAGE when it cannot begin, RUNBOOK_STOPPED when a step stops it. The ledger of the
    configuration gets every step; when there is no usable configuration a warning says so, for
    that may be the very fault to mend.
    """
    blocks = run.chosen(runbook, wish.purpose, wish.first)
    values = _values(wish)
    if wish.dry_run:
        return _plan(runbook, blocks, run.missing(runbook, blocks, values))
    if not wish.yes and not present():
        raise Art32Error(
            Code.USAGE,
            "nobody is at a terminal to be asked",
            hint=f"look at it with --dry-run, then: art32 runbook run {runbook.id} --yes",
        )
    values = _complete(runbook, blocks, values, ask=not wish.yes)
    ledger, warnings = _ledger(config_path)
    with _transcript(wish.record) as write:
        person = (
            Unattended(wish.danger, output.say, write)
            if wish.yes
            else AtTerminal(runbook.id, output.say, write)
        )
        number = secrets.token_hex(8)
        _note(ledger, STARTED, run=number, runbook=runbook.id, purpose=wish.purpose)
        ended = "stopped"
        try:
            results = run.run(
                runbook,
                blocks,
                variables=values,
                environment={"ART32_CONFIG": str(config_path)},
                person=person,
                record=lambda done: _note(
                    ledger, STEP, run=number, runbook=runbook.id, **vars(done)
                ),
            )
            ended = "ended" if len(results) == len(blocks) else "left"
        finally:
            _note(ledger, FINISHED, run=number, runbook=runbook.id, result=ended)
    return _answer(runbook, blocks, results, warnings)


def _answer(
    runbook: Runbook,
    blocks: tuple[Block, ...],
    results: list[run.StepResult],
    warnings: list[str],
) -> output.Answer:
    left = [str(block.step) for block in blocks[len(results) :]]
    skipped = [str(one.step) for one in results if one.word == "skipped"]
    if left:
        warnings = [
            *warnings,
            f"left at step {left[0]}: art32 runbook run {runbook.id} --step {left[0]}",
        ]
    if skipped:
        warnings = [*warnings, f"not done, by hand or at all: step {', '.join(skipped)}"]
    seconds = sum(one.seconds for one in results)
    line = f"{runbook.id}: {len(results)} of {len(blocks)} steps in {output.duration(seconds)}"
    data = {"runbook": runbook.id, "steps": [vars(one) for one in results]}
    status = ExitStatus.WARNINGS if warnings else ExitStatus.OK
    return output.Answer("art32.runbook-run/1", data, [line], warnings, status)


def _plan(runbook: Runbook, blocks: tuple[Block, ...], missing: dict[str, str]) -> output.Answer:
    lines = [runbook.title]
    for block in blocks:
        lines += ["", *introduction(block)]
    if missing:
        lines += ["", "to be filled in:", *(f"  {name}: {text}" for name, text in missing.items())]
    data = {
        "runbook": runbook.id,
        "variables": missing,
        "steps": [{**vars(block), "expected": block.expected} for block in blocks],
    }
    return output.Answer("art32.runbook-plan/1", data, lines)


def _values(wish: Wish) -> dict[str, str]:
    values: dict[str, str] = {}
    texts = list(wish.given)
    if wish.variables is not None:
        try:
            texts += wish.variables.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise Art32Error(
                Code.USAGE, f"the file of variables `{wish.variables}` cannot be read"
            ) from error
    for text in texts:
        name, equals, value = text.partition("=")
        if not text.strip() or text.startswith("#"):
            continue
        if not equals or not name.isidentifier() or not name.isupper():
            raise Art32Error(
                Code.USAGE,
                f"`{name[:40]}` is no name of a variable with a value",
                hint="as in --set SOURCE=app",
            )
        values[name] = value
    return values


def _complete(
    runbook: Runbook, blocks: tuple[Block, ...], values: dict[str, str], *, ask: bool
) -> dict[str, str]:
    missing = run.missing(runbook, blocks, values)
    if missing and not ask:
        what = "; ".join(f"`{name}`: {meaning}" for name, meaning in missing.items())
        raise Art32Error(
            Code.USAGE,
            f"`{runbook.id}` needs to know {what}",
            hint=" ".join(f"--set {name}=..." for name in missing),
        )
    for name, meaning in missing.items():
        sys.stderr.write(f"{name} ({meaning}): ")
        sys.stderr.flush()
        values[name] = sys.stdin.readline().rstrip("\n")
        if not values[name]:
            raise Art32Error(Code.USAGE, f"`{name}` is empty", hint=f"it is: {meaning}")
    return values


def _ledger(config_path: Path) -> tuple[Ledger | None, list[str]]:
    from agent.config.load import load

    try:
        config = load(config_path)
    except Art32Error as error:
        return None, [f"nothing is recorded in the ledger: {error.sentence}"]
    return Ledger(config.state_directory / "ledger.jsonl"), []


def _note(ledger: Ledger | None, event: str, **facts: str | int | float | None) -> None:
    """Record it; a disk that is full must not stop the runbook that empties it."""
    if ledger is not None:
        try:
            ledger.append(event, **facts)
        except Art32Error as error:
            output.say(f"warning: not recorded: {error.sentence}")


@contextlib.contextmanager
def _transcript(path: Path | None) -> Iterator[Callable[[str], object]]:
    """Yield what shows a piece of output, and keeps it masked when a file is named."""
    if path is None:
        yield _write
        return
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise Art32Error(
            Code.DISK, f"the record `{path}` cannot be written: {error.strerror}"
        ) from error
    with os.fdopen(descriptor, "a", encoding="utf-8") as file:
        yield _Masked(file).write


class _Masked:
    """Shows pieces as they come and keeps whole lines, masked, with the time."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._open = ""

    def write(self, piece: str) -> None:
        _write(piece)
        *lines, self._open = (self._open + piece).split("\n")
        for line in lines:
            self._file.write(f"{clock.iso(clock.now())} {run.transcript_line(line)}\n")


def _write(piece: str) -> None:
    sys.stderr.write(piece)
    sys.stderr.flush()
