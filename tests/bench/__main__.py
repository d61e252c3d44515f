"""Prints a table with ratios: the same data, the same disk, side by side in one run.

python -m tests.bench [--dump-gib 4] [--tree-gib 1] [--stream-gib 1 20] [--idle-seconds 60]
                      [--only PART ...]
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from tests.bench import data, idle, logs_scan, pipe, scrubbing, wal
from tests.bench.measure import Measured, run
from tests.bench.setting import Setting

GIB = 1 << 30
PARTS = (
    "start",
    "program",
    "fixed",
    "dump",
    "restore",
    "tree",
    "files",
    "memory",
    "idle",
    "pipe",
    "scan",
    "scrub",
    "wal",
)


class Table:
    """Rows of one comparison; ratios are to the first row, which is Art32."""

    def __init__(self, title: str) -> None:
        print(f"\n{title}")
        print(f"  {'':34} {'wall s':>8} {'cpu s':>8} {'art32/it':>9}  {'PSS MiB':>8}")
        self.first: Measured | None = None

    def add(self, name: str, work: Callable[[], Measured], *, rounds: int = 1) -> Measured:
        """Measure, print, and return the fastest of some rounds."""
        best = min((work() for _ in range(rounds)), key=lambda one: one.wall)
        self.first = self.first or best
        memory = f"{best.memory / (1 << 20):8.0f}" if best.memory else " " * 8
        ratio = self.first.wall / best.wall
        print(f"  {name:34} {best.wall:8.2f} {best.cpu:8.2f} {ratio:9.2f}  {memory}", flush=True)
        return best


def start(setting: Setting) -> None:
    """`art32 --help` beside an interpreter that only imports click."""
    table = Table("start-up: `art32 --help`")
    table.add("art32 --help", lambda: run([setting.art32, "--help"]), rounds=9)
    table.add(
        "python -c 'import click'", lambda: run([sys.executable, "-c", "import click"]), rounds=9
    )


def program(_: Setting) -> None:
    """The Pulumi program of the largest profile beside the import of its largest service."""
    table = Table("infrastructure: profile `ha` under mocks (goal: at most 12 imports)")
    table.add("infra, `ha`", lambda: run([sys.executable, "-m", "tests.bench.program"]), rounds=3)
    table.add(
        "python -c 'import pulumi_aws.ec2'",
        lambda: run([sys.executable, "-c", "import pulumi_aws.ec2"]),
        rounds=3,
    )


def fixed(setting: Setting) -> None:
    """What a backup of almost nothing costs."""
    table = Table("fixed cost: a backup of one line (goal: 0.7 s)")
    table.add("art32", lambda: setting.back_up("line"), rounds=5)
    table.add("bare pipeline", lambda: setting.bare("echo one line"), rounds=5)


def dump(setting: Setting) -> None:
    """A plain dump."""
    file = setting.dump
    table = Table(f"first full backup of a plain dump, {file.stat().st_size / GIB:.1f} GiB")
    table.add("art32", lambda: setting.back_up("dump"), rounds=2)
    table.add("bare pipeline", lambda: setting.bare(f"cat {file}"), rounds=2)
    table.add("restic", lambda: setting.restic(stdin=file))
    table.add("borg", lambda: setting.borg(stdin=file))
    table.add("duplicity", lambda: setting.duplicity(file.parent))


def restore(setting: Setting) -> None:
    """The same dump brought back, to a pipe that throws it away."""
    file = setting.dump
    setting.back_up("dump")
    setting.restic(stdin=file)
    setting.borg(stdin=file)
    table = Table(f"restore of a plain dump, {file.stat().st_size / GIB:.1f} GiB")
    art32 = table.add("art32", lambda: setting.restore("dump"), rounds=3)
    bare = table.add("cat | gpg -d | zstd -d", setting.bare_restore(), rounds=3)
    table.add("restic", setting.restic_restore)
    table.add("borg", setting.borg_restore)
    setting.back_up("line")
    fixed = table.add("art32, a backup of one line", lambda: setting.restore("line"), rounds=5)
    print(f"  rate beside the bare pipe, without this: {bare.wall / (art32.wall - fixed.wall):.2f}")


def tree(setting: Setting) -> None:
    """A directory of mixed files."""
    table = Table("first full backup of a directory of mixed files")
    table.add("art32", lambda: setting.back_up("tree"), rounds=2)
    table.add("bare pipeline", lambda: setting.bare(f"tar -C {setting.tree} -c ."), rounds=2)
    table.add("restic", lambda: setting.restic(directory=setting.tree))
    table.add("borg", lambda: setting.borg(directory=setting.tree))
    table.add("duplicity", lambda: setting.duplicity(setting.tree))


def files(setting: Setting) -> None:
    """Many small files, at the pace of tar."""
    table = Table("50,000 small files")
    table.add("art32", lambda: setting.back_up("files"), rounds=3)
    options = "--acls --xattrs --sparse"
    command = f"tar -C {setting.files} {options} -c ."
    table.add("bare pipeline, same tar options", lambda: setting.bare(command), rounds=3)
    table.add("restic", lambda: setting.restic(directory=setting.files))
    table.add("borg", lambda: setting.borg(directory=setting.files))


def memory(setting: Setting, sizes: list[int]) -> None:
    """The memory of all processes together while a generated stream goes through."""
    table = Table("memory of a generated stream (goal: PSS under 300 MiB, the same for any size)")
    for size in sizes:
        setting.write_config(stream_gib=size)
        table.add(f"art32 backup, {size} GiB", lambda: setting.back_up("stream", memory=True))
        table.add(f"art32 restore, {size} GiB", lambda: setting.restore("stream", memory=True))


def scan(setting: Setting, size: int) -> None:
    """Attack detection beside programs that search the same patterns and judge nothing.

    One core, the file in the page cache; goal: 500 MB/s of ordinary traffic, whole process.
    """
    logs = setting.base / "logs"
    perl, posix = logs_scan.write_patterns(logs)
    pinned = ["taskset", "--cpu-list", "0"]
    for name, lines, share in (
        ("ordinary traffic, 3 % errors", logs_scan.ordinary, 1),
        ("an attack in every line", logs_scan.attacks, 20),
    ):
        length = size // share
        file = logs_scan.make(logs / f"{share}.log", length, lines)
        part = logs_scan.make(logs / f"{share}.part.log", min(length, 8 << 20), lines)
        for path, slow in ((file, False), (part, True)):
            length = path.stat().st_size
            table = Table(f"scan: {name}, {length / 1e6:.0f} MB{' (slow ones)' if slow else ''}")
            engine = "re" if slow else "hyperscan"
            art32 = [*pinned, setting.art32, "logs", "scan", "--engine", engine, str(path)]
            best = table.add(
                f"art32 logs scan, {engine}",
                lambda art32=art32: run(art32, expect=(0, 20)),  # type: ignore[misc]
                rounds=1 if slow else 3,
            )
            mega = length / 1e6
            print(f"  {'':34} {mega / best.wall:8.0f} {mega / best.cpu:8.0f} MB/s (goal: 500)")
            others = {
                "rg --count, the same patterns": [
                    "rg",
                    "-c",
                    "-i",
                    "-a",
                    "-f",
                    str(perl),
                    str(path),
                ],
                "python re, one alternation": logs_scan.python_command(path, perl),
            }
            if slow:
                others["grep -E -c, the same patterns"] = [
                    *("env", "LC_ALL=C", "grep", "-E", "-c", "-i", "-a", "-f", str(posix)),
                    str(path),
                ]
            for other, argv in others.items():
                if slow or not other.startswith("python"):
                    command = [*pinned, *argv]
                    table.add(other, lambda command=command: run(command, expect=(0, 1)))  # type: ignore[misc]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--directory", type=Path, default=Path("bench-output"))
    parser.add_argument("--dump-gib", type=float, default=4)
    parser.add_argument("--tree-gib", type=float, default=1)
    parser.add_argument("--stream-gib", type=int, nargs="*", default=[1, 20])
    parser.add_argument("--log-mib", type=int, default=1024, help="ordinary traffic to scan")
    parser.add_argument("--addresses", type=int, default=10_000_000, help="different ones to scrub")
    parser.add_argument("--wal-segments", type=int, default=24, help="how many are pushed")
    parser.add_argument("--idle-seconds", type=float, default=60)
    parser.add_argument("--only", nargs="*", choices=PARTS, default=list(PARTS))
    options = parser.parse_args()
    base = options.directory.resolve()
    base.mkdir(parents=True, exist_ok=True)
    setting = Setting(base)
    if {"dump", "restore"} & set(options.only):
        setting.dump.parent.mkdir(exist_ok=True)
        data.make_dump(setting.dump, int(options.dump_gib * GIB))
    if "tree" in options.only:
        data.make_tree(setting.tree, int(options.tree_gib * GIB))
    if "files" in options.only:
        data.make_small_files(setting.files, 50_000)
    setting.write_config(stream_gib=1)
    print(f"{os.cpu_count()} cores; rounds: the fastest counts; ratio below 1: art32 is faster")
    work: dict[str, Callable[[], None]] = {
        "start": lambda: start(setting),
        "program": lambda: program(setting),
        "fixed": lambda: fixed(setting),
        "dump": lambda: dump(setting),
        "restore": lambda: restore(setting),
        "tree": lambda: tree(setting),
        "files": lambda: files(setting),
        "memory": lambda: memory(setting, options.stream_gib),
        "idle": lambda: idle.table(setting, options.idle_seconds),
        "scrub": lambda: scrubbing.scrub(setting, options.log_mib << 20, options.addresses),
        "pipe": pipe.table,
        "wal": lambda: wal.table(setting, options.wal_segments),
        "scan": lambda: scan(setting, options.log_mib << 20),
    }
    try:
        for part in options.only:
            work[part]()
    finally:
        shutil.rmtree(setting.scratch, ignore_errors=True)
        shutil.rmtree(setting.store, ignore_errors=True)


if __name__ == "__main__":
    main()
