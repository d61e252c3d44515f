"""Puts flows together from the configuration, or for standard input, and runs them."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from agent.config.logs_pipe import LogPipe
from agent.config.logs_scrub import Scrub
from agent.config.model import Configuration
from agent.errors import Art32Error, Code
from agent.logs.pipe import sockets
from agent.logs.pipe.connections import Connections
from agent.logs.pipe.datagrams import Datagrams
from agent.logs.pipe.flow import Flow, Scrubs
from agent.logs.pipe.outputs import open_output
from agent.logs.pipe.pipes import Bytes, Pipe
from agent.logs.pipe.scrubbing import DailyScrubber
from agent.logs.pipe.serve import Loop, prepare_process
from agent.logs.pipe.sources import Source
from agent.logs.scrub.shared_keys import directories, open_keys

if TYPE_CHECKING:
    from agent.logs.pipe.scanning import Scanning
    from agent.logs.scan.publish import Told

Observe = Callable[[str, bytes], object]


def serve(config: Configuration, names: Sequence[str], *, told: Told | None = None) -> list[Flow]:
    """Serve the named pipes of the configuration, or all, until a signal; return what became.
    `told` hears of new attacks.

    Raise CONFIG_INVALID or USAGE when there is none such, LOCKED when another process serves one,
    and whatever keeps an entrance or an output from being opened, before any line is taken.
    """
    prepare_process()
    passed = sockets.Passed()
    opened: list[tuple[sockets.Entrance, LogPipe]] = []
    flows: list[Flow] = []
    wanted = chosen(config, names)
    scrubbers = _scrubbers(config)
    seen = any(pipe.scan for pipe in wanted)
    scanning = _scanning(config, scrubbers, told) if seen else None
    try:
        for pipe in wanted:
            entrance = sockets.open_entrance(pipe, passed)
            opened.append((entrance, pipe))
            observe = scanning.observe if scanning is not None and pipe.scan else None
            flows.append(_flow(config, pipe, entrance, observe, scrubbers))
        Loop(flows, state=config.state_directory / "pipe", process_file="pipe.pid").run()
        if scanning is not None:
            scanning.publish()
    finally:
        for entrance, pipe in opened:
            sockets.remove(entrance, pipe.endpoint)
    return flows


def _scrubbers(config: Configuration) -> Callable[[Scrub], DailyScrubber]:
    """Return what makes a scrubber of each flow, all with the same keys."""
    keys = open_keys(config.logs.scrub, backed_up=directories(config))
    rotated = bool(config.logs.rotate)
    return lambda settings: DailyScrubber(settings, keys, rotated=rotated)


def _scanning(
    config: Configuration, scrubbers: Callable[[Scrub], DailyScrubber], told: Told | None
) -> Scanning:
    from agent.logs.pipe.scanning import Scanning

    return Scanning(config.logs.scan, scrubbers(config.logs.scrub).scrub, told)


def chosen(config: Configuration, names: Sequence[str]) -> list[LogPipe]:
    """Return the configured pipes of these names, or all of them."""
    known = {pipe.name: pipe for pipe in config.logs.pipes}
    if not known:
        raise Art32Error(
            Code.CONFIG_INVALID,
            "the configuration has no `logs.pipes`",
            hint="docs/daemons.md has one for each daemon; for standard input: "
            "art32 logs pipe --to FILE",
        )
    for name in names:
        if name not in known:
            raise Art32Error(
                Code.USAGE,
                f"there is no pipe `{name}`",
                hint=f"configured are {', '.join(f'`{one}`' for one in known)}",
            )
    return [known[name] for name in names] if names else list(known.values())


def _flow(
    config: Configuration,
    pipe: LogPipe,
    entrance: sockets.Entrance,
    observe: Observe | None,
    scrubbers: Callable[[Scrub], DailyScrubber],
) -> Flow:
    scrub = config.logs.scrub
    if pipe.cut_length is not None:
        scrub = scrub.model_copy(update={"cut_length": pipe.cut_length})
    return Flow(
        pipe.name,
        _source(entrance, pipe),
        open_output(pipe.to, fsync=pipe.fsync, program=pipe.name),
        scrubbers(scrub),
        framing=pipe.framing,
        header=pipe.header,
        observe=_observer(observe, pipe.name),
    )


def _observer(observe: Observe | None, name: str) -> Callable[[bytes], object] | None:
    return None if observe is None else lambda block: observe(name, block)


def _source(entrance: sockets.Entrance, pipe: LogPipe) -> Source:
    match pipe.endpoint.kind:
        case "fifo":
            return Pipe(entrance.descriptor, until_end=False)
        case "unix-stream":
            return Connections(entrance)
        case _:
            return Datagrams(entrance)


def filter_input(
    to: str,
    scrubber: Scrubs,
    *,
    fsync: bool = False,
    confirm: bool = False,
    state: Path | None = None,
) -> Flow:
    """Write standard input, scrubbed, until its end; return what became of it.

    `confirm` speaks rsyslog's protocol on standard output. A first SIGTERM changes nothing while
    somebody can still write; a second one ends after what is there.
    """
    prepare_process()
    descriptor = sys.stdin.fileno()
    name = to.strip("/").replace("/", "-").replace(":", "-")
    source: Source
    if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
        source = Pipe(descriptor, until_end=True)
    else:
        source = Bytes(descriptor)
    flow = Flow(
        name,
        source,
        open_output(to, fsync=fsync, program="art32"),
        scrubber,
        confirm=sys.stdout.fileno() if confirm else None,
    )
    Loop([flow], state=state).run()
    return flow
