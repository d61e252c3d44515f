"""From standard input to standard output."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from agent.config.load import load
from agent.config.logs_scrub import Scrub
from agent.errors import Art32Error, Code
from agent.logs.scrub import Report, lines, open_scrubber


def settings(config_path: Path, given: Mapping[str, Any]) -> Scrub:
    """Return the settings of the file, if there is one, under those that are given.

    A file that is there and wrong raises CONFIG_INVALID: no silent fall back to the defaults.
    """
    base = load(config_path).logs.scrub if config_path.exists() else Scrub()
    chosen = {name: value for name, value in given.items() if value not in (None, ())}
    try:
        return Scrub.model_validate({**base.model_dump(exclude_unset=True), **chosen})
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        name = str(first["loc"][0]).replace("_networks", "").replace("_", "-")
        reason = first["msg"].removeprefix("Value error, ")
        raise Art32Error(
            Code.USAGE, f"`--{name}` {reason}", hint="art32 logs scrub --help"
        ) from None


def scrub_input(chosen: Scrub, *, source: int = 0, target: int = 1) -> Report:
    """Scrub what comes from a descriptor to another, block by block, until its end."""
    scrubber = open_scrubber(chosen)
    for block in lines.blocks(_reads(source), scrubber.report):
        scrubbed = memoryview(scrubber.scrub(block))
        while scrubbed:
            scrubbed = scrubbed[os.write(target, scrubbed) :]
    return scrubber.report


def _reads(source: int) -> Iterator[bytes]:
    while read := os.read(source, lines.BLOCK):
        yield read
