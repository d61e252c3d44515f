"""Millions of different addresses through one process: a token for each, in bounded memory."""

from __future__ import annotations

import hashlib
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from socket import AF_INET, AF_INET6, inet_ntop

from agent.logs.scrub.keys import PeriodKey, today
from agent.logs.scrub.shared_keys import SharedKeys

_ODD = 0x9E3779B97F4A7C15  # times an odd number: each number once
MOST_MEMORY = 70 << 20


@dataclass(frozen=True)
class Outcome:
    """What came of it: lines that are wrong, seconds of processor, bytes of memory at most."""

    addresses: int
    tokens: int
    wrong: list[str]
    cpu: float
    memory: int

    def sentence(self) -> str:
        """Say it in one line."""
        return (
            f"{self.addresses} different addresses under `pseudonym`: {self.tokens} tokens, "
            f"{len(self.wrong)} wrong, {self.cpu:.1f} s of processor, "
            f"{self.memory >> 20} MiB at most"
        )


def addresses(count: int) -> Iterator[bytes]:
    """Yield so many different addresses, packed; 28 in 100 are of IPv6."""
    number = 0
    while count > 0:
        number += 1
        if number % 100 < 28:
            yield b"\x2a\x01" + bytes(6) + (number * _ODD % 2**64).to_bytes(8, "big")
        else:
            packed = (number * (_ODD % 2**32) % 2**32).to_bytes(4, "big")
            if packed[1:] == bytes(3):  # no host, stays as it is
                continue
            yield packed
        count -= 1


def expected(packed: bytes, key: PeriodKey, secret: bytes) -> bytes:
    """Return the token of an address, as docs/scrubbing.md says."""
    name = b"ip4" if len(packed) == 4 else b"ip6"
    digest = hashlib.blake2s(packed, key=secret, digest_size=8, person=name).hexdigest()
    return b"%s-%s-%s" % (name, key.key_id.encode(), digest.encode())


def scrub(count: int) -> Outcome:
    """Put so many addresses through `art32 logs pipe` and hold each token to what it must be."""
    place = Path(tempfile.mkdtemp(prefix="art32-", dir="/dev/shm"))
    try:
        key = SharedKeys(place / "keys").key(today())
        with (place / "raw").open("wb") as file:
            for packed in addresses(count):
                text = inet_ntop(AF_INET if len(packed) == 4 else AF_INET6, packed)
                file.write(b"%s x\n" % text.encode())
        cpu, memory = _run(place)
        secret, tokens = key.secret, set()
        wrong: list[str] = []
        with (place / "scrubbed").open("rb") as file:
            for packed, line in zip(addresses(count), file, strict=True):
                token = expected(packed, key, secret)
                tokens.add(int(token[-16:], 16))
                if line != token + b" x\n" and len(wrong) < 5:
                    wrong.append(f"{packed.hex()}: {line!r}")
        return Outcome(count, len(tokens), wrong, cpu, memory)
    finally:
        shutil.rmtree(place)


def _run(place: Path) -> tuple[float, int]:
    """Return the seconds of processor and the bytes of memory that it took."""
    config = place / "agent.toml"
    config.write_text(
        f'host = "h"\nstate_directory = "{place}/state"\n[store]\nkind = "directory"\n'
        f'path = "{place}"\n[logs.scrub]\nmode = "pseudonym"\nkey_directory = "{place}/keys"\n'
    )
    argv = [sys.executable, "-m", "agent", "--config", str(config), "logs", "pipe"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    memory = 0
    with (place / "raw").open("rb") as raw:
        child = subprocess.Popen([*argv, "--to", str(place / "scrubbed")], stdin=raw)
        while child.poll() is None:
            # not what wait4(2) says: that counts the memory of who started it
            memory = max(memory, _peak(child.pid))
            time.sleep(0.02)
    if child.returncode:
        raise RuntimeError(f"art32 logs pipe exited with {child.returncode}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return used, memory


def _peak(process: int) -> int:
    try:
        text = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0
    found = text.partition("VmHWM:")[2].split()
    return int(found[0]) << 10 if found else 0
