"""WAL archiving: a real server's segments, pushed one call after the other as its archiver does."""

from __future__ import annotations

import compileall
import contextlib
import os
import pwd
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.bench.setting import Setting

ROOT = Path(__file__).parent.parent.parent
_BINARIES = Path("/usr/lib/postgresql")
USER = "nobody"
_ROUNDS = 2


def table(setting: Setting, count: int) -> None:
    """Push `count` full segments of pgbench's writes to a directory, and bring them back, each way
    in turn."""
    with cluster(count) as (data, names):
        size = sum((data / "pg_wal" / name).stat().st_size for name in names)
        base = data.parent
        ways: list[
            tuple[str, Callable[[], contextlib.AbstractContextManager[tuple[str, str, Path]]]]
        ] = [
            ("art32 wal", lambda: _art32(setting, base)),
            ("pgbackrest archive", lambda: _pgbackrest(base, asynchronous=False)),
            ("pgbackrest archive, async", lambda: _pgbackrest(base, asynchronous=True)),
            ("zstd, gpg, sync, mv", lambda: _bare(setting, base)),
            ("cp, sync, mv", lambda: _copy(base)),
        ]
        pushed: dict[str, Moved] = {}
        fetched: dict[str, Moved] = {}
        for _ in range(_ROUNDS):  # in turn, so that all have the same neighbours
            for title, prepare in ways:
                with prepare() as (push, fetch, store):
                    _better(pushed, title, _pushed(push, data, names, store))
                    _better(fetched, title, _fetched(fetch, data, names))
        for what, best in (("to the store", pushed), ("back", fetched)):
            print(f"\nWAL {what}: {count} segments of pgbench, {size >> 20} MiB, one call each")
            print(
                f"  {'':28} {'wall s':>8} {'MiB/s':>8} {'it/art32':>8} {'median ms':>10} "
                f"{'worst ms':>9} {'stored':>9}"
            )
            mine = next(iter(best.values()))
            for title, one in best.items():
                stored = f"{pushed[title].stored >> 20:5} MiB"
                print(
                    f"  {title:28} {one.wall:8.2f} {(size >> 20) / one.wall:8.1f} "
                    f"{one.wall / mine.wall:8.2f} {statistics.median(one.times):10.0f} "
                    f"{max(one.times):9.0f} {stored:>9}",
                    flush=True,
                )
    _start()


@dataclass(frozen=True)
class Moved:
    """Seconds for all, milliseconds for each, bytes in the store."""

    wall: float
    times: list[float]
    stored: int = 0


def _better(best: dict[str, Moved], title: str, one: Moved) -> None:
    best[title] = min(best.get(title, one), one, key=lambda moved: moved.wall)


def _fetched(command: str, data: Path, names: list[str]) -> Moved:
    target = data / "pg_wal" / "RECOVERYXLOG"
    times = []
    begun = time.monotonic()
    for name in names:
        line = command.replace("%p", "pg_wal/RECOVERYXLOG").replace("%f", name)
        before = time.monotonic()
        subprocess.run(["sh", "-c", line], cwd=data, check=True, capture_output=True)
        times.append(1000 * (time.monotonic() - before))
        target.rename(target.with_suffix(".last"))
    wall = time.monotonic() - begun
    last = target.with_suffix(".last")
    assert last.read_bytes() == (data / "pg_wal" / names[-1]).read_bytes()
    last.unlink()
    return Moved(wall, times)


def _pushed(command: str, data: Path, names: list[str], store: Path) -> Moved:
    status = data / "pg_wal" / "archive_status"
    for name in names:
        (status / f"{name}.done").unlink(missing_ok=True)
        (status / f"{name}.ready").touch()
    os.sync()
    times = []
    begun = time.monotonic()
    for name in names:
        line = command.replace("%p", f"pg_wal/{name}").replace("%f", name)
        before = time.monotonic()
        subprocess.run(["sh", "-c", line], cwd=data, check=True, capture_output=True)
        times.append(1000 * (time.monotonic() - before))
        (status / f"{name}.ready").rename(status / f"{name}.done")
    wall = time.monotonic() - begun
    stored = sum(path.stat().st_size for path in store.rglob("*") if path.is_file())
    return Moved(wall, times, stored)


