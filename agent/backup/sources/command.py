"""A source that is whatever a command prints on its standard output."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator

from agent.backup.sources import Dump, DumpReport, RestoreRequest, _file_target
from agent.backup.sources._process import Ended, Tail, process_dump
from agent.config.sources import CommandSource
from agent.errors import Art32Error, Code

TRAILER_BYTES = 4096


def probe(config: CommandSource) -> None:
    """Raise SOURCE_MISSING when the program is not there or may not be run."""
    if shutil.which(config.command[0]) is None:
        raise Art32Error(
            Code.SOURCE_MISSING,
            f"the command `{config.command[0]}` of source `{config.name}` cannot be run",
            hint="give its full path, and make it executable for this user",
        )


def members(_config: CommandSource) -> tuple[str, ...]:
    """A command is one stream."""
    return ("",)


@contextlib.contextmanager
def dump(config: CommandSource, _member: str) -> Iterator[Dump]:
    """Run the command; its exit status decides, then the trailer, then that there is anything."""
    probe(config)
    tail = Tail(TRAILER_BYTES)

    def finish(ended: Ended) -> DumpReport:
        if ended.size == 0:
            raise Art32Error(
                Code.SOURCE_EMPTY,
                f"the command of source `{config.name}` printed nothing",
                hint="an empty dump is no backup; look at what the command should print",
            )
        if config.trailer is not None and config.trailer.encode() not in tail.value:
            raise Art32Error(
                Code.SOURCE_INCOMPLETE,
                f"the output of source `{config.name}` ends without its trailer",
                hint="the command was cut short, or `trailer` is not what it prints at its end",
            )
        return DumpReport(facts={"command": list(config.command)})

    with process_dump(config.command, finish=finish, observers=(tail,)) as running:
        yield running


def check_target(request: RestoreRequest) -> None:
    """Raise TARGET_EXISTS or TARGET_FAILED unless the target is a new file, or may be replaced."""
    if request.only is not None:
        raise Art32Error(
            Code.USAGE, "`--only` makes no sense for a command's output", hint="restore the whole"
        )
    _file_target.check(request)


def restore(stream: Iterator[bytes], request: RestoreRequest) -> str:
    """Write the stream to a new file of mode 0600."""
    path, size, kept = _file_target.write(stream, request)
    replaced = f", what stood there is now `{kept}`" if kept else ""
    return f"`{path}` holds {size} bytes{replaced}"
