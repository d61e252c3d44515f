"""From decrypted segments, which are verified, to plaintext: `zstd -d` as a program of its own.

It works beside this process instead of in it, and what it writes can go on to another program
without being copied here. Where it is not installed the module does the same, more slowly. Either
way only one whole frame passes, and memory is bounded however much it expands.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import threading
from collections.abc import Generator, Iterator
from types import TracebackType

from agent import compression, parallel, redact
from agent.errors import Art32Error, Code
from agent.run import PIPE, PIPE_BYTES, Process
from agent.store import Bytes

_AHEAD = 8
_GRACE_SECONDS = 1.0
_NO_SPLICE = (errno.EINVAL, errno.EAGAIN)  # splice(2): a file opened to append, a terminal


class Plaintext:
    """An iterator over plaintext, at most 1 MiB at a time, and its own context manager.

    It raises what the segments raise, and CORRUPT when they are not one whole frame or expand to
    another length than `size`; only an iteration that ends without that has shown the whole.
    `count` is the number of bytes so far.
    """

    def __init__(self, segments: Generator[Bytes, None, None], *, size: int) -> None:
        self.count = 0
        self._size = size
        self._segments = segments
        self._begun: _Program | _Module | None = None

    @property
    def _source(self) -> _Program | _Module:
        """Nothing is fetched before somebody wants the first byte."""
        if self._begun is None:
            program = shutil.which("zstd")
            self._begun = (
                _Module(self._segments) if program is None else _Program(program, self._segments)
            )
        return self._begun

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if chunk := self._source.read():
            self.count += len(chunk)
            return chunk
        self._end()
        raise StopIteration

    def pour(self, descriptor: int) -> None:
        """Write all the rest to a descriptor; raise BrokenPipeError when nobody reads it any more,
        and what an iteration would raise."""
        while count := self._source.splice(descriptor):
            self.count += count
        if count is None:
            for chunk in self:
                _write(descriptor, chunk)
        else:
            self._end()

    def _end(self) -> None:
        self._source.finish()
        if self.count != self._size:
            raise Art32Error(
                Code.CORRUPT, "the stream has another length than its signed details say"
            )

    def __enter__(self) -> Plaintext:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if self._begun is not None:
            self._begun.close()


class _Module:
    def __init__(self, segments: Generator[Bytes, None, None]) -> None:
        self._chunks = parallel.ahead(_decompressed(segments), depth=_AHEAD)

    def read(self) -> bytes:
        return next(self._chunks, b"")

    def splice(self, descriptor: int) -> None:
        """Say that it cannot be done: the plaintext is in this process."""

    def finish(self) -> None:
        """The iteration has raised what there was to raise."""

    def close(self) -> None:
        self._chunks.close()


def _decompressed(segments: Generator[Bytes, None, None]) -> Generator[bytes, None, None]:
    with contextlib.closing(segments):
        yield from compression.decompress(segments)


class _Program:
    def __init__(self, program: str, segments: Generator[Bytes, None, None]) -> None:
        self._segments = segments
        self._failure: BaseException | None = None
        # its other options are the defaults: no more than 128 MiB of window
        self._process = Process([program, "-dcq"], stdin=PIPE)
        self._output = self._process.stdout.fileno()
        self._feeder = threading.Thread(target=self._feed, daemon=True)
        self._feeder.start()

    def _feed(self) -> None:
        frame = compression.Frame()
        try:
            with contextlib.closing(self._segments), self._process.stdin as pipe:
                for segment in self._segments:
                    frame.follow(memoryview(segment))
                    _write(pipe.fileno(), segment)
                frame.require_end()
        except BrokenPipeError:
            pass  # it has found damage, and says so by its status
        except BaseException as error:  # noqa: BLE001 - raised again where the plaintext is wanted
            self._failure = error

    def read(self) -> bytes:
        return os.read(self._output, compression.OUTPUT)

    def splice(self, descriptor: int) -> int | None:
        """Move some bytes in the kernel and return how many, 0 at the end; None when it cannot."""
        try:
            return os.splice(self._output, descriptor, PIPE_BYTES)
        except OSError as error:
            if error.errno in _NO_SPLICE:
                return None
            raise

    def finish(self) -> None:
        """Raise what the segments raised, or CORRUPT when they do not decompress."""
        self._feeder.join()
        status = self._process.wait()
        if self._failure is not None:
            raise self._failure
        if status != 0:
            reason = redact.diagnostic(self._process.stderr)
            raise Art32Error(Code.CORRUPT, f"the compressed stream is damaged: {reason}")

    def close(self) -> None:
        self._process.__exit__()
        self._feeder.join(_GRACE_SECONDS)


def _write(descriptor: int, data: Bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
