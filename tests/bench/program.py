"""Runs the Pulumi program of the largest profile under mocks, once: what `make bench` measures."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

MAIN = Path(__file__).parent.parent.parent / "infra" / "__main__.py"


def run() -> object:
    """Run the file that Pulumi runs."""
    return runpy.run_path(str(MAIN), run_name="__main__") and None


def main() -> None:
    """Run the program on the example of `ha`; fail when it does not build the whole of it."""
    import gc

    gc.disable()  # as the program does in its first line, before the SDK is imported
    import yaml  # type: ignore[import-untyped]  # comes with Pulumi

    from infra.capture import capture

    document = yaml.safe_load((MAIN.parent.parent / "Pulumi.ha.yaml.example").read_text())
    config = {
        name: json.dumps(value) if isinstance(value, list) else str(value)
        for name, value in document["config"].items()
    }
    found = capture(run, stack="prod", config=config)
    if len(found.resources) < 300:
        raise SystemExit(f"only {len(found.resources)} resources")


if __name__ == "__main__":
    main()
