"""Envelopes from the store: any bytes are taken apart or refused, and nothing else happens."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.crypto import envelope
from agent.host import record
from agent.pins import document

KIND = "application/vnd.art32.test+json"
FINGERPRINT = "A" * 40


def sealed(payload: bytes, kind: str = KIND) -> bytes:
    return envelope.seal(kind, payload, FINGERPRINT, lambda data: b"signature of " + data)


@given(st.binary(max_size=300))
def test_what_was_sealed_comes_out_with_what_was_signed(payload: bytes) -> None:
    found = envelope.parse(sealed(payload), KIND)
    assert found.payload == payload
    assert found.key_id == FINGERPRINT
    assert found.signature == b"signature of " + found.signed
    assert found.signed == b"DSSEv1 31 %s %d %s" % (KIND.encode(), len(payload), payload)


@given(st.text(min_size=1, max_size=40), st.binary(max_size=40), st.binary(max_size=40))
def test_no_two_documents_have_the_same_signed_bytes(kind: str, one: bytes, two: bytes) -> None:
    other = envelope.signed_bytes(kind + " 3", two)
    assert envelope.signed_bytes(kind, one) != other
    assert (envelope.signed_bytes(kind, one) == envelope.signed_bytes(kind, two)) == (one == two)


@given(st.binary(max_size=400))
def test_any_bytes_are_refused_with_a_reason(data: bytes) -> None:
    for parse in (
        lambda: envelope.parse(data, KIND),
        lambda: document.parse(data),
        lambda: record.parse(data),
    ):
        with pytest.raises(ValueError, match=r"^it is no"):
            parse()


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=10,
)


@given(st.sampled_from(["payloadType", "payload", "signatures", "more"]), _json)
def test_an_envelope_with_anything_else_in_a_field_is_refused_or_still_one(
    field: str, value: object
) -> None:
    changed = json.dumps(json.loads(sealed(b"payload")) | {field: value}).encode()
    try:
        found = envelope.parse(changed, KIND)
    except ValueError:
        return
    assert found.signed == envelope.signed_bytes(KIND, found.payload)


def test_a_document_of_another_kind_is_none_of_this() -> None:
    with pytest.raises(ValueError, match="of another kind"):
        envelope.parse(sealed(b"x", "another"), KIND)


def test_two_signatures_are_one_too_many() -> None:
    found = json.loads(sealed(b"x"))
    found["signatures"] *= 2
    with pytest.raises(ValueError, match="no signed document"):
        envelope.parse(json.dumps(found).encode(), KIND)


@pytest.mark.parametrize(
    ("change", "good"),
    [
        ({}, True),
        ({"serial": 0}, False),
        ({"serial": document.SERIALS}, False),
        ({"serial": "1"}, False),
        ({"valid_until": "20269999T000000Z"}, False),
        ({"previous": "x"}, False),
        ({"hosts": [1]}, False),
        ({"more": 1}, False),
    ],
)
def test_a_list_has_exactly_its_fields(change: dict[str, object], good: bool) -> None:
    line = {
        "host": "db1",
        "fingerprint": FINGERPRINT,
        "identity": "AROA:i-1",
        "accepted": "20261124T000000Z",
        "key": base64.b64encode(b"key").decode(),
    }
    whole = {
        "format": "art32/pins/1",
        "prefix": "",
        "serial": 1,
        "previous": "0" * 64,
        "made": "20261124T000000Z",
        "valid_until": "20270222T000000Z",
        "hosts": [line],
    }
    data = json.dumps(whole | change).encode()
    if good:
        found = document.parse(data)
        assert document.parse(found.serialise()) == found
        doubled = json.dumps(whole | {"hosts": [line, line]}).encode()
        with pytest.raises(ValueError, match="no list"):
            document.parse(doubled)
    else:
        with pytest.raises(ValueError, match="no list"):
            document.parse(data)
