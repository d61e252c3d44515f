"""A directory of files that a backup can get wrong, and the comparison of two such trees."""

from __future__ import annotations

import contextlib
import os
import random
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from demo.terminal import DemoError

_CHUNK = 1 << 20
_SPARSE_BYTES = 256 << 20
_SLACK = 1 << 20
_ODD_NAMES = (
    b"a name with spaces",
    b"two\nlines",
    b"-rf",
    b'quote\'s and "more"',
    b"back\\slash",
    b"tab\there",
    "Grüße 🎁".encode(),
    b"latin-1 \xfc\xdf",
    b"*",
    b"n" * 240,
)


def make(root: Path, scale: float) -> int:
    """Make the tree in a new directory; return the bytes of content in it, holes left out."""
    pick = random.Random(32)  # noqa: S311 - no secret
    for name in ("letters", "scans", "odd", "links", "empty directory"):
        (root / name).mkdir(parents=True)
    total = 0
    for number in range(max(3, round(scale * 400))):
        text = f"Dear customer {number},\n" + "thank you for your letter.\n" * pick.randint(1, 900)
        total += _write(root / "letters" / f"letter-{number:04d}.txt", text.encode())
    for number in range(max(2, round(scale * 30))):
        total += _write(root / "scans" / f"scan-{number:03d}.bin", pick.randbytes(500_000))
    for odd in _ODD_NAMES:
        total += _write(root / "odd" / os.fsdecode(odd), pick.randbytes(100))
    _write(root / "empty file", b"")
    for mode in (0o400, 0o640, 0o755):
        path = root / f"mode-{mode:o}"
        total += _write(path, b"mode\n")
        path.chmod(mode)
    total += _links(root / "links", pick)
    total += _sparse(root / "disk.img", pick)
    with contextlib.suppress(OSError):  # not every file system has extended attributes
        os.setxattr(root / "empty file", "user.art32.demo", b"value")
    moment = 1_000_000_000_123_456_789
    os.utime(root / "mode-640", ns=(moment, moment))
    return total


def _write(path: Path, content: bytes) -> int:
    path.write_bytes(content)
    return len(content)


def _links(directory: Path, pick: random.Random) -> int:
    first = directory / "invoice"
    size = _write(first, pick.randbytes(50_000))
    (directory / "the same invoice").hardlink_to(first)
    (directory / "to invoice").symlink_to("invoice")
    (directory / "to nowhere").symlink_to("/nonexistent/place")
    return size


def _sparse(path: Path, pick: random.Random) -> int:
    """Make a file of 256 MiB that occupies some hundred KiB."""
    with path.open("wb") as file:
        for place in (0, 100 << 20, _SPARSE_BYTES - 65536):
            file.seek(place)
            file.write(pick.randbytes(65536))
    return 3 * 65536


@dataclass(frozen=True)
class Compared:
    """How much was found equal."""

    entries: int
    content_bytes: int


def compare(one: Path, other: Path) -> Compared:
    """Compare names, kinds, content, modes, owners, times, links, attributes and holes.

    Raise DemoError at the first difference.
    """
    names, restored = list(_names(one)), list(_names(other))
    if names != restored:
        lost = len(set(names) - set(restored))
        raise DemoError(f"{lost} files are missing, {len(set(restored) - set(names))} are new")
    total = 0
    for name in names:
        left, right = one / name, other / name
        difference = _difference(left, right)
        if difference:
            raise DemoError(f"{name!a}: {difference} differs")
        if left.is_file() and not left.is_symlink():
            total += left.stat().st_size
    if _hard_links(one, names) != _hard_links(other, names):
        raise DemoError("the hard links differ")
    return Compared(len(names), total)


def _names(root: Path) -> Iterator[str]:
    """Yield the paths below a directory, and `.` for itself, in order."""
    yield "."
    for directory, folders, files in os.walk(root):
        folders.sort()
        for name in sorted((*folders, *files)):
            yield os.path.relpath(os.path.join(directory, name), root)


def _difference(one: Path, other: Path) -> str | None:
    left, right = one.lstat(), other.lstat()
    for what in ("st_mode", "st_uid", "st_gid", "st_mtime_ns"):
        if getattr(left, what) != getattr(right, what):
            return what.removeprefix("st_")
    if stat.S_ISLNK(left.st_mode):
        return "the link's target" if one.readlink() != other.readlink() else None
    if _attributes(one) != _attributes(other):
        return "an extended attribute"
    if not stat.S_ISREG(left.st_mode):
        return None
    if left.st_size != right.st_size:
        return "size"
    if right.st_blocks * 512 > left.st_blocks * 512 + _SLACK:
        return "the space on the disk (holes were filled)"
    return None if _same_content(one, other) else "content"


def _attributes(path: Path) -> dict[str, bytes]:
    with contextlib.suppress(OSError):
        return {name: os.getxattr(path, name) for name in os.listxattr(path)}
    return {}


def _same_content(one: Path, other: Path) -> bool:
    with one.open("rb") as left, other.open("rb") as right:
        while True:
            piece = left.read(_CHUNK)
            if piece != right.read(_CHUNK):
                return False
            if not piece:
                return True


def _hard_links(root: Path, names: list[str]) -> set[tuple[str, ...]]:
    groups: dict[int, list[str]] = {}
    for name in names:
        status = (root / name).lstat()
        if stat.S_ISREG(status.st_mode) and status.st_nlink > 1:
            groups.setdefault(status.st_ino, []).append(name)
    return {tuple(group) for group in groups.values()}
