"""Whatever a command prints on its standard output.

The command is run as it stands in the configuration, without a shell. Only its exit status, and
its trailer where the format has one, say whether the output is whole.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator

from agent.backup.sources import Dump, DumpReport, RestoreRequest, _file_target
from agent.backup.sources._process import ANY_STATUS, Ended, Tail, failure, process_dump
from agent.config.sources import CommandSource
from agent.errors import Art32Error, Code

TRAILER_WITHIN = 4096


def probe(config: CommandSource) -> None:
    """Raise SOURCE_MISSING when the program is not there or may not be run."""
    program = config.command[0]
    if shutil.which(program) is None:
        raise Art32Error(
            Code.SOURCE_MISSING,
            f"the program `{program}` of the source `{config.name}` does not exist or may not "
            "be run",
            hint="correct `command`, or install the program",
        )


def members(config: CommandSource) -> tuple[str, ...]:  # noqa: ARG001
    """Return the one member that a command's output is."""
    return ("",)


@contextlib.contextmanager
def dump(config: CommandSource, member: str) -> Iterator[Dump]:  # noqa: ARG001
    """Run the command and stream its output.

    `finish` raises SOURCE_FAILED when the exit status is not 0, without what the command said:
    nobody knows what personal data an unknown program prints. It raises SOURCE_EMPTY when there
    was no output, SOURCE_INCOMPLETE when the last 4 KiB lack the configured trailer.
    """
    probe(config)
    tail = Tail(TRAILER_WITHIN)

    def finish(ended: Ended) -> DumpReport:
        if ended.status != 0:
            raise failure(
                os.path.basename(config.command[0]),
                Ended(ended.status, b"", ended.size),
                hint="run the command by hand to see what it says",
            )
        if ended.size == 0:
            raise Art32Error(
                Code.SOURCE_EMPTY, f"the command of `{config.name}` succeeded and printed nothing"
            )
        if config.trailer is not None and os.fsencode(config.trailer) not in tail.value:
            raise Art32Error(
                Code.SOURCE_INCOMPLETE,
                f"the output of `{config.name}` lacks its trailer",
                hint="run the command by hand and look at the end of what it prints",
            )
        return DumpReport(facts={"program": config.command[0]})

    with process_dump(
        config.command,
        finish=finish,
        observers=(tail,),
        accepted=ANY_STATUS,
        with_children=True,
    ) as running:
        yield running


def check_target(request: RestoreRequest) -> None:
    """Raise TARGET_EXISTS or TARGET_FAILED unless the target is a file that may be made."""
    _require_whole(request)
    _file_target.check(request)


def left(request: RestoreRequest) -> str | None:
    """Return the path of what a killed restore left."""
    return _file_target.left(request)


def discard(request: RestoreRequest) -> None:
    """Remove what a killed restore left; see `_file_target.discard`."""
    _file_target.discard(request)


def restore(stream: Iterator[bytes], request: RestoreRequest) -> str:
    """Write the output to a new file of mode 0600, which gets its name last."""
    _require_whole(request)
    path, size, kept = _file_target.write(stream, request)
    before = f"; what was there before is now `{kept}`" if kept is not None else ""
    return f"{size} bytes are in `{path}`{before}"


def _require_whole(request: RestoreRequest) -> None:
    if request.only is not None:
        raise Art32Error(
            Code.USAGE,
            "a command's output is restored as a whole",
            hint="leave `--only` out",
        )
