"""Running a runbook: block after block, each shown before and recorded after it ran."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from agent import redact
from agent.errors import Art32Error, Code
from agent.runbook.model import Block, Kind, Runbook, as_expected
from agent.runbook.shell import Outcome, open_shell

Word = Literal["ok", "failed", "unexpected", "timeout", "skipped", "manual"]
Decision = Literal["run", "skip", "stop"]
_KINDS: dict[str, tuple[Kind, ...]] = {
    "mend": ("check", "fix", "verify"),
    "verify": ("verify",),
    "undo": ("undo",),
}


@dataclass(frozen=True)
class StepResult:
    """What became of one block; `seconds` of wall time."""

    step: int
    kind: Kind
    word: Word
    seconds: float = 0.0


class Person(Protocol):
    """Whoever watches: sees a block before it runs, decides, sees what it prints."""

    def decide(self, block: Block) -> Decision: ...

    def show(self, piece: str) -> None: ...


def chosen(runbook: Runbook, purpose: str, first: int) -> tuple[Block, ...]:
    """Return the blocks for a purpose (`mend`, `verify` or `undo`), from step `first` on.

    Raise USAGE when there is no such step.
    """
    if not 1 <= first <= len(runbook.blocks):
        raise Art32Error(
            Code.USAGE,
            f"`{runbook.id}` has no step {first}: it has {len(runbook.blocks)}",
            hint=f"art32 runbook run {runbook.id} --dry-run",
        )
    kinds = _KINDS[purpose]
    return tuple(block for block in runbook.blocks if block.kind in kinds and block.step >= first)


def missing(
    runbook: Runbook, blocks: tuple[Block, ...], given: Mapping[str, str]
) -> dict[str, str]:
    """Return what these blocks need and nobody has said: name and meaning."""
    needed = runbook.variables(blocks)
    return {name: meaning for name, meaning in needed.items() if not given.get(name)}


def run(
    runbook: Runbook,
    blocks: tuple[Block, ...],
    *,
    variables: Mapping[str, str],
    environment: Mapping[str, str],
    person: Person,
    record: Callable[[StepResult], object],
) -> list[StepResult]:
    """Run blocks in their order and return what became of each.

    `record` is called after each one. Raise RUNBOOK_STOPPED at the first that fails, takes too
    long, or prints something else than its `output`: what follows it would act on a wrong belief.
    """
    results: list[StepResult] = []

    def note(result: StepResult) -> None:
        results.append(result)
        record(result)

    with open_shell(variables, environment) as shell:
        for block in blocks:
            decision = person.decide(block)
            if decision == "stop":
                break
            if decision == "skip" or block.manual:
                done = decision == "run" and block.manual
                note(StepResult(block.step, block.kind, "manual" if done else "skipped"))
                continue
            outcome = shell.run(block.text, timeout=block.timeout, show=person.show)
            word = _word(block, outcome)
            note(StepResult(block.step, block.kind, word, round(outcome.seconds, 1)))
            if word != "ok":
                raise _stopped(runbook, block, word, outcome)
    return results


def _word(block: Block, outcome: Outcome) -> Word:
    if outcome.status is None:
        return "timeout"
    if outcome.status != 0:
        return "failed"
    if block.expected is not None and not as_expected(block.expected, outcome.printed):
        return "unexpected"
    return "ok"


def _stopped(runbook: Runbook, block: Block, word: Word, outcome: Outcome) -> Art32Error:
    what = {
        "timeout": f"did not end in {block.timeout} s",
        "failed": f"failed with status {outcome.status}",
        "unexpected": "printed something else than the runbook says",
    }[word]
    again = f"art32 runbook run {runbook.id} --step {block.step}"
    return Art32Error(
        Code.RUNBOOK_STOPPED,
        f"step {block.step} of `{runbook.id}` ({block.kind}: {block.heading}) {what}",
        hint=f"read what it printed; then go on with {again}, or escalate after "
        f"{runbook.escalate_after} minutes",
        runbook=runbook.id,
    )


def transcript_line(text: str) -> str:
    """Return one line of a block or of its output as it may be kept: masked, without control
    characters."""
    return re.sub(r"\s+$", "", redact.line(text))
