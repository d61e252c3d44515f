"""Names of the objects of a backup, and nothing else.

`<host>/<source>/<20261123T031500Z>-<id>/<object>`, below the store's prefix.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from datetime import datetime

from agent import clock

KEY = "key.pgp"
DETAILS = "details.pgp"
MANIFEST = "manifest.json"
SUMS = "SHA256SUMS"
SIGNATURE = "manifest.json.sig"

_PART = r"[a-z0-9][a-z0-9_.-]{0,62}"
_PLACE = re.compile(rf"({_PART})/({_PART})/([0-9]{{8}}T[0-9]{{6}}Z)-([0-9a-f]{{16}})")
_SEGMENT = re.compile(r"([0-9]{5,9})-([0-9a-f]{64})\.pgp")


@dataclass(frozen=True, order=True)
class Place:
    """Where one backup stands in a store."""

    host: str
    source: str
    started: str
    id: str

    @property
    def path(self) -> str:
        return f"{self.host}/{self.source}/{self.started}-{self.id}"

    def name(self, object_name: str) -> str:
        """Return an object's full name in the store."""
        return f"{self.path}/{object_name}"


def new_place(host: str, source: str, started: datetime) -> Place:
    """Return a place that no other backup has: 64 random bits."""
    return Place(host, source, clock.stamp(started), secrets.token_hex(8))


def parse(name: str) -> tuple[Place, str] | None:
    """Given a full object name, return its place and its name there; None for foreign names."""
    directory, _, object_name = name.rpartition("/")
    match = _PLACE.fullmatch(directory)
    return (Place(*match.groups()), object_name) if match else None


def segment(number: int, sha256: str) -> str:
    """Return the name of a segment: its number from 0 and the hash of its very bytes."""
    return f"{number:05d}-{sha256}.pgp"


def parse_segment(object_name: str) -> tuple[int, str] | None:
    """Return a segment's number and hash; None when the name is no segment's."""
    match = _SEGMENT.fullmatch(object_name)
    return (int(match[1]), match[2]) if match else None
