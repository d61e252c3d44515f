"""Rules of the configuration that guard a store or a key; the files themselves are tested with the
command line."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from agent.config.load import parse
from agent.config.model import Configuration, DirectoryStore, S3Store
from agent.config.reference import effective
from agent.errors import Art32Error, Code
from agent.store import names


def document(**changes: Any) -> dict[str, Any]:
    def recipient(name: str, digit: str) -> dict[str, str]:
        return {"name": name, "fingerprint": digit * 40, "key_file": f"/etc/art32/{name}.asc"}

    whole: dict[str, Any] = {
        "host": "db1",
        "store": {"kind": "directory", "path": "/srv/backups"},
        "signing": {"fingerprint": "C" * 40, "key_file": "/etc/art32/signing.asc"},
        "encryption": {"recipients": [recipient("operations", "A"), recipient("escrow", "B")]},
        "sources": [{"name": "etc", "kind": "directory", "path": "/etc"}],
    }
    return {**whole, **changes}


@pytest.mark.parametrize(
    "prefix",
    [
        "..",
        "../other",
        "a/..",
        "a/../b",
        "a/./b",
        ".",
        "./a",
        "/a",
        "/",
        "a//b",
        "a b",
        "a\n",
        "a\\b",
        "%2e%2e",
        ".art32-x",
        "\u0430",
        "a" * 513,
    ],
)
@pytest.mark.parametrize("kind", [DirectoryStore, S3Store])
def test_a_prefix_cannot_lead_out_of_the_store(kind: Any, prefix: str) -> None:
    place = {"path": "/srv"} if kind is DirectoryStore else {"bucket": "backups"}
    name = "directory" if kind is DirectoryStore else "s3"
    with pytest.raises(ValidationError):
        # `str_strip_whitespace` would take the newline away before the pattern is asked
        kind.model_validate({"kind": name, **place, "prefix": prefix.replace("\n", "\n\n.")})


@given(st.from_regex(r"[a-z0-9._/=-]{0,30}", fullmatch=True))
def test_an_accepted_prefix_is_a_name_that_every_store_takes(prefix: str) -> None:
    try:
        found = S3Store(kind="s3", bucket="backups", prefix=prefix).prefix
    except ValidationError:
        return
    assert found == DirectoryStore(kind="directory", path="/srv", prefix=prefix).prefix
    assert found == "" or names.is_valid(found)


def test_the_signing_key_cannot_be_a_recipient() -> None:
    parse(document(), origin="file")
    own = {"fingerprint": "AAAA " * 10, "key_file": "/etc/art32/signing.asc"}
    with pytest.raises(Art32Error, match="must not read its own backups") as caught:
        parse(document(signing=own), origin="file")
    assert caught.value.code is Code.CONFIG_INVALID


def test_an_unknown_kind_is_not_quoted() -> None:
    with pytest.raises(Art32Error) as caught:
        parse(document(store={"kind": "s3:sesame", "bucket": "x"}), origin="file")
    assert "sesame" not in caught.value.sentence


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1, 1, 1e300, "half"])
def test_impossible_numbers_are_refused(value: Any) -> None:
    source = {"name": "etc", "kind": "directory", "path": "/etc", "shrink_warning": value}
    with pytest.raises(Art32Error):
        parse(document(sources=[source]), origin="file")
    with pytest.raises(Art32Error):
        parse(document(retention={"days": 0 if value == 1 else value}), origin="file")


def test_what_is_in_effect_makes_the_same_configuration_again() -> None:
    config = parse(document(), origin="file")
    again: dict[str, Any] = {}
    for key, value, origin in effective(config):
        if origin == "file":
            place: Any = again
            *parents, last = key.replace("]", "").replace("[", ".").split(".")
            for part in parents:
                place = place.setdefault(part, {})
            place[last] = json.loads(value)
    again["sources"] = list(again["sources"].values())
    again["encryption"]["recipients"] = list(again["encryption"]["recipients"].values())
    assert parse(again, origin="again") == config


def test_the_schema_is_closed_and_names_every_section() -> None:
    schema = Configuration.model_json_schema()
    json.dumps(schema)
    assert schema["additionalProperties"] is False
    assert all(section.get("additionalProperties") is False for section in schema["$defs"].values())
    assert set(schema["required"]) == {"host", "store"}


def test_a_configuration_cannot_be_changed() -> None:
    config = parse(document(), origin="file")
    with pytest.raises(ValidationError):
        config.host = "other"  # type: ignore[misc]
