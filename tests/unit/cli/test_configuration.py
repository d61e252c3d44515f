"""Wrong configurations: all mistakes at once, each with its path, no value quoted, no traceback."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agent.config import reference
from agent.config.load import load, parse
from agent.config.model import Configuration
from agent.errors import Art32Error, Code, ExitStatus

SAMPLE = reference.sample()
DOCUMENT = tomllib.loads(SAMPLE)
MINIMAL: dict[str, Any] = {"host": "db1", "store": {"kind": "directory", "path": "/srv/backups"}}
CANARY = "canary-5f1c-of-the-tests"


#: an address instead of a socket, a token instead of a password
ALONE = "#rds_iam_region"


def everything() -> str:
    """Return the sample with all optional keys switched on that can stand together."""
    lines = [
        line[1:] if line.startswith("#") and not line.startswith(("# ", ALONE)) else line
        for line in SAMPLE.splitlines()
    ]
    text = "\n".join(lines)
    second = text.index("[store]", text.index("[store]") + 1)  # the other kind of store
    return text[:second] + text[text.index("# The host's own", second) :]


def check_refusal(error: Art32Error) -> None:
    assert error.code is Code.CONFIG_INVALID
    assert error.exit_status == ExitStatus.CONFIGURATION
    assert "has 0 mistakes" not in error.sentence
    assert not error.sentence.endswith("\n")


def refused(document: dict[str, Any]) -> Art32Error:
    with pytest.raises(Art32Error) as caught:
        parse(document, origin="agent.toml")
    check_refusal(caught.value)
    assert "\n  `" in caught.value.sentence or "\n  the file: " in caught.value.sentence
    assert caught.value.hint
    return caught.value


def test_the_sample_is_a_valid_configuration_with_a_source_of_every_kind() -> None:
    config = parse(DOCUMENT, origin="sample")
    assert {source.kind for source in config.sources} == {
        *("postgresql", "mysql", "sqlite", "directory", "command", "basebackup")
    }


def test_the_sample_is_still_valid_when_every_optional_key_is_switched_on() -> None:
    document = tomllib.loads(everything())
    config = parse(document, origin="sample")
    assert len(document["store"]) == 11
    assert config.retention.days == 30
    assert all(source.shrink_warning == 0.5 for source in config.sources)


def test_all_mistakes_are_reported_at_once_each_with_its_path() -> None:
    document = copy.deepcopy(DOCUMENT)
    document["host"] = "Not A Name"
    del document["store"]["bucket"]
    document["signing"]["fingerprint"] = "DEADBEEF"
    document["encryption"]["recipients"][1]["key_file"] = "escrow.asc"
    document["retention"]["days"] = 0
    document["sources"][2]["pth"] = "/x"
    error = refused(document)
    lines = error.sentence.splitlines()
    assert lines[0] == "`agent.toml` has 6 mistakes"
    assert {line.split(":")[0].strip(" `") for line in lines[1:]} == {
        *("host", "store.bucket", "signing.fingerprint", "encryption.recipients[1].key_file"),
        *("retention.days", "sources[2].pth"),
    }


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"host": None}, "`host`: is missing"),
        ({"hots": "db1"}, "`hots`: is not a known key"),
        ({"host": 5}, "`host`: is not a string"),
        ({"host": "../x"}, "`host`: does not match `"),
        ({"store": "x"}, "`store`: is not a table"),
        ({"store": {"path": "/x"}}, "`store`: has no `kind`"),
        ({"store": {"kind": "tape"}}, "known are `directory`, `s3`"),
        ({"store": {"kind": "directory", "path": "x"}}, "`store.path`: is not an absolute path"),
        ({"store": {"kind": "directory", "path": "/\0"}}, "`store.path`: holds a NUL character"),
        ({"sources": 3}, "`sources`: is not a list"),
        (
            {"sources": [{"kind": "command", "name": "a", "command": []}]},
            "`sources[0].command`: is empty",
        ),
        (
            {"sources": [{"kind": "command", "name": "a", "command": ["a\0b"]}]},
            "`sources[0].command`: holds a NUL character",
        ),
        (
            {"sources": [{"kind": "sqlite", "name": "a", "path": "/a"}] * 2},
            "two sources are named `a`",
        ),
        (
            {"sources": [{"kind": "sqlite", "name": "a", "path": "/a"}]},
            "`sources` needs `encryption` and `signing`",
        ),
        ({"retention": {"days": float("nan")}}, "`retention.days`"),
        ({"encryption": {"recipients": []}}, "`encryption.recipients`: is empty"),
    ],
)
def test_each_mistake_is_said_in_plain_words(change: dict[str, Any], line: str) -> None:
    document = {key: value for key, value in {**MINIMAL, **change}.items() if value is not None}
    error = refused(document)
    assert line in error.sentence
    assert "should" not in error.sentence


def test_one_recipient_needs_a_reason_in_words() -> None:
    one = copy.deepcopy(DOCUMENT)
    del one["encryption"]["recipients"][1]
    assert "one recipient: a lost key loses every backup" in refused(one).sentence
    one["encryption"]["single_recipient_because"] = "because"
    assert "`encryption.single_recipient_because`" in refused(one).sentence
    one["encryption"]["single_recipient_because"] = "the key is split among three people"
    parse(one, origin="agent.toml")
    twice = copy.deepcopy(DOCUMENT)
    twice["encryption"]["recipients"][1]["fingerprint"] = twice["encryption"]["recipients"][0][
        "fingerprint"
    ].lower()
    assert "the same key is listed twice" in refused(twice).sentence


def test_a_secret_in_the_wrong_place_is_not_quoted() -> None:
    document = copy.deepcopy(DOCUMENT)
    document["host"] = CANARY.upper()
    document["store"]["endpoint"] = f"https://user:{CANARY}@s3.example.net"
    document["store"]["timeout"] = CANARY
    document["signing"]["fingerprint"] = CANARY
    document["sources"][0] = {"name": "app", "kind": CANARY}
    document["sources"][3]["path"] = CANARY
    document["password"] = CANARY
    assert CANARY not in refused(document).sentence.lower()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"\xff\xfeh", "is not UTF-8 text"),
        (b"host = db1\n", "is not TOML: Invalid value (at line 1"),
        (b"host = " + b"9" * 5000, "beyond all measure"),
        (b"host = " + b"[" * 5000, "beyond all measure"),
        (b"", "has 2 mistakes"),
        (b"\0", "is not TOML"),
    ],
    ids=["utf-16", "no quotes", "long number", "deep nesting", "empty", "nul"],
)
def test_a_file_that_is_no_toml_is_a_configuration_error(
    tmp_path: Path, content: bytes, sentence: str
) -> None:
    file = tmp_path / "agent.toml"
    file.write_bytes(content)
    with pytest.raises(Art32Error) as caught:
        load(file)
    assert caught.value.code is Code.CONFIG_INVALID
    assert sentence in caught.value.sentence


def test_a_file_that_cannot_be_read_is_a_configuration_error(tmp_path: Path) -> None:
    for path, reason in ((tmp_path, "Is a directory"), (tmp_path / "x", "No such file")):
        with pytest.raises(Art32Error) as caught:
            load(path)
        assert caught.value.code is Code.CONFIG_MISSING
        assert reason in caught.value.sentence


def test_what_is_in_effect_is_shown_with_its_origin() -> None:
    config = parse({**MINIMAL, "retention": {"days": 90}}, origin="agent.toml")
    values = {key: (value, origin) for key, value, origin in reference.effective(config)}
    assert values["retention.days"] == ("90", "file")
    assert values["retention.minimum_backups"] == ("7", "default")
    assert values["store.path"] == ('"/srv/backups"', "file")


# values that TOML can hold, with those that break things more often than chance would
SCALARS = st.one_of(
    st.none(),  # stands for: the key is not there
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(["", " ", "-", "..", "/", "~/x", "a\nb", "\0", "é", "$(id)", "nan", "0600"]),
    st.dates(),
    st.datetimes(),
    st.times(),
)
VALUES = st.recursive(
    SCALARS.filter(lambda value: value is not None),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=5,
)


def places(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of everything below a document's top."""
    items: Any = ()
    if isinstance(node, dict):
        items = node.items()
    elif isinstance(node, list):
        items = enumerate(node)
    for key, value in items:
        yield (*path, key)
        yield from places(value, (*path, key))


