"""Which words may leave: those that art32 and the system have, and no others."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.config.model import Configuration
from agent.report.text import LONGEST, Masker, own_words

KEY = bytes(32)
HOME = "/home"


def masker(**more: object) -> Masker:
    document: dict[str, object] = {
        "host": "db1",
        "store": {"kind": "directory", "path": Path("/srv/backups")},
        **more,
    }
    return Masker(Configuration.model_validate(document), KEY)


MASKER = masker()
PERSONAL = [
    "anna.mustermann@example.org",
    "anna.mustermann%40example.org",
    "203.0.113.77",
    "\\x22203.0.113.77\\x22",
    "2001:db8::7",
    "client-203-0-113-77.dynamic.example.net",
    "Anna Mustermann",
    "Jürgen Müller-Lüdenscheidt",
    "Владимир",
    "王小明",
    "mustermann_anna_1980",
    "+49 151 2345 6789",
    "DE89 3704 0044 0532 0130 00",
    "24.12.1980",
    f"{HOME}/mustermann/dump.sql",
    "~mustermann/dump.sql",
    "/srv/uploads/mustermann/passport.pdf",
    "https://example.org/reset?token=tok3n1234567&name=mustermann",
    "password=hunter2hunter2",
    "Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJtdXN0ZXJtYW5uIn0.c2ln",
    "AKIAIOSFODNN7EXAMPLE",
    "550e8400-e29b-41d4-a716-446655440000",
    "3f2a9c1b7d8e4f60a1b2c3d4e5f60718293a4b5c",
]
#: What of them would tell something, and stands in no word of art32's.
TELLING = re.compile(
    r"mustermann|203|113|2001:db8|Jürgen|Müller|Владимир|王|151 2345|3704|12\.1980|passport|tok3n"
    r"|hunter2|eyJ|AKIA|550e8400|3f2a9c1b|@",
    re.IGNORECASE,
)


@pytest.mark.parametrize("personal", PERSONAL)
@pytest.mark.parametrize(
    "sentence",
    [
        "the dump failed: {}",
        "`{}` cannot be read: Permission denied",
        'pg_dump: error: role "{}" does not exist',
        "DETAIL:  Key (email)=({}) already exists.",
        "login='{}' failed",
        "{}",
        "x{}",
    ],
)
def test_what_is_personal_stays_here(personal: str, sentence: str) -> None:
    said = MASKER.sentence(sentence.format(personal))
    assert not TELLING.search(said), said


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("the store refuses the right", None),
        ("`db1` has no backup", None),
        ("a defect in art32: `KeyError` at `agent.backup.make:33`", None),
        ("`pg_dump` ended with status 1: FATAL: connection refused", None),
        ("`/srv/x/y` cannot be read: Permission denied", r"`<value [0-9a-f]{6}>` cannot be read: "),
        ("no space left on device: /srv/anna", r"no space left on device: <path [0-9a-f]{6}>"),
    ],
)
def test_what_on_call_needs_goes(sentence: str, expected: str | None) -> None:
    said = MASKER.sentence(sentence)
    if expected is None:
        assert said == sentence
    else:
        assert re.match(expected, said), said


def test_the_same_thing_has_the_same_mark_under_one_key_only() -> None:
    first, again = (MASKER.sentence(f"{text} of /srv/anna/a") for text in ("one", "two"))
    other = MASKER.sentence("one of /srv/anna/b")
    assert first.split("<")[1] == again.split("<")[1] != other.split("<")[1]
    config = Configuration.model_validate(
        {"host": "db1", "store": {"kind": "directory", "path": Path("/srv/backups")}}
    )
    tomorrow = Masker(config, b"1" * 32).sentence("one of /srv/anna/a")
    assert tomorrow.split("<")[1] != first.split("<")[1]


def test_a_configured_name_is_known_and_another_is_not() -> None:
    sources = [{"kind": "command", "name": "crmdump", "command": ["/bin/true"]}]
    key = {"fingerprint": "0" * 40, "key_file": "/etc/art32/signing-key.asc"}
    recipient = {"name": "escrow", "fingerprint": "1" * 40, "key_file": "/etc/art32/e.asc"}
    known = masker(
        sources=sources,
        signing=key,
        encryption={"recipients": [recipient], "single_recipient_because": "this is only a test"},
    )
    assert known.sentence("source `crmdump` failed") == "source `crmdump` failed"
    assert "crmdump" not in MASKER.sentence("source `crmdump` failed")


@settings(max_examples=60)
@given(st.text(max_size=200))
def test_whatever_comes_in_only_known_words_come_out(text: str) -> None:
    said = MASKER.sentence(text)
    assert len(said) <= LONGEST
    assert said.isascii()
    bare = re.sub(
        r"<(?:word|number|path|value|address|email|url|secret|file)( [0-9a-f]{6})?>", "", said
    )
    for word in re.findall(r"[^\W_]+", bare)[:-1]:  # the last one may have been cut
        assert word in own_words() or (word.isdigit() and len(word) <= 6), (word, said)


@pytest.mark.parametrize("personal", PERSONAL)
def test_what_is_masked_stays_masked_at_the_second_door(personal: str) -> None:
    once = MASKER.sentence(f"`{personal}` cannot be read: Permission denied")
    assert MASKER.sentence(once) == once
    assert not TELLING.search(once)


def test_the_name_of_a_check_keeps_its_shape_without_what_is_personal() -> None:
    assert MASKER.name("disk:/var") == "disk:/var"
    assert (
        MASKER.name("art32-backup-postgresql@app.service") == "art32-backup-postgresql@app.service"
    )
    assert MASKER.name("disk:/home/mustermann") == "disk:<path>"
    assert "203" not in MASKER.name("certificate:203.0.113.7:443")
