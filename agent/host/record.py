"""An enrolment as a document: `enroll/<identity>/<fingerprint>.json` below the store's prefix.

The host writes it once and signs it with the key that it brings. Where IAM keeps writers apart,
`identity` proves which machine wrote; that the machine is what it says is a person's to find out.
"""

from __future__ import annotations

import json
import platform
import re
from typing import Annotated, Literal

from pydantic import Field, ValidationError, field_validator

from agent import __version__, clock
from agent.config.model import IDENTITY
from agent.pins.document import (
    Fingerprint,
    Host,
    Identity,
    KeyText,
    Moment,
    Purpose,
    Strict,
)

KIND = "application/vnd.art32.enrolment+json"
RECORD_LIMIT = 64 << 10
DIRECTORY = "enroll/"
_NAME = re.compile(rf"enroll/({IDENTITY[1:-1]})/([0-9A-F]{{40}}|[0-9A-F]{{64}})\.json")

Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._+:~-]{0,59}$")]


class Machine(Strict):
    """What a person can compare with what was built. No name of a machine or of a person."""

    system: Word
    architecture: Word
    art32: Word


class Enrolment(Strict):
    """Format version 1. `key` is the public key, binary, in base64; `host` the duty's name. A key
    with `purpose` signs a host's write-ahead log and nothing else."""

    format: Literal["art32/enrolment/1"] = "art32/enrolment/1"
    prefix: str
    host: Host
    identity: Identity
    fingerprint: Fingerprint
    made: Moment
    machine: Machine
    purpose: Purpose = None
    key: KeyText

    @field_validator("made")
    @classmethod
    def _a_moment(cls, value: str) -> str:
        clock.parse_stamp(value)
        return value

    def serialise(self) -> bytes:
        """Return the payload that is signed."""
        return (json.dumps(self.model_dump(mode="json"), indent=1) + "\n").encode()


def parse(payload: bytes) -> Enrolment:
    """Return the enrolment in these bytes; raise ValueError with a short reason otherwise."""
    try:
        return Enrolment.model_validate_json(payload)
    except ValidationError:
        raise ValueError("it is no enrolment") from None


def name(identity: str, fingerprint: str) -> str:
    """Return the name of an enrolment in the store."""
    return f"{DIRECTORY}{identity}/{fingerprint}.json"


def parse_name(object_name: str) -> tuple[str, str] | None:
    """Return identity and fingerprint of an object's name; None for foreign names."""
    match = _NAME.fullmatch(object_name)
    return (match[1], match[2]) if match else None


def this_machine() -> Machine:
    """Return the facts of this machine."""
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        release = {}
    system = f"{release.get('ID', 'linux')} {release.get('VERSION_ID', '')}".strip()
    return Machine(
        system=_word(system), architecture=_word(platform.machine()), art32=_word(__version__)
    )


def _word(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9 ._+:~-]", "-", text)[:60].lstrip(" ._+:~-") or "unknown"