@contextlib.contextmanager
def cluster(count: int) -> Iterator[tuple[Path, list[str]]]:
    """Run a server until it has written so many segments; it keeps them all, and runs on."""
    binaries = max(_BINARIES.glob("*/bin"), key=lambda path: int(path.parent.name))
    account = pwd.getpwnam(USER)

    def run_as(argv: list[str]) -> list[str]:
        if os.geteuid() != 0:
            return argv
        ids = f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"
        return ["setpriv", *ids, *argv]

    base = Path(tempfile.mkdtemp(prefix="art32-wal-", dir="/var/tmp"))
    base.chmod(0o755)
    if os.geteuid() == 0:
        shutil.chown(base, USER, account.pw_gid)
    data = base / "data"
    environment = {**os.environ, "PGHOST": str(base), "PGUSER": "admin", "PGDATABASE": "postgres"}

    def client(*argv: str) -> None:
        subprocess.run(
            run_as([str(binaries / argv[0]), *argv[1:]]),
            check=True, capture_output=True, env=environment, cwd=base,
        )  # fmt: skip

    client("initdb", "--pgdata", str(data), "--username", "admin", "--auth=trust", "--no-sync")
    options = (
        f"-k {base} -c listen_addresses= -c archive_mode=on -c archive_command=false "
        "-c fsync=off -c synchronous_commit=off -c max_wal_size=8GB -c shared_buffers=128MB"
    )
    client("pg_ctl", "--pgdata", str(data), "--log", f"{base}/log", "-o", options, "-w", "start")
    try:
        client("pgbench", "-i", "-s", "5", "-q")
        ready = data / "pg_wal" / "archive_status"
        while len(names := sorted(path.stem for path in ready.glob("*.ready"))) < count:
            # whole pages come after each checkpoint, as in any server's log
            client("psql", "-X", "-q", "-c", "CHECKPOINT")
            client("pgbench", "-n", "-M", "prepared", "-c", "4", "-j", "2", "-t", "2500")
        yield data, names[:count]
    finally:
        with contextlib.suppress(subprocess.CalledProcessError):
            client("pg_ctl", "--pgdata", str(data), "-m", "immediate", "stop")
        shutil.rmtree(base, ignore_errors=True)


Prepared = Iterator[tuple[str, str, Path]]  # commands as in postgresql.conf, and the store


@contextlib.contextmanager
def _art32(setting: Setting, base: Path) -> Prepared:
    config, store, address = setting.base / "wal.toml", setting.base / "wal-store", base / "s"
    shutil.rmtree(store, ignore_errors=True)
    shutil.rmtree(setting.base / "wal-state", ignore_errors=True)
    store.mkdir()
    setting.write_config(stream_gib=1)
    text = setting.config.read_text()
    text = text.replace(f'path = "{setting.store}"', f'path = "{store}"', 1)
    text = text.replace(f'"{setting.base}/state"', f'"{setting.base}/wal-state"', 1)
    config.write_text(f'{text}\n[wal]\nsocket = "{address}"\nclients = ["{USER}"]\n')
    notify = base / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(notify))
        child = subprocess.Popen(
            [setting.art32, "--config", str(config), "wal", "serve"],
            env={**os.environ, "NOTIFY_SOCKET": str(notify)},
            stderr=subprocess.DEVNULL,
        )
        try:
            heard.settimeout(60)
            heard.recv(100)
            art32 = f"{_installed(base)} wal"
            yield (
                f"{art32} push --socket {address} %p",
                f"{art32} fetch --socket {address} %f %p",
                store,
            )
        finally:
            child.send_signal(signal.SIGTERM)
            child.wait()
            notify.unlink()
            shutil.rmtree(store, ignore_errors=True)


