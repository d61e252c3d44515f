"""The manifest: what is signed comes back, and nothing malformed is taken for one."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.backup import layout, manifest
from agent.backup.layout import Place
from agent.backup.manifest import Details, Manifest

HASHES = st.binary(min_size=32, max_size=32).map(bytes.hex)
SIZES = st.integers(0, 2**50)


def document(**changes: Any) -> dict[str, Any]:
    """A valid manifest as a dictionary, with changes; None removes a key."""
    digest = "cd" * 32
    names = [
        layout.KEY,
        layout.segment(0, digest),
        layout.segment(1, digest),
        layout.DETAILS,
        layout.SUMS,
    ]
    whole: dict[str, Any] = {
        "format": "art32/backup/1",
        "prefix": "production",
        "host": "db1",
        "source": "app",
        "id": "0123456789abcdef",
        "sequence": 3,
        "previous": "0" * 64,
        "ledger": "1" * 64,
        "started": "20261123T031500Z",
        "finished": "20261123T031600Z",
        "signer": "A" * 40,
        "recipients": ["B" * 40, "C" * 40],
        "objects": [{"name": name, "size": 5, "sha256": digest} for name in names],
    }
    whole.update(changes)
    return {key: value for key, value in whole.items() if value is not None}


def parse(**changes: Any) -> Manifest:
    return manifest.parse(json.dumps(document(**changes)).encode())


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(HASHES, SIZES), min_size=1, max_size=20), SIZES, st.integers(1, 10**9))
def test_a_manifest_comes_back_as_it_was(
    segments: list[tuple[str, int]], size: int, sequence: int
) -> None:
    objects = [
        {"name": name, "size": size, "sha256": "ee" * 32}
        for name in (layout.KEY, layout.DETAILS, layout.SUMS)
    ] + [
        {"name": layout.segment(number, digest), "size": count, "sha256": digest}
        for number, (digest, count) in enumerate(segments)
    ]
    found = parse(objects=objects, sequence=sequence, suspicious=["shrunk"])
    again = manifest.parse(found.serialise())
    assert again == found
    assert again.serialise() == found.serialise()
    assert again.size == 3 * size + sum(count for _, count in segments)
    assert [entry.sha256 for entry in again.segments] == [digest for digest, _ in segments]


def test_one_key_stands_on_one_line_for_grep() -> None:
    lines = parse().serialise().decode().splitlines()
    for wanted in ('"host": "db1"', '"source": "app"', '"sequence": 3', '"id": "0123456789abcdef"'):
        assert sum(wanted in line for line in lines) == 1
    assert all(ord(character) < 128 for line in lines for character in line)


WRONG: list[dict[str, Any]] = [
    {"format": "art32/backup/2"},
    {"unknown": 1},
    {"host": None},
    {"id": "0123"},
    {"id": "0123456789abcdef\n"},
    {"sequence": 0},
    {"sequence": "3"},
    {"sequence": 3.0},
    {"sequence": True},
    {"previous": "0" * 63},
    {"previous": "G" * 64},
    {"started": "yesterday"},
    {"finished": "\x1b[2J"},
    {"signer": "somebody"},
    {"recipients": ["\x1b]0;title\x07"]},
    {"suspicious": ["Shrunk: from 5 to 3"]},
    {"accepted": ["../.."]},
    {"member": "customers"},
    {"set": {"id": "0123456789abcdef", "number": 1, "size": 10**15}},
    {"set": {"id": "0123456789abcdef", "number": 0, "size": 1}},
    {"objects": []},
    {"objects": None},
]


@pytest.mark.parametrize("changes", WRONG, ids=repr)
def test_what_is_not_exactly_a_manifest_is_refused(changes: dict[str, Any]) -> None:
    parse()
    with pytest.raises(ValueError):  # noqa: PT011 - the reason is pydantic's
        parse(**changes)


def _objects(*names: str, sha256: str = "cd" * 32, size: int = 5) -> list[dict[str, Any]]:
    return [{"name": name, "size": size, "sha256": sha256} for name in names]


_BASE = (layout.KEY, layout.DETAILS, layout.SUMS)
_FIRST = layout.segment(0, "cd" * 32)
_SECOND = layout.segment(1, "cd" * 32)


@pytest.mark.parametrize(
    "names",
    [
        _BASE,
        (*_BASE, _SECOND),
        (*_BASE, _SECOND, _FIRST),
        (*_BASE, _FIRST, _FIRST),
        (*_BASE, _FIRST, layout.segment(2, "cd" * 32)),
        (*_BASE, layout.segment(0, "ab" * 32)),
        (*_BASE, _FIRST, "../../etc/passwd"),
        (*_BASE, _FIRST, layout.MANIFEST),
        (*_BASE, _FIRST, layout.SIGNATURE),
        (*_BASE, _FIRST, "0" + _FIRST),
        (*_BASE[1:], _FIRST),
        (*_BASE[:2], _FIRST),
        (layout.KEY, *_BASE, _FIRST),
    ],
    ids=lambda names: f"{len(names)} {names[-1][:20]}",
)
def test_objects_must_be_one_whole_backup(names: tuple[str, ...]) -> None:
    parse(objects=_objects(*_BASE, _FIRST, _SECOND))
    with pytest.raises(ValueError):  # noqa: PT011
        parse(objects=_objects(*names))


@pytest.mark.parametrize("size", [-1, 1.5, "5", True])
def test_sizes_are_whole_numbers_of_bytes(size: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        parse(objects=_objects(*_BASE, _FIRST, size=size))


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"null", b"[]", b"\xff\xfe", b"[" * 100_000, b'{"a":' * 50_000, b"9" * 10_000],
    ids=lambda data: repr(data[:6]),
)
def test_what_is_no_json_of_ours_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        manifest.parse(data)


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_with_a_short_reason(data: bytes) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        manifest.parse(data)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("prefix", "place"),
    [
        ("staging", Place("db1", "app", "20261123T031500Z", "0123456789abcdef")),
        ("production", Place("db2", "app", "20261123T031500Z", "0123456789abcdef")),
        ("production", Place("db1", "api", "20261123T031500Z", "0123456789abcdef")),
        ("production", Place("db1", "app", "20261124T031500Z", "0123456789abcdef")),
        ("production", Place("db1", "app", "20261123T031500Z", "0123456789abcdee")),
    ],
)
def test_a_manifest_binds_to_one_place_alone(prefix: str, place: Place) -> None:
    own = Place("db1", "app", "20261123T031500Z", "0123456789abcdef")
    assert parse().binds("production", own)
    assert not parse().binds(prefix, place)


def test_sums_are_what_sha256sum_checks(tmp_path: Path) -> None:
    contents = {layout.KEY: b"key", layout.DETAILS: b"details"}
    entries = []
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
        entries.append(
            manifest.ObjectEntry(name=name, size=len(data), sha256=hashlib.sha256(data).hexdigest())
        )
    (tmp_path / layout.SUMS).write_bytes(manifest.sums(entries))
    check = ["sha256sum", "--strict", "-c", layout.SUMS]
    assert subprocess.run(check, cwd=tmp_path, capture_output=True, check=False).returncode == 0
    (tmp_path / layout.KEY).write_bytes(b"kez")
    assert subprocess.run(check, cwd=tmp_path, capture_output=True, check=False).returncode == 1


def test_details_come_back_as_they_were() -> None:
    details = Details(
        kind="postgresql",
        member="app",
        plain_bytes=5,
        compressed_bytes=3,
        rows={"public.person": 7, 'odd "table"\n': 0},
        facts={"version": 15, "nested": {"a": [1, None]}},
        warnings=[("changed-while-read", 3)],
    )
    assert Details.model_validate_json(details.serialise()) == details
