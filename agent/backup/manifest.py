"""The manifest: what is signed. It tells nothing about the content.

One key a line, so that `grep -F '"host": "db1"'` answers at 3 a.m.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from agent import redact
from agent.backup import layout
from agent.backup.layout import Place

MANIFEST_LIMIT = 64 << 20
SHA256 = r"^[0-9a-f]{64}$"
_ID = r"^[0-9a-f]{16}$"
_MOMENT = r"^[0-9]{8}T[0-9]{6}Z$"
_POSITION = r"^[0-9A-F]{1,8}/[0-9A-F]{1,8}$"
_SET_LIMIT = 100_000

# Whoever signs may be a stolen host: no field may carry text to a terminal.
Fingerprint = Annotated[str, Field(pattern=r"^[0-9A-F]{40,64}$")]
Id = Annotated[str, Field(pattern=_ID)]
Word = Annotated[str, Field(pattern=r"^[a-z][a-z-]{0,39}$")]


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class ObjectEntry(_Document):
    """One object of the backup: its name beside the manifest, its bytes, their SHA-256."""

    name: str
    size: int = Field(ge=0)
    sha256: str = Field(pattern=SHA256)


class SetEntry(_Document):
    """One of several backups that were made together, from 1."""

    id: Id
    number: int = Field(ge=1, le=_SET_LIMIT)
    size: int = Field(ge=1, le=_SET_LIMIT)


class WalEntry(_Document):
    """What a base backup needs of the write-ahead log: from `start` on; without `stop` it is not
    consistent. The names in the archive tell as much to whoever lists it."""

    system_id: str = Field(pattern=r"^[1-9][0-9]{0,19}$")
    timeline: int = Field(ge=1, lt=1 << 32)
    start: str = Field(pattern=_POSITION)
    stop: str = Field(pattern=_POSITION)
    segment_bytes: int = Field(ge=1 << 20, le=1 << 30)


class Manifest(_Document):
    """Format version 1. `suspicious` names what a person should look at; `accepted` are ids of
    earlier suspicious backups of this source that a person on the host has accepted. `sequence`
    counts what a key has signed, `ordinal` what of it stands in the same area of the store."""

    format: Literal["art32/backup/1"] = "art32/backup/1"
    prefix: str
    host: str
    source: str
    id: Id
    member: Id | None = None
    set: SetEntry | None = None
    sequence: int = Field(ge=1)
    ordinal: int | None = Field(None, ge=1)
    previous: str = Field(pattern=SHA256)
    ledger: str = Field(pattern=SHA256)
    started: str = Field(pattern=_MOMENT)
    finished: str = Field(pattern=_MOMENT)
    signer: Fingerprint
    recipients: list[Fingerprint]
    suspicious: list[Word] = []
    accepted: list[Id] = []
    wal: WalEntry | None = None
    objects: list[ObjectEntry]

    @model_validator(mode="after")
    def _whole(self) -> Manifest:
        names = [entry.name for entry in self.objects]
        if len(set(names)) != len(names):
            raise ValueError("an object is listed twice")
        for needed in (layout.KEY, layout.DETAILS, layout.SUMS):
            if needed not in names:
                raise ValueError(f"`{needed}` is not listed")
        numbers = []
        for entry in self.objects:
            parsed = layout.parse_segment(entry.name)
            if parsed is None:
                if entry.name not in (layout.KEY, layout.DETAILS, layout.SUMS):
                    raise ValueError("an object of an unknown kind is listed")
            elif parsed[1] != entry.sha256:
                raise ValueError("a segment's name and hash differ")
            else:
                numbers.append(parsed[0])
        if numbers != list(range(len(numbers))) or not numbers:
            raise ValueError("the segments are not numbered from 0 without a gap")
        return self

    def entry(self, name: str) -> ObjectEntry:
        """Return the entry of an object that every backup has."""
        return next(entry for entry in self.objects if entry.name == name)

    @property
    def segments(self) -> list[ObjectEntry]:
        return [entry for entry in self.objects if layout.parse_segment(entry.name)]

    @property
    def number(self) -> int:
        """The how-manieth of its area it is: without a gap, unless something is missing."""
        return self.ordinal or self.sequence

    @property
    def size(self) -> int:
        """Bytes of all objects in the store."""
        return sum(entry.size for entry in self.objects)

    def binds(self, prefix: str, place: Place) -> bool:
        """Whether this manifest was made for that very place."""
        return (self.prefix, self.host, self.source, self.started, self.id) == (
            prefix,
            place.host,
            place.source,
            place.started,
            place.id,
        )

    def serialise(self) -> bytes:
        """Return the bytes that are signed."""
        document = self.model_dump(mode="json")
        if self.wal is None:
            del document["wal"]
        return (json.dumps(document, indent=2, ensure_ascii=True) + "\n").encode()


def parse(data: bytes) -> Manifest:
    """Return the manifest in these bytes; raise ValueError with a short reason otherwise."""
    try:
        return Manifest.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        # the name of a field too many is whatever its author wanted
        raise ValueError(redact.line(f"{place or 'manifest'}: {first['msg']}")) from None


def sums(objects: list[ObjectEntry]) -> bytes:
    """Return the text that `sha256sum -c` checks."""
    return "".join(f"{entry.sha256}  {entry.name}\n" for entry in objects).encode()


def sha256(data: bytes | bytearray | memoryview) -> str:
    """Return the SHA-256 of bytes in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


class Details(_Document):
    """What is in the backup: encrypted under the backup's own key."""

    format: Literal["art32/details/1"] = "art32/details/1"
    kind: str
    member: str = ""
    plain_bytes: int = Field(ge=0)
    compressed_bytes: int = Field(ge=0)
    rows: dict[str, int] | None = None
    facts: dict[str, Any] = {}
    warnings: list[tuple[str, int]] = []

    def serialise(self) -> bytes:
        return json.dumps(self.model_dump(mode="json"), ensure_ascii=True).encode()
