"""Has another process run a confined program: the one that may make rooms, and may nothing else.

Run by its path, as a program of the standard library alone, so that it starts at once:

    python -I remote.py SOCKET REQUEST

REQUEST is the JSON of `agent.sandbox.service`. Standard streams and the exit status pass through
(of a signal: 128 and its number). When this process ends, however it ends, the other one ends the
program. Exits with 125 when the other one is not there or refuses, and says so.
"""

from __future__ import annotations

import json
import os
import socket
import sys

REFUSED = 125
_ANSWER_BYTES = 4096


def main() -> int:
    """Ask, wait, and return the exit status."""
    address, request = sys.argv[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as door:
        try:
            door.connect(address)
            socket.send_fds(door, [request.encode()], [0, 1, 2])
            # whoever writes to the program must see when it stops reading, and whoever reads its
            # end: this process holds none of the three open
            nowhere = os.open(os.devnull, os.O_RDWR)
            for descriptor in (0, 1):
                os.dup2(nowhere, descriptor)
            answer = json.loads(door.recv(_ANSWER_BYTES) or b"null")
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "no answer"
            sys.stderr.write(f"the service that starts engines is not there: {reason}\n")
            return REFUSED
    if isinstance(answer, int):
        return answer if answer >= 0 else 128 - answer
    sys.stderr.write(f"{answer or 'the service that starts engines has ended'}\n")
    return REFUSED


if __name__ == "__main__":
    sys.exit(main())
