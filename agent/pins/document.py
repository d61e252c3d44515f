"""A list of pinned hosts as a document: `pins/<serial>.json` below the store's prefix."""

from __future__ import annotations

import base64
import binascii
import json
import re
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)

from agent import clock
from agent.config.model import IDENTITY

KIND = "application/vnd.art32.pins+json"
LIST_LIMIT = 16 << 20
KEY_BYTES = 16 << 10
SERIALS = 10_000_000_000
DIRECTORY = "pins/"
_NAME = re.compile(r"pins/([0-9]{10})\.json")
_HOSTS = 10_000

# A root signs it, from what hosts wrote: no field may carry text to a terminal.
Fingerprint = Annotated[str, Field(pattern=r"^(?:[0-9A-F]{40}|[0-9A-F]{64})$")]
Host = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,62}$")]
Identity = Annotated[str, Field(pattern=IDENTITY)]
Moment = Annotated[str, Field(pattern=r"^[0-9]{8}T[0-9]{6}Z$")]
Purpose = Literal["wal"] | None
KeyText = Annotated[str, Field(min_length=1, max_length=(KEY_BYTES + 2) // 3 * 4)]


def key_bytes(text: str) -> bytes:
    """Return the public key in a document; raise ValueError when it is no base64."""
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise ValueError("the key is no base64") from None


class Strict(BaseModel):
    """A document from the store: frozen, with nothing in it that nobody expects."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    @model_serializer(mode="wrap")
    def _without_no_purpose(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave an empty `purpose` out: a document without one is what it always was."""
        found: dict[str, Any] = handler(self)
        return {key: value for key, value in found.items() if (key, value) != ("purpose", None)}


class PinnedHost(Strict):
    """One key of one host. `key` is the public key, binary, in base64.

    With `retired_after_sequence` it signs no more: what it signed up to that number still counts,
    and of its WAL, which has no numbers, what was in the store by `wal_until`. 0 refuses a key that
    never counted. With `purpose` it counts for the host's WAL alone.
    """

    host: Host
    fingerprint: Fingerprint
    identity: Identity
    accepted: Moment
    retired: Moment | None = None
    retired_after_sequence: int | None = Field(None, ge=0)
    wal_until: Moment | None = None
    purpose: Purpose = None
    key: KeyText

    @field_validator("accepted", "retired", "wal_until")
    @classmethod
    def _a_moment(cls, value: str | None) -> str | None:
        if value is not None:
            clock.parse_stamp(value)
        return value

    @property
    def active(self) -> bool:
        """Whether what it signs from now on counts."""
        return self.retired_after_sequence is None

    @property
    def retired_until(self) -> datetime | None:
        """Until when of the store's time the WAL of a retired key counts; None: none of it."""
        return clock.parse_stamp(self.wal_until) if self.wal_until else None

    @property
    def role(self) -> str:
        """At AWS the id of the role that enrolled it; elsewhere the whole identity."""
        return role_of(self.identity)


def role_of(identity: str) -> str:
    """Return the first part of an identity: the role, of which a machine holds an instance."""
    return identity.partition(":")[0]


class PinList(Strict):
    """Format version 1. `previous` is the SHA-256 of the payload that it replaces."""

    format: Literal["art32/pins/1"] = "art32/pins/1"
    prefix: str
    serial: int = Field(ge=1, lt=SERIALS)
    previous: str = Field(pattern=r"^[0-9a-f]{64}$")
    made: Moment
    valid_until: Moment
    hosts: list[PinnedHost] = Field(max_length=_HOSTS)

    @model_validator(mode="after")
    def _one_line_a_key(self) -> PinList:
        keys = [one.fingerprint for one in self.hosts]
        if len(set(keys)) != len(keys):
            raise ValueError("a key is listed twice")
        clock.parse_stamp(self.made)
        clock.parse_stamp(self.valid_until)
        return self

    @property
    def until(self) -> datetime:
        """Until when it vouches for what is stored."""
        return clock.parse_stamp(self.valid_until)

    def find(self, fingerprint: str) -> PinnedHost | None:
        """Return the line of a key."""
        return next((one for one in self.hosts if one.fingerprint == fingerprint), None)

    def serialise(self) -> bytes:
        """Return the payload, one key of JSON a line."""
        return (json.dumps(self.model_dump(mode="json"), indent=1) + "\n").encode()


def parse(payload: bytes) -> PinList:
    """Return the list in these bytes; raise ValueError with a short reason otherwise."""
    try:
        return PinList.model_validate_json(payload)
    except ValidationError:
        raise ValueError("it is no list of pinned hosts") from None


def name(serial: int) -> str:
    """Return the name of a list in the store."""
    return f"{DIRECTORY}{serial:010d}.json"


def serial_of(object_name: str) -> int | None:
    """Return the serial number in an object's name; None when it is no list's."""
    match = _NAME.fullmatch(object_name)
    return int(match[1]) if match and int(match[1]) > 0 else None
