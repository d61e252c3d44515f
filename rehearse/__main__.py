"""`python -m rehearse`: the worst case from end to end, with a timeline."""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from agent import clock, output
from demo import keys as demo_keys
from demo import place, postgresql
from demo.keys import Keys
from demo.terminal import DemoError, Report, fail, quiet, say
from rehearse import machine, server
from rehearse.examine import INVOICES, Lost, Timeline, examine
from rehearse.machine import Machine
from rehearse.server import DATABASE, Heartbeat, Server

_SERVICE_SECONDS = 30.0


@dataclass(frozen=True)
class Options:
    """How large and how long: pgbench's scale and transactions a second (0: as many as it can), and
    seconds of load before and after the mistake."""

    scale: int
    rate: int
    seconds: int
    archive_timeout: int


def _arguments() -> tuple[Options, Path]:
    parser = argparse.ArgumentParser(
        prog="python -m rehearse",
        description="Destroy a PostgreSQL server under load and build it again from the store.",
    )
    parser.add_argument("--scale", type=int, default=5, help="pgbench's scale (default: 5)")
    parser.add_argument(
        "--rate",
        type=int,
        default=200,
        help="transactions a second, 0: no limit (default: 200)",
    )
    parser.add_argument(
        "--seconds", type=int, default=45, help="load before and after the mistake (default: 45)"
    )
    parser.add_argument(
        "--archive-timeout", type=int, default=30, help="as in production (default: 30)"
    )
    parser.add_argument("--directory", type=Path, help="what it leaves is all in here")
    found = parser.parse_args()
    # root restores only where nobody else may exchange directories, and sockets need short paths
    default = Path(tempfile.gettempdir()) / f"art32-rehearsal-{os.geteuid()}"
    options = Options(found.scale, found.rate, found.seconds, found.archive_timeout)
    return options, (found.directory or default).absolute()


def main() -> int:
    """Run the rehearsal; return its exit status."""
    options, directory = _arguments()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    report = Report(Path.cwd())
    timeline = Timeline()
    try:
        programs = postgresql.binaries()
        if programs is None:
            raise DemoError("no PostgreSQL server is installed\nhint: apt-get install postgresql")
        with place.held(directory):
            _rehearse(report, timeline, options, directory, programs)
    except DemoError as error:
        fail(f"failed in step {len(report.steps)}: {error}")
        fail(f"what is there so far: {directory}")
        return 1
    except KeyboardInterrupt:
        fail("interrupted; nothing is left running")
        return 130
    return 0


def _rehearse(
    report: Report, timeline: Timeline, options: Options, directory: Path, programs: Path
) -> None:
    store = directory / "store"
    store.mkdir()
    with contextlib.ExitStack() as stack:
        with report.step("Make throw-away keys, a server, and the two machines"):
            made = stack.enter_context(demo_keys.made(directory / "keys"))
            first = server.initialised(programs, *_places(directory, "db1"))
            host = machine.host(directory / "host", made, store, first)
            restorer = machine.restorer(directory / "restorer", made, store)
        lost = _live_and_die(report, timeline, options, directory, host, first)
        moment = datetime.fromtimestamp(lost.moment, UTC).isoformat(sep=" ")
        with report.step("A new machine asks the store whether the log is whole"):
            restorer.art32(report, "backup", "verify", "--tier", "listing", "--host", machine.HOST)
            timeline.mark("the store has been verified by the new machine")
        before = _recover(
            report, timeline, directory, restorer, lost, _like(first, directory, "moment"), moment
        )
        _recover(report, timeline, directory, restorer, lost, _like(first, directory, "end"), None)
        after = _by_hand(
            report, timeline, directory, made, lost, _like(first, directory, "hand"), moment
        )
        if before != after:
            raise DemoError("stock tools have brought back something else than art32")
        say("\nart32 and stock tools have brought back the same rows of every table\n")
    for line in timeline.shown():
        say(line)


def _places(directory: Path, name: str) -> tuple[Path, Path]:
    """Return where a server has its data, and a directory of its own for its socket."""
    home = directory / name
    home.mkdir(mode=0o755)
    socket = home / "run"
    socket.mkdir()
    server.own(socket)
    return (socket / "data" if name == "db1" else home / "data"), socket


def _like(first: Server, directory: Path, name: str) -> Server:
    return Server(first.programs, *_places(directory, name))


@contextlib.contextmanager
def _archiving(host: Machine, log: Path) -> Iterator[None]:
    """Hold the host's archiving service."""
    argv = [sys.executable, "-m", "agent", "--config", str(host.config), "wal", "serve"]
    with log.open("wb") as output_:
        child = subprocess.Popen(argv, stdout=output_, stderr=output_, stdin=subprocess.DEVNULL)
    try:
        deadline = clock.monotonic() + _SERVICE_SECONDS
        while b"serves" not in log.read_bytes():
            if child.poll() is not None or clock.monotonic() > deadline:
                raise DemoError(f"the archiving service did not start: see `{log}`")
            clock.sleep(0.1)
        yield
    finally:
        child.kill()
        child.wait()


