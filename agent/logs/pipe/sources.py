"""The ways in: datagrams, connections, and pipes. Each returns blocks of whole lines.

`receive` is called when a descriptor is readable; `written` when its last block is where it
belongs; `stop` once or twice: first nothing new is let in, then what is there is the end.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from agent.logs.pipe.sockets import Queue

BLOCK = 256 << 10


class Received(NamedTuple):
    """A block of whole lines, possibly empty, and whether to ask again at once."""

    block: bytes
    more: bool = False


class Watch(Protocol):
    """What a source tells the loop to look at."""

    def add(self, descriptor: int, *, edge: bool = False) -> None: ...

    def remove(self, descriptor: int) -> None: ...


class Source(Protocol):
    """One way in. `finished`: no more will ever come. `until_end`: a first stop changes nothing,
    its writers end it. `cut` counts the lines that were too long. `again`: seconds after which to
    call `receive` even if nothing seems to have come."""

    until_end: bool

    @property
    def again(self) -> float | None: ...

    @property
    def finished(self) -> bool: ...

    @property
    def cut(self) -> int: ...

    def begin(self, watch: Watch) -> None: ...

    def receive(self, descriptor: int, hung_up: bool) -> Received: ...

    def written(self) -> None: ...

    def stop(self, *, now: bool) -> None: ...

    def queue(self) -> Queue | None: ...
