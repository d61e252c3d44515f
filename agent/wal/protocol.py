"""What the two ends of the socket say to each other: one message there, one back.

The socket is a SOCK_SEQPACKET of unix(7). A message is lines of UTF-8; descriptors go along
(SCM_RIGHTS), so that the service needs no right to a file of PostgreSQL's:

    push, NAME, NAME...   with pg_control and the files, in this order; the first is answered for
    fetch, NAME           with pg_control
    hello                 is anybody there?

    ok                    to a fetch with a file in memory
    absent                to a fetch: the store was asked, has none, and nothing after it
    failed, STATUS, SENTENCE, HINT, RUNBOOK
"""

from __future__ import annotations

SOCKET = "/run/art32/wal.sock"
MESSAGE_BYTES = 1 << 16
AHEAD = 16
"""How many files a push offers besides the one it is for."""

PUSH, FETCH, HELLO = "push", "fetch", "hello"
OK, ABSENT, FAILED = "ok", "absent", "failed"


def encode(*lines: str) -> bytes:
    """Return a message."""
    return "\n".join(line.replace("\n", " ") for line in lines).encode()[:MESSAGE_BYTES]


def decode(message: bytes) -> list[str]:
    """Return the lines of a message."""
    return message.decode("utf-8", "replace").split("\n")
