"""`python -m demo`: the steps, in order."""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from agent import output, sandbox
from agent.errors import Art32Error
from demo import keys, place, postgresql, tree
from demo.database import Database, Download, quoted
from demo.keys import Keys, configuration
from demo.sqlite import SQLite
from demo.terminal import DemoError, Report, fail, say

_ROOT = Path(__file__).resolve().parent.parent
_SCRIPT = _ROOT / "tests" / "runbooks" / "restore_with_stock_tools.sh"
_HOST = "demo1"
_PROGRAMS = {
    "gpg": "gnupg",
    "gpgconf": "gnupg",
    "gpgv": "gpgv",
    "zstd": "zstd",
    "tar": "tar",
    "setpriv": "util-linux",
}
_WARNINGS = (0, 20)
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m demo",
        description="Back up, verify and restore generated data with throw-away keys and servers.",
    )
    parser.add_argument(
        "--directory",
        type=Path,
        help="what the demo leaves is all in here; by default ./demo-output",
    )
    parser.add_argument(
        "--scale",
        type=float,
        default=1.0,
        help="how much data, as a part of the usual 100 MB or so (default: 1)",
    )
    parser.add_argument(
        "--engine",
        choices=("postgresql", "sqlite"),
        help="by default PostgreSQL when a server is installed, otherwise SQLite",
    )
    found = parser.parse_args()
    if not 0 < found.scale <= 100:
        parser.error("--scale is a number above 0 and at most 100")
    return found


def main() -> int:
    """Run the demo; return its exit status."""
    arguments = _arguments()
    for number in _SIGNALS:
        signal.signal(number, _interrupt)
    directory = Path.cwd() / (arguments.directory or place.default())
    report = Report(Path.cwd())
    try:
        _require_programs()
        with place.held(directory):
            _run(report, directory, arguments.scale, arguments.engine)
    except DemoError as error:
        where = f" in step {len(report.steps)}, {report.steps[-1].title}" if report.steps else ""
        fail(f"failed{where}: {error}")
        if report.steps:
            fail(f"what is there so far: {directory}")
        return 1
    except KeyboardInterrupt:
        fail("interrupted; nothing is left running")
        return 130
    return 0


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    for number in _SIGNALS:  # the way out takes a moment; a second one must not cut it short
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _require_programs() -> None:
    missing = {name: package for name, package in _PROGRAMS.items() if shutil.which(name) is None}
    if missing:
        packages = " ".join(sorted(set(missing.values())))
        raise DemoError(
            f"these programs are missing: {', '.join(missing)}\n"
            f"hint: sudo apt-get install {packages}"
        )


def _run(report: Report, directory: Path, scale: float, engine: str | None) -> None:
    with contextlib.ExitStack() as stack:
        with report.step("Make throw-away keys: operations, escrow, and the host's own"):
            made = stack.enter_context(keys.made(directory / "keys"))
        database = stack.enter_context(_database(report, directory, engine))
        with report.step(f"Generate a shop in {database.name}") as step:
            step.amount = size = database.fill(scale)
        files = directory / "files"
        with report.step("Generate a directory of files") as step:
            step.amount = content = tree.make(files, scale)
        _configure(report, directory, made, database, files)
        _back_up(report, database, size + content)
        restored = directory / "restored"
        restored.mkdir()
        refusal = _sandbox_refusal()
        _restore_database(report, database, size, refusal)
        _restore_files(report, files, restored / "files", content, refusal)
        _restore_by_hand(report, directory, made, database, size)
        _conclude(report, directory)


@contextlib.contextmanager
def _database(report: Report, directory: Path, engine: str | None) -> Iterator[Database]:
    programs = postgresql.binaries()
    if engine == "sqlite" or (engine is None and programs is None):
        if engine is None:
            say("\nno PostgreSQL server is installed: this demo uses SQLite")
        yield SQLite(directory)
        return
    if programs is None:
        raise DemoError("no PostgreSQL server is installed: sudo apt-get install postgresql")
    with contextlib.ExitStack() as stack:
        with report.step("Start a PostgreSQL server of its own"):
            log = directory / "postgresql.log"
            server = stack.enter_context(postgresql.started(programs, log))
            say(f"{server.name}, socket in {server.socket}, no network")
        yield server


def _art32(report: Report, *arguments: str, warnings: bool = False) -> None:
    report.command(
        [sys.executable, "-m", "agent", *arguments],
        shown=shlex.join(("art32", *arguments)),
        accept=_WARNINGS if warnings else (0,),
    )


