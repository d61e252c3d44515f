"""What somebody who owns the store can do to a backup, one function a deed.

Each is given the directory of the backup, that of an earlier one of the same source, and the keys
that such a person might have; none has the host's own key unless its name says so.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.fixtures.keys import Keys

Deed = Callable[[Path, Path, Keys], None]
MANIFEST, SIGNATURE = "manifest.json", "manifest.json.sig"
OBJECTS = ("key.pgp", "segment", "details.pgp", "SHA256SUMS", MANIFEST, SIGNATURE)
GIANT = 1 << 40


def segments(backup: Path) -> list[Path]:
    return sorted(path for path in backup.iterdir() if path.name[0].isdigit())


def find(backup: Path, name: str) -> Path:
    """Return an object's file; `segment` is one in the middle."""
    found = segments(backup)
    return found[len(found) // 2] if name == "segment" else backup / name


def write(path: Path, data: bytes) -> None:
    """Put other bytes under a name; the time of a file is the store's, and stays."""
    status = path.stat()
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def flip(name: str) -> Deed:
    def deed(backup: Path, earlier: Path, keys: Keys) -> None:
        path = find(backup, name)
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        write(path, bytes(data))

    return deed


def cut(name: str) -> Deed:
    def deed(backup: Path, earlier: Path, keys: Keys) -> None:
        path = find(backup, name)
        write(path, path.read_bytes()[:-1])

    return deed


def remove(name: str) -> Deed:
    def deed(backup: Path, earlier: Path, keys: Keys) -> None:
        find(backup, name).unlink()

    return deed


def inflate(name: str) -> Deed:
    def deed(backup: Path, earlier: Path, keys: Keys) -> None:
        os.truncate(find(backup, name), GIANT)  # a hole: it takes no room

    return deed


def take_from_the_earlier(name: str) -> Deed:
    def deed(backup: Path, earlier: Path, keys: Keys) -> None:
        write(find(backup, name), find(earlier, name).read_bytes())

    return deed


def link_outside(name: str) -> Deed:
    """Replace an object by a symbolic link to the very same bytes elsewhere."""

    def deed(backup: Path, earlier: Path, keys: Keys) -> None:
        path = find(backup, name)
        outside = backup.parents[2].parent / "outside"
        shutil.move(path, outside)
        path.symlink_to(outside)

    return deed


def link_whole_backup(backup: Path, earlier: Path, keys: Keys) -> None:
    outside = backup.parents[2].parent / "outside"
    shutil.move(backup, outside)
    backup.symlink_to(outside)


def pipe(name: str) -> Deed:
    def deed(backup: Path, earlier: Path, keys: Keys) -> None:
        path = find(backup, name)
        path.unlink()
        os.mkfifo(path)

    return deed


def swap_contents(backup: Path, earlier: Path, keys: Keys) -> None:
    first, second = segments(backup)[:2]
    one, other = first.read_bytes(), second.read_bytes()
    write(first, other)
    write(second, one)


def swap_numbers(backup: Path, earlier: Path, keys: Keys) -> None:
    first, second = segments(backup)[:2]
    first.rename(first.with_name("00001" + first.name[5:]))
    second.rename(second.with_name("00000" + second.name[5:]))


def remove_last_segment(backup: Path, earlier: Path, keys: Keys) -> None:
    segments(backup)[-1].unlink()


def plant_object(backup: Path, earlier: Path, keys: Keys) -> None:
    (backup / "planted").write_bytes(b"nobody signed this")


def plant_segment(backup: Path, earlier: Path, keys: Keys) -> None:
    shutil.copy(segments(earlier)[0], backup / f"00009-{'0' * 64}.pgp")


def plant_garbage(backup: Path, earlier: Path, keys: Keys) -> None:
    """Names that are no backup's, all through the store."""
    for top in (backup.parents[2], backup.parents[1], backup.parents[0]):
        (top / "README.txt").write_bytes(b"hello")
        (top / "20261123T000000Z-short").mkdir()
        (top / "20261123T000000Z-short" / SIGNATURE).write_bytes(b"x")
    (backup.parents[0] / "name\nwith a line").write_bytes(b"x")


def replay(host: str, source: str, stamp: str, number: str) -> Deed:
    """Move the backup, all of it unchanged, to where another one could stand."""

    def deed(backup: Path, earlier: Path, keys: Keys) -> None:
        place = backup.parents[2] / (host or backup.parents[1].name)
        place /= source or backup.parent.name
        place.mkdir(parents=True, exist_ok=True)
        old_stamp, _, old_number = backup.name.partition("-")
        backup.rename(place / f"{stamp or old_stamp}-{number or old_number}")

    return deed


def sign(backup: Path, keys: Keys, key: str) -> None:
    signer = getattr(keys, key)
    write(backup / SIGNATURE, signer.sign((backup / MANIFEST).read_bytes()))


def resign(key: str) -> Deed:
    def deed(backup: Path, earlier: Path, keys: Keys) -> None:
        sign(backup, keys, key)

    return deed


def append_signature(key: str) -> Deed:
    def deed(backup: Path, earlier: Path, keys: Keys) -> None:
        path = backup / SIGNATURE
        more = getattr(keys, key).sign((backup / MANIFEST).read_bytes())
        write(path, path.read_bytes() + more)

    return deed


def rewrite(change: Callable[[dict[str, Any]], object], *, signer: str | None = None) -> Deed:
    """Change the manifest's document, and sign it again where a key is named."""

    def deed(backup: Path, earlier: Path, keys: Keys) -> None:
        document = json.loads((backup / MANIFEST).read_bytes())
        change(document)
        write(backup / MANIFEST, json.dumps(document, indent=2).encode() + b"\n")
        if signer is not None:
            sign(backup, keys, signer)

    return deed


def replace_manifest(data: bytes, *, signer: str | None = None) -> Deed:
    """Put any bytes in the manifest's place, and sign them where a key is named."""

    def deed(backup: Path, earlier: Path, keys: Keys) -> None:
        write(backup / MANIFEST, data)
        if signer is not None:
            sign(backup, keys, signer)

    return deed
