"""Scrubbing a log: the whole process from file to file on one core, beside other tools.

The log is generated: nginx's combined format and X-Forwarded-For, 28 % IPv6, e-mail addresses in
queries, 180,000 clients. All kinds are on. Input and output lie in memory (/dev/shm), so that a
plain copy is the limit. Slow peers get a slice.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.bench.measure import run
from tests.bench.setting import Setting
from tests.fuzz import distinct

CLIENTS = 180_000
MIB = 1 << 20
SLICE = 16 * MIB
_AGENTS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/124.0.0.0 Safari/537.36",
    "Mozilla/5.0 (X11; Linux x86_64; rv:125.0) Gecko/20100101 Firefox/125.0",
    "curl/8.5.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15",
)
_PATHS = (
    "/",
    "/static/app.3f2a1b9c.js",
    "/api/v1/items?page=2&sort=name",
    "/search?q=hello%20world",
    "/images/logo@2x.png",
    "/account/orders/2024",
    "/a/very/long/path/to/some/resource.html",
)
# Peers of the bench alone, in an environment of their own.
_PEERS = ("anonip==1.1.0", "pyarrow")
_QUAD = r"([0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.)[0-9]{1,3}"
_ARROW = """
import sys
import pyarrow as pa
import pyarrow.compute as pc
pa.set_cpu_count(1)
quad = r"([0-9]{1,3}[.][0-9]{1,3}[.][0-9]{1,3}[.])[0-9]{1,3}"
with open(sys.argv[1], "rb") as source, open(sys.argv[2], "wb") as target:
    while block := source.read(8 << 20):
        text = pa.array([block], pa.binary())
        target.write(pc.replace_substring_regex(text, quad, r"\\\\10")[0].as_py())
"""
_REFERENCE = """
import sys
from agent.config.logs_scrub import Scrub
from agent.logs.scrub import lines, open_scrubber
scrubber = open_scrubber(Scrub(), engine="reference")
with open(sys.argv[1], "rb") as source, open(sys.argv[2], "wb") as target:
    for block in lines.blocks(iter(lambda: source.read(lines.BLOCK), b"")):
        target.write(scrubber.scrub(block))
"""


def make_log(path: Path, size: int) -> None:
    """Write a log of about `size` bytes, of which what is over 256 MiB comes again."""
    source = random.Random(7)
    clients = [_client(source) for _ in range(CLIENTS)]
    written = 0
    with path.open("w") as file:
        while written < size:
            text = "".join(_line(source, clients) for _ in range(2000))
            file.write(text)
            written += len(text)


def make_hostile(path: Path, size: int) -> None:
    """Write a log in which every line has escapes and an address glued to a letter."""
    source = random.Random(8)
    clients = [_client(source) for _ in range(CLIENTS)]
    written = 0
    with path.open("w") as file:
        while written < size:
            text = "".join(
                _line(source, clients).replace(" HTTP", f"%2520x{source.choice(clients)}x HTTP")
                for _ in range(2000)
            )
            file.write(text)
            written += len(text)


def _client(source: random.Random) -> str:
    if source.random() < 0.28:
        return "2a01:" + ":".join(f"{source.randrange(1, 0x10000):x}" for _ in range(7))
    return ".".join(str(source.randrange(1, 255)) for _ in range(4))


def _line(source: random.Random, clients: list[str]) -> str:
    path = source.choice(_PATHS)
    if source.random() < 0.19:
        path += f"{'&' if '?' in path else '?'}contact=user{source.randrange(99999)}@example.org"
    forwarded = source.choice(clients) if source.random() < 0.25 else "-"
    return (
        f"{source.choice(clients)} - - [{source.randrange(10, 29)}/Nov/2026:06:"
        f'{source.randrange(10, 60)}:{source.randrange(10, 60)} +0000] "GET {path} HTTP/1.1" '
        f"{source.choice((200, 200, 304, 404))} {source.randrange(100_000)} "
        f'"{source.choice(("-", "https://www.example.com/start"))}" '
        f'"{source.choice(_AGENTS)}" "{forwarded}"\n'
    )


@dataclass(frozen=True)
class Peer:
    """A name, a command for bash, and which of the files it reads."""

    name: str
    command: str
    source: str


def scrub(setting: Setting, size: int, addresses: int) -> None:
    """Measure all of them and print what each does in a second."""
    room = Path("/dev/shm/art32-bench")
    room.mkdir(mode=0o700, exist_ok=True)
    try:
        make_log(room / "log", size)
        make_hostile(room / "hostile", size // 4)
        with (room / "log").open("rb") as file:
            (room / "slice").write_bytes(file.read(SLICE))
        (room / "arrow.py").write_text(_ARROW)
        (room / "reference.py").write_text(_REFERENCE)
        _compare(_peers(setting.art32, _environment(setting.base / "peers")), room)
    finally:
        shutil.rmtree(room)
    print(f"  {distinct.scrub(addresses).sentence()}")


def _environment(place: Path) -> Path:
    python = place / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *_PEERS], check=True)
    return python


def _peers(art32: str, python: Path) -> list[Peer]:
    filtered = f"{art32} --config /nonexistent logs scrub --quiet"
    back = "${1}0"
    return [
        Peer("plain copy", "dd if=IN of=OUT bs=256K status=none", "log"),
        Peer("anonip, first column", f"{python} -m anonip <IN >OUT", "slice"),
        Peer("art32, truncate", f"{filtered} <IN >OUT", "log"),
        Peer("art32, pseudonym", f"{filtered} --mode pseudonym <IN >OUT", "log"),
        Peer("art32, hostile lines", f"{filtered} <IN >OUT", "hostile"),
        Peer("art32, without kernel", f"{sys.executable} ROOM/reference.py IN OUT", "slice"),
        Peer("sed -E, IPv4 only", f"LC_ALL=C sed -E 's/{_QUAD}/\\10/g' <IN >OUT", "slice"),
        Peer("perl, IPv4 only", f"perl -pe 's/{_QUAD}/{back}/g' <IN >OUT", "slice"),
        Peer("rg, IPv4 only", f"rg --passthru -N '{_QUAD}' -r '{back}' <IN >OUT", "slice"),
        Peer("pyarrow, IPv4 only", f"{python} ROOM/arrow.py IN OUT", "log"),
    ]


def _compare(peers: list[Peer], room: Path) -> None:
    print(
        "\nscrubbing a log, whole process, one core (goals: truncate 40 and pseudonym 25 anonips,"
    )
    print("truncate a third of a copy, 70 MiB, hostile lines a fifth of truncate)")
    print(f"  {'':26} {'MB/s':>7} {'MB/cpu s':>9} {'anonips':>8} {'copies':>7} {'PSS MiB':>8}")
    rates: dict[str, float] = {}
    for peer in peers:
        source = room / peer.source
        command = peer.command.replace("ROOM", str(room)).replace("IN", str(source))
        command = command.replace("OUT", str(room / "out"))
        line = ["taskset", "-c", "0", "bash", "-c", command]
        size = source.stat().st_size
        best = min((run(line) for _ in range(3)), key=lambda one: one.cpu)
        memory = run(line, sample_memory=True).memory / MIB
        rates[peer.name] = size / best.cpu
        ratios = [
            f"{rates[peer.name] / rates[name]:{width}.2f}" if name in rates else " " * width
            for name, width in (("anonip, first column", 8), ("plain copy", 7))
        ]
        print(
            f"  {peer.name:26} {size / best.wall / 1e6:7.0f} {rates[peer.name] / 1e6:9.0f} "
            f"{ratios[0]} {ratios[1]} {memory:8.0f}",
            flush=True,
        )
