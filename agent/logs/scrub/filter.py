"""What `art32 logs scrub` does: a filter, files in place, or a list of what would go."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from pydantic import ValidationError

from agent import output
from agent.config.logs_scrub import Scrub
from agent.errors import Art32Error, Code
from agent.logs.scrub import Report, kernel, lines, open_scrubber, rules_of

if TYPE_CHECKING:
    from agent.logs.scrub.found import Found, Rules

_OPTIONS = {"exempt_networks": "exempt"}


def settings(config_path: Path, given: Mapping[str, Any]) -> Scrub:
    """Return the settings of the file, if there is one, under those that are given.

    A file that is there and wrong raises CONFIG_INVALID: no silent fall back to the defaults.
    """
    base = Scrub()
    if config_path.exists():
        from agent.config.load import load

        base = load(config_path).logs.scrub
    chosen = {name: value for name, value in given.items() if value not in (None, ())}
    try:
        return Scrub.model_validate({**base.model_dump(exclude_unset=True), **chosen})
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        name = str(first["loc"][0])
        option = _OPTIONS.get(name, name.replace("_", "-"))
        reason = first["msg"].removeprefix("Value error, ")
        raise Art32Error(
            Code.USAGE, f"`--{option}` {reason}", hint="art32 logs scrub --help"
        ) from None


def scrub_input(chosen: Scrub, *, source: int = 0, target: int = 1) -> Report:
    """Scrub what comes from a descriptor to another, block by block, until its end."""
    scrubber = open_scrubber(chosen)
    for block in lines.blocks_read(lambda memory: os.readv(source, [memory]), scrubber.report):
        scrubbed = memoryview(scrubber.view(block))
        while scrubbed:
            try:
                scrubbed = scrubbed[os.write(target, scrubbed) :]
            except OSError as error:
                raise Art32Error(
                    Code.OUTPUT_FAILED, f"the output cannot be written: {error.strerror}"
                ) from error
    return scrubber.report


def say(report: Report, form: output.Form) -> None:
    """Tell of a filter's work on standard error: standard output is the lines'."""
    if form == "json":
        document = {"schema": "art32.logs.scrub/1", "data": report.document()}
        print(json.dumps(document), file=sys.stderr)  # noqa: T201
    else:
        output.say(report.sentence())


def scrub_files(paths: Sequence[Path], chosen: Scrub) -> output.Answer:
    """Scrub files in place, one after the other; the first that fails ends it."""
    from agent.logs.scrub.files import scrub_file

    said, data = [], []
    for path in paths:
        report, engine = scrub_file(path, chosen)
        said.append(f"{path}: {report.sentence()}")
        data.append({"file": str(path), "engine": engine, **report.document()})
    warnings = [] if (reason := kernel.trial()) is None else [f"scrubbed without kernel: {reason}"]
    return output.Answer("art32.logs.scrub/1", {"files": data}, said, warnings)


def dry_run(paths: Sequence[Path], chosen: Scrub) -> output.Answer:
    """List the place, the length and the kind of each span that would go, and nothing of it."""
    rules = rules_of(chosen)
    said, data = [], []
    for path in paths or (None,):
        name = "-" if path is None else str(path)
        for number, found in _spans(path, rules):
            said.append(
                f"{name}:{number}:{found.start + 1}: {found.kind}, {found.end - found.start} bytes"
            )
            data.append(
                {
                    "file": name,
                    "line": number,
                    "column": found.start + 1,
                    "bytes": found.end - found.start,
                    "kind": found.kind,
                }
            )
    said.append(f"{len(data)} spans, nothing was changed")
    return output.Answer("art32.logs.scrub.plan/1", {"spans": data}, said)


def _spans(path: Path | None, rules: Rules) -> Iterator[tuple[int, Found]]:
    from agent.logs.scrub.reference import find

    try:
        with open(0 if path is None else path, "rb", closefd=path is not None) as file:
            number = 1
            for block in lines.blocks(_chunks(file)):
                for line in block.split(b"\n"):
                    for each in find(line, rules)[0]:
                        if each.kind != "exempt":
                            yield number, each
                    number += 1
                number -= 1
    except OSError as error:
        raise Art32Error(Code.USAGE, f"`{path or '-'}` cannot be read: {error.strerror}") from error


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    while read := file.read(lines.BLOCK):
        yield read
