"""Who decides about each block: the person at the terminal, or the options of an unattended run."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

from agent.errors import Art32Error, Code
from agent.runbook.model import Block
from agent.runbook.run import Decision

_QUESTION = "run it? [y]es, [s]kip, [q]uit: "
_DONE = "done by hand? [y]es, [s]kip, [q]uit: "
_ANSWERS: dict[str, Decision] = {"y": "run", "s": "skip", "q": "stop"}


def present() -> bool:
    """Whether a person can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


@dataclass(frozen=True)
class AtTerminal:
    """Asks before each block; for what destroys something the runbook's name has to be typed."""

    runbook: str
    say: Callable[[str], object]
    write: Callable[[str], object]

    def decide(self, block: Block) -> Decision:
        self.say("\n".join(["", *introduction(block), ""]))
        if block.danger and not block.manual:
            typed = self._ask(f"this destroys something; type `{self.runbook}` to run it: ")
            return "run" if typed == self.runbook else "stop"
        while True:
            answer = self._ask(_DONE if block.manual else _QUESTION)[:1].lower()
            if answer in _ANSWERS:
                return _ANSWERS[answer]

    def _ask(self, question: str) -> str:
        self.write(question)
        line = sys.stdin.readline()
        return line.strip() if line else "q"

    def show(self, piece: str) -> None:
        self.write(piece)


@dataclass(frozen=True)
class Unattended:
    """Runs everything; stops before what destroys something unless told, skips what is manual."""

    danger: bool
    say: Callable[[str], object]
    write: Callable[[str], object]

    def decide(self, block: Block) -> Decision:
        self.say("\n".join(["", *introduction(block), ""]))
        if block.manual:
            return "skip"
        if block.danger and not self.danger:
            raise Art32Error(
                Code.USAGE,
                f"step {block.step} destroys something, and nobody is at a terminal",
                hint="run it at a terminal, or say --danger as well as --yes",
            )
        return "run"

    def show(self, piece: str) -> None:
        self.write(piece)


def introduction(block: Block) -> list[str]:
    """Return what a person reads before a block runs."""
    marks = [word for word, on in (("danger", block.danger), ("manual", block.manual)) if on]
    head = f"step {block.step}, {block.kind}" + "".join(f", {mark}" for mark in marks)
    return [
        f"{head}: {block.heading}",
        *(f"    {line}" for line in block.text.rstrip().split("\n")),
    ]
