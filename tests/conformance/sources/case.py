"""What the conformance suite has to know of a kind of source.

To add a kind: a file `<kind>.py` beside this one with `make(directory, request) -> Case`.
"""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

CANARY = "canary-7c21"


@dataclass(frozen=True)
class Case:
    """One kind, with a source that holds `CANARY` in its content and, where it has any, its names.

    `config` is a source of at least 2 MiB that works, `missing` one whose object is not there.
    `target` is where nothing is yet, `existing` where something is. `content` returns what is at
    the source (None) or at a restored target, to be compared by equality. `traces` returns the
    names of everything that a dump or a restore could leave: files, databases. `settings` go into
    each RestoreRequest.

    `dies`, where the kind has a child process, makes that process end with status 3 after 90 % of
    its bytes; `cut`, where the format has a proper end, makes it end with status 0 after 90 %.
    Both return the config to use.
    """

    kind: str
    config: Any
    missing: Any
    target: str
    existing: str
    content: Callable[[str | None], object]
    traces: Callable[[], set[str]]
    settings: dict[str, Any] = field(default_factory=dict)
    dies: Callable[[pytest.MonkeyPatch], Any] | None = None
    cut: Callable[[pytest.MonkeyPatch], Any] | None = None


def wrap(directory: Path, program: str, *, status: int) -> Path:
    """Return a program in `directory` that prints 90 % of what `program` prints, and its end."""
    real = shutil.which(program)
    assert real is not None
    directory.mkdir(exist_ok=True)
    wrapper = directory / os.path.basename(program)
    whole = shlex.quote(str(directory / "whole"))
    wrapper.write_text(
        f'#!/bin/sh\n{shlex.quote(real)} "$@" >{whole} || exit 99\n'
        f"head -c $(($(stat -c %s {whole}) * 9 / 10)) {whole}\nrm {whole}\nexit {status}\n"
    )
    wrapper.chmod(0o755)
    return wrapper


def wrap_on_path(patch: pytest.MonkeyPatch, directory: Path, program: str, *, status: int) -> None:
    """Put such a wrapper first on PATH, under the program's own name."""
    wrap(directory, program, status=status)
    patch.setenv("PATH", str(directory), prepend=os.pathsep)


def names_below(directory: Path) -> set[str]:
    """Return every path below a directory."""
    return {str(path) for path in directory.rglob("*")}