def _configure(
    report: Report, directory: Path, made: Keys, database: Database, files: Path
) -> None:
    store, config = directory / "store", directory / "agent.toml"
    store.mkdir()
    config.write_text(
        configuration(made, host=_HOST, state=directory / "state", store=store)
        + f"""{database.section()}
[[sources]]
name = "uploads"
kind = "directory"
path = {quoted(files)}

# Only a machine that restores has this section, and the private keys.
[restore]
gnupg_home = {quoted(made.restorer_home)}
"""
    )
    os.environ["ART32_CONFIG"] = str(config)
    with report.step("Check the configuration and the machine"):
        report.show(f"export ART32_CONFIG={shlex.quote(str(config))}")
        _art32(report, "config", "check")
        _art32(report, "doctor", warnings=True)


def _back_up(report: Report, database: Database, size: int) -> None:
    with report.step(f"Back up {database.name} and the files, encrypted") as step:
        step.amount = size
        _art32(report, "backup", "run")
    with report.step("List the backups"):
        _art32(report, "backup", "list")
    with report.step("Verify every byte: signatures, hashes, decryption") as step:
        step.amount = size
        _art32(report, "backup", "verify", "--tier", "decrypt")


def _sandbox_refusal() -> str | None:
    """Return why restored data cannot be confined on this machine, None when it can.

    art32 itself would refuse such a restore; a demo that goes on says what it left out.
    """
    try:
        sandbox.check("nobody")
    except Art32Error as error:
        return f"{error.sentence}\nhint: {error.hint}"
    return None


def _restore_database(report: Report, database: Database, size: int, refusal: str | None) -> None:
    if refusal and database.confined:
        report.skip(f"restoring the database with art32: {refusal}")
        return
    with report.step("Restore into a fresh database") as step:
        step.amount = size
        _art32(report, "restore", "shop", "--to", database.target("shop_restored"))
    _compare_rows(report, database, "shop_restored", size)


def _compare_rows(report: Report, database: Database, name: str, size: int) -> None:
    with report.step(f"Compare {name} with the original, row by row") as step:
        step.amount = size
        rows = database.compare(name)
        for line in output.table([(f"{count:>9,}", f"rows of {table}") for table, count in rows]):
            say(f"{line} are equal")


def _restore_files(
    report: Report, files: Path, target: Path, size: int, refusal: str | None
) -> None:
    if refusal:
        report.skip(f"restoring the directory with art32: {refusal}")
        return
    with report.step("Restore into a fresh directory") as step:
        step.amount = size
        _art32(report, "restore", "uploads", "--to", str(target))
    with report.step("Compare the files with the original ones, one by one") as step:
        found = tree.compare(files, target)
        step.amount = found.content_bytes
        say(
            f"{found.entries:,} entries and {output.size(found.content_bytes)} with holes are "
            "equal: names, content, modes, owners, times, links, attributes"
        )


def _restore_by_hand(
    report: Report, directory: Path, made: Keys, database: Database, size: int
) -> None:
    with report.step("Restore the database again, with stock tools only") as step:
        step.amount = size
        [backup] = (directory / "store" / _HOST / "shop").iterdir()
        argv = (_SCRIPT, backup, made.host_public, _HOST, "shop", made.restorer_home)
        shown = shlex.join(report.relative(Path(part)) for part in argv)
        database.restore_by_hand(report, Download(argv, shown), "shop_by_hand")
    _compare_rows(report, database, "shop_by_hand", size)


def _program(report: Report) -> str:
    """Return how to call art32 by hand: beside this Python, where it may not be on the path."""
    path = Path(sys.executable).with_name("art32")
    return shlex.quote(report.relative(path)) if path.exists() else "art32"


def _conclude(report: Report, directory: Path) -> None:
    say()
    for line in report.summary():
        say(line)
    for what in report.skipped:
        say(f"skipped: {what}")
    shown = shlex.quote(report.relative(directory))
    verdict = "Everything was found equal."
    if report.skipped:
        verdict = "Everything that was restored was found equal; the rest was skipped, see above."
    say(
        f"\n{verdict} What the demo leaves is in {shown}:\n"
        "  agent.toml  the configuration      keys/      throw-away keys, private ones among them\n"
        "  store/      the encrypted backups  state/     the ledger\n"
        "  files/      the original files     restored/  what was restored\n"
        f"Look around: {_program(report)} --config {shown}/agent.toml backup list\n"
        f"Remove it:   rm -rf {shown}"
    )


if __name__ == "__main__":
    sys.exit(main())
