"""Generated data: text that compresses like a database's, and a tree of mixed files.

Nothing repeats, so that a deduplicating program gains nothing that real data would not give it.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
from pathlib import Path

_PART = 64 << 20
_WORDS = [
    "invoice", "delivery", "customer", "complaint", "address", "payment", "order", "late", "the",
    "please", "changed", "since", "phone", "returned", "contract", "quarter", "and", "was", "not",
]  # fmt: skip


def _dump_part(job: tuple[int, int, str]) -> None:
    number, size, path = job
    source = random.Random(number)
    identifier = number * 10_000_000
    written = 0
    with Path(path).open("wb") as handle:
        while written < size:
            rows = []
            for _ in range(2000):
                identifier += 1
                words = " ".join(source.choices(_WORDS, k=8))
                rows.append(
                    f"{identifier}\t2026-{source.randrange(1, 13):02d}-"
                    f"{source.randrange(1, 29):02d}"
                    f"\t{source.getrandbits(64):016x}\t{source.randrange(10**7) / 100:.2f}"
                    f"\tcustomer{source.randrange(10**6)}@example.invalid\t{words}\n"
                )
            block = "".join(rows).encode()[: size - written]
            handle.write(block)
            written += len(block)


def make_dump(path: Path, size: int) -> None:
    """Write a plain dump of `size` bytes, unless it is there."""
    if path.exists() and path.stat().st_size == size:
        return
    parts = [
        (number, min(_PART, size - number * _PART), f"{path}.{number}")
        for number in range((size + _PART - 1) // _PART)
    ]
    with multiprocessing.Pool(os.cpu_count()) as pool:
        pool.map(_dump_part, parts, chunksize=1)
    with path.open("wb") as whole:
        for _, _, name in parts:
            with Path(name).open("rb") as part:
                shutil.copyfileobj(part, whole, 1 << 20)
            Path(name).unlink()


def make_tree(path: Path, size: int) -> None:
    """Write a tree of about `size` bytes: a third text, two thirds incompressible, mixed sizes."""
    if path.exists():
        return
    temporary = path.with_suffix(".part")
    shutil.rmtree(temporary, ignore_errors=True)
    source = random.Random(1)
    written = number = 0
    while written < size:
        directory = temporary / f"{number % 40:02d}" / f"{number % 7}"
        directory.mkdir(parents=True, exist_ok=True)
        length = min(size - written, int(source.lognormvariate(12.0, 1.6)) + 1)
        file = directory / f"file-{number:06d}"
        if number % 3 == 0:
            _dump_part((number, length, str(file)))
        else:
            file.write_bytes(source.randbytes(length))
        written += length
        number += 1
    temporary.rename(path)


def make_small_files(path: Path, count: int) -> None:
    """Write `count` files of some 300 bytes each, 500 in a directory."""
    if path.exists():
        return
    temporary = path.with_suffix(".part")
    shutil.rmtree(temporary, ignore_errors=True)
    for number in range(count):
        directory = temporary / f"{number // 500:04d}"
        if number % 500 == 0:
            directory.mkdir(parents=True)
        (directory / f"{number}").write_bytes(b"%d " % number * 50)
    temporary.rename(path)
