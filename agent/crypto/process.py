"""A `gpg` or `gpgv` that turns one buffer into another, and what its status lines say."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from agent import run
from agent.memory import Buffer

Status = list[list[str]]


class Running:
    """The program in progress. `command` is given the number for `--status-fd`."""

    def __init__(
        self,
        command: Callable[[int], Sequence[str]],
        source: Buffer,
        target: Buffer,
        *,
        pass_fds: Sequence[int] = (),
    ) -> None:
        status_read, status_write = os.pipe()
        try:
            self._process = run.Process(
                command(status_write),
                stdin=source.as_input(),
                stdout=target.as_output(),
                pass_fds=(*pass_fds, status_write),
            )
        except BaseException:
            os.close(status_read)
            raise
        finally:
            os.close(status_write)
        self._status_fd = status_read
        self._target = target

    @property
    def stderr(self) -> bytes:
        return self._process.stderr

    def lines(self) -> tuple[int, Status]:
        """Wait for the end; return the exit status and the words of each status line.

        Raise TOOL_FAILED when more was written than the target has room for.
        """
        with os.fdopen(self._status_fd, "rb") as lines:
            self._status_fd = -1
            text = lines.read().decode("ascii", "replace")
        status = self._process.wait()
        self._process.__exit__()
        self._target.wrote()
        said = (line.split()[1:] for line in text.split("\n") if line.startswith("[GNUPG:] "))
        return status, [words for words in said if words]

    def result(self) -> tuple[int, list[str]]:
        """Do what `lines` does and return the status keywords alone."""
        status, lines = self.lines()
        return status, [words[0] for words in lines]

    def kill(self) -> None:
        """End it; `result` is then that of a failure."""
        self._process.kill()
