"""`make memcheck`: the kernel under the address sanitizer and under valgrind, with hostile lines.

python -m tests.fuzz.memory [BLOCKS]

A build with overflow checks runs what the differential fuzz generates: under rustc's address
sanitizer, where there is one (with AVX2 and AVX-512), and under valgrind's memcheck. Miri knows no
foreign caller and none of the special instructions.
"""

from __future__ import annotations

import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from agent.logs.scrub import kernel, rules_of
from tests.fuzz import compare, generate, requests

ROOT = Path(__file__).parents[2]
_CHECKED = (
    *("--edition", "2021", "-g", "-C", "opt-level=1"),
    *("-C", "debug-assertions=on", "-C", "overflow-checks=on"),
)
_SANITIZED = ["-Z", "sanitizer=address", "-C", "target-feature=-crt-static"]


def _record(kind: bytes, value: bytes) -> bytes:
    return kind + struct.pack("<I", len(value)) + value


def records(seed: int, blocks: int) -> Iterator[bytes]:
    """Yield what the program reads: each of the settings, with blocks and hits."""
    source = random.Random(seed)
    for settings in compare.SETTINGS:
        blob = b"".join(kernel._records(settings, rules_of(settings), compare.KEY))
        for kind in (b"S", b"s"):
            yield _record(kind, blob)
            for _ in range(blocks):
                yield _record(b"B", generate.block(source, source.randrange(1, 5)))
                text = b"\n".join(requests.line(source) for _ in range(source.randrange(1, 6)))
                if text:
                    yield _record(b"B", text)
                    yield _record(b"H", _hits(source, text))
    yield _record(b"B", b"")
    yield _record(b"B", b"203.0.113.7 " * 9000)


def _hits(source: random.Random, text: bytes) -> bytes:
    found = [
        source.randrange(len(text) + (source.random() < 0.02)) << 16 | source.randrange(24)
        for _ in range(source.randrange(1, 9))
    ]
    if source.random() < 0.95:
        found.sort()
    return struct.pack(f"<{len(found)}Q", *found)


def build(place: Path, *, sanitized: bool) -> Path | None:
    """Return the program; None where rustc has no sanitizer."""
    extra = _SANITIZED if sanitized else []
    environment = {**os.environ, "RUSTC_BOOTSTRAP": "1"} if sanitized else None
    library, program = place / "libart32_kernel.rlib", place / "memory"
    steps = (
        ["--crate-type", "rlib", "--crate-name", "art32_kernel", "kernel/src/lib.rs"],
        ["--extern", f"art32_kernel={library}", "tests/fuzz/memory.rs"],
    )
    for step, made in zip(steps, (library, program), strict=True):
        command = ["rustc", *_CHECKED, *extra, *step, "-o", str(made)]
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode and sanitized:
            print(f"no address sanitizer in this rustc: {done.stderr.splitlines()[0]}")
            return None
        if done.returncode:
            raise RuntimeError(done.stderr)
    return program


def main() -> int:
    """Return 1 when one of them finds something."""
    blocks = int(sys.argv[1]) if len(sys.argv) > 1 else 400
    place = Path(tempfile.mkdtemp(prefix="art32-"))
    try:
        seed = random.SystemRandom().getrandbits(32)
        print(f"seed {seed}")
        sanitizer = build(place, sanitized=True)
        if sanitizer is not None and not _run([str(sanitizer)], seed, 20 * blocks, "sanitizer"):
            return 1
        valgrind = shutil.which("valgrind")
        if valgrind is None:
            print("no valgrind here: apt-get install valgrind")
            return int(sanitizer is None)
        program = build(place, sanitized=False)
        command = [valgrind, "--quiet", "--error-exitcode=99", "--leak-check=full", str(program)]
        return int(not _run(command, seed + 1, blocks, "valgrind"))
    finally:
        shutil.rmtree(place)


def _run(command: list[str], seed: int, blocks: int, name: str) -> bool:
    data = b"".join(records(seed, blocks))
    done = subprocess.run(command, input=data, capture_output=True, check=False)
    print(f"{name}: {done.stdout.decode().strip() or 'nothing'}, status {done.returncode}")
    if done.returncode:
        print(done.stderr.decode("utf-8", "replace")[-4000:])
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
