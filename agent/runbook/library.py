"""Where the runbooks are: beside the checkout, or installed with the package."""

from __future__ import annotations

import sys
from pathlib import Path

from agent.errors import Art32Error, Code
from agent.runbook.model import SEVERITIES, Runbook, read

_NOT_RUNBOOKS = ("README.md", "TEMPLATE.md")


def directory() -> Path:
    """Return the directory of the runbooks; raise RUNBOOK_MISSING when none is installed."""
    beside = Path(__file__).parent.parent.parent / "runbooks"
    installed = Path(sys.prefix) / "share" / "art32" / "runbooks"
    for place in (beside, installed):
        if place.is_dir():
            return place
    raise Art32Error(
        Code.RUNBOOK_MISSING,
        f"there is no directory `{installed}`",
        hint="the runbooks are in the repository too, under runbooks/",
    )


def paths() -> list[Path]:
    """Return the files of all runbooks, by name."""
    return sorted(path for path in directory().glob("*.md") if path.name not in _NOT_RUNBOOKS)


def everything() -> list[Runbook]:
    """Return all runbooks, the most severe first; raise RUNBOOK_INVALID."""
    found = [read(path) for path in paths()]
    return sorted(found, key=lambda one: (-SEVERITIES.index(one.severity), one.id))


def find(name: str) -> Runbook:
    """Return the runbook of a name; raise RUNBOOK_MISSING, with the nearest ones as the hint."""
    import difflib

    names = [path.stem for path in paths()]
    wanted = name.removesuffix(".md").removeprefix("runbooks/")
    if wanted in names:
        return read(directory() / f"{wanted}.md")
    near = difflib.get_close_matches(wanted, names, n=3, cutoff=0.4)
    raise Art32Error(
        Code.RUNBOOK_MISSING,
        f"there is no runbook `{name}`",
        hint=f"did you mean {' or '.join(near)}? all of them: art32 runbook list"
        if near
        else "art32 runbook list",
    )
