"""`python -m agent` and the console script `art32`."""

from __future__ import annotations

import gc
import sys

from agent.wal import client


def main() -> None:
    """Run the command line; what PostgreSQL starts for each segment without all the rest."""
    words = client.words(sys.argv[1:])
    if words is not None:
        client.main(words)
    # what a start makes stays; looking through it for garbage takes a tenth of its time
    gc.set_threshold(20_000)
    from agent.cli import main as command_line

    command_line()


if __name__ == "__main__":
    main()