def _installed(base: Path) -> Path:
    """Install the agent as the package does it, and return the path of `art32`: in a checkout's own
    environment each start of Python looks for what can be edited, twice as long as all the rest."""
    place = base / "opt"
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = place / "lib" / version / "site-packages"
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(ROOT / "agent", packages / "agent")
    compileall.compile_dir(packages, quiet=2)
    (place / "bin").mkdir()
    python = Path(sys.executable).resolve()
    (place / "pyvenv.cfg").write_text(
        f"home = {python.parent}\ninclude-system-site-packages = false\n"
    )
    (place / "bin" / "python").symlink_to(python)
    program = place / "bin" / "art32"
    program.write_text(f"#!{place}/bin/python -I\nfrom agent.__main__ import main\n\nmain()\n")
    program.chmod(0o755)
    return program


@contextlib.contextmanager
def _pgbackrest(base: Path, *, asynchronous: bool) -> Prepared:
    """As its guide has it, and with encryption, which there is a passphrase on the host."""
    home = Path(tempfile.mkdtemp(dir=base))  # what works asynchronously may still write to the last
    config = home / "pgbackrest.conf"
    config.write_text(
        f"[global]\nrepo1-path={home}/repo\nlog-path={home}/log\nlock-path={home}/lock\n"
        f"spool-path={home}/spool\nlog-level-console=warn\nlog-level-file=off\n"
        "compress-type=zst\ncompress-level=1\nprocess-max=2\n"
        "repo1-cipher-type=aes-256-cbc\nrepo1-cipher-pass=a passphrase of the bench\n"
        f"archive-async={'y' if asynchronous else 'n'}\n"
        f"[b]\npg1-path={base}/data\npg1-socket-path={base}\npg1-user=admin\n"
    )
    for name in ("repo", "log", "lock", "spool"):
        (home / name).mkdir()
    command = f"pgbackrest --config={config} --stanza=b"
    subprocess.run(
        ["sh", "-c", f"{command} --no-online stanza-create"],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    try:
        yield f"{command} archive-push %p", f"{command} archive-get %f %p", home / "repo"
    finally:
        shutil.rmtree(home, ignore_errors=True)


@contextlib.contextmanager
def _bare(setting: Setting, base: Path) -> Prepared:
    store, home = base / "bare", base / "gnupg"
    for path in (store, home):
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(mode=0o700)
    for name in ("operations", "escrow"):
        shutil.copy(setting.base / f"{name}.asc", base / f"{name}.asc")
        (base / f"{name}.asc").chmod(0o644)
    files = " ".join(f"--recipient-file {base}/{name}.asc" for name in ("operations", "escrow"))
    yield (
        (
            f"set -e; zstd -q -1 -c %p | gpg --homedir {home} --no-options --batch -q -z0 "
            f"--trust-model always {files} -e >{store}/%f.tmp; sync {store}/%f.tmp; "
            f"mv {store}/%f.tmp {store}/%f"
        ),
        (
            f"set -e; gpg --homedir {setting.homes['operations']} --no-options --batch -q "
            f"-d {store}/%f | zstd -q -d >%p"
        ),
        store,
    )


@contextlib.contextmanager
def _copy(base: Path) -> Prepared:
    store = base / "copies"
    shutil.rmtree(store, ignore_errors=True)
    store.mkdir()
    yield (
        f"cp %p {store}/%f.tmp && sync {store}/%f.tmp && mv {store}/%f.tmp {store}/%f",
        f"cp {store}/%f %p",
        store,
    )


def _start() -> None:
    """What a client costs that finds nobody to ask, beside an interpreter that does nothing."""
    print("\nWAL: start of the client")
    client = (
        "from agent.wal import client; client.main(['push', '--socket', '/nowhere', '/dev/null'])"
    )
    for title, argv in (
        ("python -c pass", ["-c", "pass"]),
        ("art32 wal push, nobody there", ["-c", client]),
        ("python -c 'import click'", ["-c", "import click"]),
    ):
        times = []
        for _ in range(20):
            before = time.monotonic()
            subprocess.run([sys.executable, *argv], cwd=ROOT, check=False, capture_output=True)
            times.append(1000 * (time.monotonic() - before))
        print(f"  {title:34} {statistics.median(times):8.1f} ms", flush=True)
