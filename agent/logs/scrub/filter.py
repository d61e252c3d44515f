"""What `art32 logs scrub` does: a filter, files in place, or a list of what would go."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from agent import output
from agent.config.scrubbing import Defaults, InvalidSettingError, Settings
from agent.errors import Art32Error, Code
from agent.logs.scrub import Report, kernel, lines, open_scrubber, rules_of

if TYPE_CHECKING:
    from agent.logs.scrub.found import Found, Rules

_OPTIONS = {"exempt_networks": "exempt"}


def settings(config_path: Path, given: Mapping[str, Any]) -> Settings:
    """Return the settings of the file, if there is one, under those that are given.

    A file that is there and wrong raises CONFIG_INVALID: no silent fall back to the defaults. What
    is given has the types and ranges of the options of `art32 logs scrub`.
    """
    chosen = {name: value for name, value in given.items() if value not in (None, ())}
    if config_path.exists():
        return _configured(config_path, chosen)
    if "exempt_networks" in chosen:
        chosen["exempt_networks"] = tuple(text.strip() for text in chosen["exempt_networks"])
    try:
        return Defaults(**chosen)
    except InvalidSettingError as error:
        raise _wrong_option(error.name, str(error)) from None


def _configured(config_path: Path, chosen: Mapping[str, Any]) -> Settings:
    # only here: it takes as long to import as 50 MB take to scrub
    from pydantic import ValidationError

    from agent.config.load import load
    from agent.config.logs_scrub import Scrub

    base = load(config_path).logs.scrub
    try:
        return Scrub.model_validate({**base.model_dump(exclude_unset=True), **chosen})
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        reason = first["msg"].removeprefix("Value error, ")
        raise _wrong_option(str(first["loc"][0]), reason) from None


def _wrong_option(name: str, reason: str) -> Art32Error:
    option = _OPTIONS.get(name, name.replace("_", "-"))
    return Art32Error(Code.USAGE, f"`--{option}` {reason}", hint="art32 logs scrub --help")


def scrub_input(chosen: Settings, *, source: int = 0, target: int = 1) -> Report:
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


def scrub_files(paths: Sequence[Path], chosen: Settings) -> output.Answer:
    """Scrub files in place, one after the other; the first that fails ends it."""
    from agent.logs.scrub.files import scrub_file

    said, data = [], []
    for path in paths:
        report, engine = scrub_file(path, chosen)
        said.append(f"{path}: {report.sentence()}")
        data.append({"file": str(path), "engine": engine, **report.document()})
    warnings = [] if (reason := kernel.trial()) is None else [f"scrubbed without kernel: {reason}"]
    return output.Answer("art32.logs.scrub/1", {"files": data}, said, warnings)


def dry_run(paths: Sequence[Path], chosen: Settings) -> output.Answer:
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