def _live_and_die(
    report: Report,
    timeline: Timeline,
    options: Options,
    directory: Path,
    host: Machine,
    first: Server,
) -> Lost:
    """Have the server live, be backed up, archive, suffer a mistake, and die with its machine."""
    call = machine.client(first.socket)
    settings = {
        "wal_level": "replica",
        "archive_mode": "on",
        "archive_command": f"{call} push --socket {first.socket / 'wal.sock'} %p",
        "archive_timeout": f"{options.archive_timeout}s",
    }
    beat = Heartbeat(first)
    with (
        _archiving(host, directory / "host" / "wal.log"),
        server.running(first, directory / "db1.log", settings) as child,
    ):
        with report.step("Fill it, and take a base backup"):
            first.sql(
                "CREATE ROLE replicator LOGIN REPLICATION; CREATE EXTENSION amcheck;"
                "CREATE TABLE invoices AS SELECT i AS id, i * 7 AS total"
                f" FROM generate_series(1, {INVOICES}) i;"
                " ALTER TABLE invoices ADD PRIMARY KEY (id)"
            )
            quiet(
                first.client("pgbench", "-i", "-q", "-s", str(options.scale), DATABASE),
                cwd=Path("/"),
            )
            _let_in(first)
            host.art32(report, "backup", "run")
            timeline.mark("the base backup is complete, its log is in the store")
        with (
            report.step(f"Load for {2 * options.seconds} s, with a mistake in the middle"),
            beat.beating(),
            _load(first, options, directory / "pgbench.log"),
        ):
            clock.sleep(options.seconds)
            moment = float(first.sql("SELECT extract(epoch FROM clock_timestamp())"))
            clock.sleep(0.2)
            first.sql("DELETE FROM invoices")
            timeline.mark("somebody deletes every invoice")
            clock.sleep(options.seconds)
            _wait_for_the_worst_moment(first, options)
            archived = first.sql(
                "SELECT archived_count, failed_count,"
                " (SELECT count(*) FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready'),"
                " pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint FROM pg_stat_archiver"
            ).split("|")
            server.destroy(child)
            died = clock.now().timestamp()
            timeline.mark("the host is destroyed just before it ships: every process killed")
        say(
            f"archived {archived[0]} files, {archived[1]} failures, {archived[2]} waiting; "
            f"{output.size(int(archived[3]))} of log written; "
            f"{len(beat.acknowledged)} heartbeats were acknowledged"
        )
    with report.step("Remove the machine's disks"):
        shutil.rmtree(first.socket)
        shutil.rmtree(host.directory)
        timeline.mark("data directory, pg_wal and the host's state are gone")
    return Lost(beat.acknowledged, moment, died)


def _let_in(first: Server) -> None:
    """Let art32, which runs as whoever runs this, replicate with the right REPLICATION alone."""
    hba = first.data / "pg_hba.conf"
    hba.write_text("local replication replicator trust\n" + hba.read_text())
    first.sql("SELECT pg_reload_conf()")
    clock.sleep(0.2)


def _wait_for_the_worst_moment(first: Server, options: Options) -> None:
    """Wait until the next segment is about to be shipped: what a host that dies then takes with it
    is the most that there can be. Under a load that fills segments faster that never comes."""
    last = (
        "SELECT coalesce(extract(epoch FROM clock_timestamp() - last_archived_time), 0)"
        " FROM pg_stat_archiver"
    )
    deadline = clock.monotonic() + 2 * options.archive_timeout
    while clock.monotonic() < deadline:
        if float(first.sql(last)) > options.archive_timeout - 0.5:
            return
        clock.sleep(0.1)


@contextlib.contextmanager
def _load(first: Server, options: Options, log: Path) -> Iterator[None]:
    seconds = 2 * (options.seconds + options.archive_timeout) + 60
    rate = ("-R", str(options.rate)) if options.rate else ()
    argv = first.client("pgbench", "-c", "4", "-j", "2", *rate, "-T", str(seconds), DATABASE)
    with log.open("wb") as output_:
        child = subprocess.Popen(argv, stdout=output_, stderr=output_, cwd="/")
    try:
        yield
    finally:
        child.kill()
        child.wait()


def _recover(
    report: Report,
    timeline: Timeline,
    directory: Path,
    restorer: Machine,
    lost: Lost,
    found: Server,
    moment: str | None,
) -> str:
    """Recover with art32, start, look; return a digest of all rows."""
    what = "to the last second before the mistake" if moment else "everything that was shipped"
    with report.step(f"With art32: {what}"):
        begun = clock.monotonic()
        at = ["--at", moment] if moment else []
        target = str(found.data)
        restorer.art32(
            report, "restore", machine.SOURCE, "--host", machine.HOST, *at, "--to", target
        )
        with server.running(found, directory / f"{found.data.parent.name}.log", {}):
            rto = clock.monotonic() - begun
            timeline.mark(f"art32: the server answers again, {what}: RTO {rto:.1f} s")
            return examine(timeline, found, lost, to_moment=moment is not None)


def _by_hand(
    report: Report,
    timeline: Timeline,
    directory: Path,
    keys: Keys,
    lost: Lost,
    found: Server,
    moment: str,
) -> str:
    work = directory / "work"
    work.mkdir()
    with report.step("With stock tools alone: to the last second before the mistake"):
        report.show(f"the blocks of runbooks/{machine.STOCK}.md, in bash")
        begun = clock.monotonic()
        values = machine.by_hand_values(found, directory / "store", keys, work, moment)
        try:
            machine.by_hand(keys, values)
            deadline = clock.monotonic() + 120
            while found.sql("SELECT pg_is_in_recovery()") != "f":
                if clock.monotonic() > deadline:
                    raise DemoError("the recovery does not end")
                clock.sleep(0.1)
            rto = clock.monotonic() - begun
            timeline.mark(f"stock tools: the server answers again: RTO {rto:.1f} s")
            return examine(timeline, found, lost, to_moment=True)
        finally:
            stop = [
                str(found.programs / "pg_ctl"),
                "-D",
                str(found.data),
                "-m",
                "immediate",
                "stop",
            ]
            subprocess.run(server.dropped(stop), cwd="/", capture_output=True, check=False)


if __name__ == "__main__":
    sys.exit(main())