def changed(document: Any, path: tuple[Any, ...], value: Any) -> None:
    for key in path[:-1]:
        document = document[key]
    if value is None:
        del document[path[-1]]
    else:
        document[path[-1]] = value


FULL = tomllib.loads(everything())
PLACES = sorted(places(FULL), key=repr)


@settings(max_examples=400)
@given(st.sampled_from(PLACES), st.one_of(st.none(), VALUES))
def test_a_changed_document_is_valid_or_a_configuration_error(
    path: tuple[Any, ...], value: Any
) -> None:
    document = copy.deepcopy(FULL)
    changed(document, path, value)
    try:
        config = parse(document, origin="agent.toml")
    except Art32Error as error:
        check_refusal(error)
        return
    assert isinstance(config, Configuration)
    assert "\0" not in repr(reference.effective(config)).replace("\\x00", "\0")


@settings(max_examples=200)
@given(st.data())
def test_a_damaged_file_is_valid_or_a_configuration_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = bytearray(everything().encode())
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(content)))
        end = data.draw(st.integers(start, min(len(content), start + 40)))
        content[start:end] = data.draw(st.binary(max_size=8))
    file = tmp_path_factory.mktemp("damaged") / "agent.toml"
    file.write_bytes(content)
    try:
        load(file)
    except Art32Error as error:
        check_refusal(error)


@settings(max_examples=100)
@given(st.dictionaries(st.text(max_size=10), VALUES, max_size=5))
@example({})
@example({"sources": {}})
@example({"store": []})
def test_a_document_of_something_else_is_a_configuration_error(document: dict[str, Any]) -> None:
    refused(document)
