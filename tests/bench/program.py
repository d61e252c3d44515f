"""Runs the Pulumi program of the largest profile under mocks, once: what `make bench` measures."""

from __future__ import annotations

from infra.build import build
from infra.capture import capture
from tests.fixtures.stacks import HA, stack


def main() -> None:
    """Build the stack; fail when it is not the whole of it."""
    config = stack("prod", **HA)
    found = capture(lambda: build(config), stack="prod")
    if len(found.resources) < 300:
        raise SystemExit(f"only {len(found.resources)} resources")


if __name__ == "__main__":
    main()
