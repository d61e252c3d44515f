"""Small signed documents in one object: payload and signature together, stored at once or not.

The form is DSSE (github.com/secure-systems-lab/dsse): JSON with the payload and a detached OpenPGP
signature over `DSSEv1 SP length SP type SP length SP payload`. The type is signed too, so that a
signature over one kind of document is none over another.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field, ValidationError


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class _Signature(_Part):
    keyid: str = Field(pattern=r"^[0-9A-F]{40,64}$")
    sig: str = Field(max_length=16 << 10)


class _Document(_Part):
    payloadType: str  # noqa: N815 - the standard's spelling
    payload: str
    signatures: tuple[_Signature] = Field(strict=False)


@dataclass(frozen=True)
class Envelope:
    """An envelope that has been taken apart and not judged: `key_id` is what it says itself."""

    kind: str
    payload: bytes
    key_id: str
    signature: bytes

    @property
    def signed(self) -> bytes:
        """The bytes that the signature is over."""
        return signed_bytes(self.kind, self.payload)


def signed_bytes(kind: str, payload: bytes) -> bytes:
    """Return what is signed of a payload of a kind."""
    name = kind.encode()
    return b"DSSEv1 %d %s %d %s" % (len(name), name, len(payload), payload)


def seal(kind: str, payload: bytes, fingerprint: str, sign: Callable[[bytes], bytes]) -> bytes:
    """Return an envelope: `sign` gives the detached signature, by the key of that fingerprint."""
    signature = sign(signed_bytes(kind, payload))
    document = _Document(
        payloadType=kind,
        payload=base64.b64encode(payload).decode("ascii"),
        signatures=(
            _Signature(keyid=fingerprint, sig=base64.b64encode(signature).decode("ascii")),
        ),
    )
    return document.model_dump_json(indent=1).encode() + b"\n"


def parse(data: bytes, kind: str) -> Envelope:
    """Return an envelope's parts; raise ValueError with a short reason when it is none of `kind`.

    What it holds is untrusted until the signature has been verified.
    """
    try:
        document = _Document.model_validate_json(data)
    except ValidationError:
        raise ValueError("it is no signed document") from None
    if document.payloadType != kind:
        raise ValueError("it is a document of another kind")
    (signature,) = document.signatures
    try:
        payload = base64.b64decode(document.payload, validate=True)
        sealed = base64.b64decode(signature.sig, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("it holds what is no base64") from None
    return Envelope(kind, payload, signature.keyid, sealed)
