"""`make plan STACK=prod`: one HTML page about a stack, without account and without Pulumi's engine.

python -m infra.plan --stack prod [--against FILE] [--output FILE] [--save FILE]

Exits with 0 when there is a page, with 1 when something has to be mended first, with 2 for a wrong
command line. What the page says of the stack does not change the status.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from infra.plan.problem import PlanError

ROOT = Path(__file__).resolve().parent.parent.parent


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page and say where it is; return the exit status."""
    options = _options().parse_args(arguments)
    try:
        return _run(options)
    except PlanError as error:
        print(f"plan: {error}", file=sys.stderr)  # noqa: T201
        return 1


def _run(options: argparse.Namespace) -> int:
    # the engine's SDK takes half a second; a wrong command line should not
    from infra.plan.comparison import NOTHING, compare_file
    from infra.plan.page import render
    from infra.plan.plan import concerns, make
    from infra.plan.stack import captured, redacted

    config, graph, source = captured(options.stack, options.folder)
    comparison = NOTHING
    if options.against is not None:
        comparison = compare_file(redacted(graph), options.against)
    facts = {
        "profile": config.profile,
        "region": config.region,
        "account": config.account_id,
        "configuration": source.name,
        "program": _revision(),
        "made": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
    }
    plan = make(graph, region=config.region, comparison=comparison, facts=facts)
    if options.save is not None:
        _write(options.save, redacted(graph).to_json())
    _write(options.output, render(plan))
    found = len(list(concerns(plan)))
    words = {0: "nothing found", 1: "one thing to look at"}.get(found, f"{found} things to look at")
    print(f"{options.output}: {len(graph.resources)} resources, {words}")  # noqa: T201
    return 0


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make plan", description=__doc__.split("\n\n")[0])
    parser.add_argument("--stack", required=True, help="the stack: Pulumi.<stack>.yaml")
    parser.add_argument(
        "--against", type=Path, help="a saved graph, or the output of `pulumi preview --json`"
    )
    parser.add_argument("--output", type=Path, default=Path("plan.html"), help="the page")
    parser.add_argument("--save", type=Path, help="save the graph, to compare with it later")
    parser.add_argument("--folder", type=Path, default=ROOT, help="where the stack's file is")
    return parser


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise PlanError(
            f"`{path}` cannot be written: {(error.strerror or 'unknown').lower()}",
            "name another file: make plan STACK=... OUTPUT=FILE",
        ) from error


def _revision() -> str:
    """Return the commit that the program is of, marked when there are changes beside it."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty=, with changes"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return "not under git"
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
