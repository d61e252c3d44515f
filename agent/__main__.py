"""`python -m agent` and the console script `art32`."""

from __future__ import annotations

from agent.cli import main

if __name__ == "__main__":
    main()
