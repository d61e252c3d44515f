"""The ledger's chain: what breaks it is found, what a crash leaves is mended."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.errors import Art32Error, Code
from agent.ledger import GENESIS, Ledger

FACTS = st.dictionaries(
    st.from_regex(r"[a-z]{1,8}", fullmatch=True).filter(lambda name: name not in ("event", "self")),
    st.none() | st.booleans() | st.integers() | st.text(max_size=60) | st.floats(allow_nan=False),
    max_size=4,
)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "state" / "ledger.jsonl")


def _fill(ledger: Ledger, count: int = 5) -> list[bytes]:
    for number in range(count):
        ledger.append("event", source="app", number=number)
    return ledger.path.read_bytes().splitlines(keepends=True)


def _numbers(ledger: Ledger) -> list[int]:
    return [record.number for record in ledger.records()]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.text(max_size=20), FACTS), max_size=8))
def test_what_is_appended_comes_back_in_order(entries: list[tuple[str, dict[str, Any]]]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        ledger = Ledger(Path(directory) / "ledger.jsonl")
        heads = [ledger.head()]
        for event, facts in entries:
            ledger.append(event, **facts)
            heads.append(ledger.head())
        found = list(ledger.records())
        assert [(record.event, record.facts) for record in found] == entries
        assert [record.number for record in found] == list(range(1, len(entries) + 1))
        assert len(set(heads)) == len(heads)


def test_an_empty_ledger_has_the_head_of_nothing(ledger: Ledger) -> None:
    assert ledger.head() == GENESIS
    assert list(ledger.records()) == []


def test_the_file_is_private(ledger: Ledger) -> None:
    ledger.append("event")
    assert stat.S_IMODE(ledger.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(ledger.path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("victim", [0, 2, 3])
def test_an_edited_line_breaks_the_chain_after_it(ledger: Ledger, victim: int) -> None:
    lines = _fill(ledger)
    lines[victim] = lines[victim].replace(b'"app"', b'"api"')
    ledger.path.write_bytes(b"".join(lines))
    with pytest.raises(Art32Error, match=f"broken at record {victim + 2}") as caught:
        list(ledger.records())
    assert caught.value.code is Code.LEDGER_BROKEN


@pytest.mark.parametrize("victim", [0, 1, 3])
def test_a_removed_line_breaks_the_chain(ledger: Ledger, victim: int) -> None:
    lines = _fill(ledger)
    del lines[victim]
    ledger.path.write_bytes(b"".join(lines))
    with pytest.raises(Art32Error, match=f"broken at record {victim + 1}"):
        list(ledger.records())


def test_exchanged_and_doubled_lines_break_the_chain(ledger: Ledger) -> None:
    lines = _fill(ledger)
    for tampered in (
        [lines[1], lines[0], *lines[2:]],
        [*lines[:2], lines[1], *lines[2:]],
        [lines[0], b"\n", *lines[1:]],
    ):
        ledger.path.write_bytes(b"".join(tampered))
        with pytest.raises(Art32Error):
            list(ledger.records())


def test_a_cut_tail_holds_as_a_chain_but_has_another_head(ledger: Ledger) -> None:
    lines = _fill(ledger)
    head = ledger.head()
    ledger.path.write_bytes(b"".join(lines[:3]))
    assert _numbers(ledger) == [1, 2, 3]
    assert ledger.head() != head


def test_a_line_cut_at_any_byte_is_no_record_and_is_removed_by_the_next(ledger: Ledger) -> None:
    lines = _fill(ledger, 3)
    whole = b"".join(lines)
    before = len(whole) - len(lines[2])
    for cut in range(before, len(whole)):
        ledger.path.write_bytes(whole[:cut])
        assert _numbers(ledger) == [1, 2]
        assert ledger.append("after", cut=cut).number == 3
        assert _numbers(ledger) == [1, 2, 3]


def test_a_first_line_that_was_cut_counts_as_nothing(ledger: Ledger) -> None:
    ledger.path.parent.mkdir()
    ledger.path.write_bytes(b'{"n":1,"ti')
    assert ledger.head() == GENESIS
    assert ledger.append("event").number == 1
    assert _numbers(ledger) == [1]


@pytest.mark.parametrize("size", [3900, 4000, 4050, 4095, 4096, 4097, 16384, 16385, 70_000])
def test_records_longer_than_the_window_are_found_from_the_end(ledger: Ledger, size: int) -> None:
    for number in range(1, 4):
        assert ledger.append("event", text="x" * size).number == number
    ledger.append("short")
    assert _numbers(ledger) == [1, 2, 3, 4]
    with ledger.path.open("ab") as handle:
        handle.write(b"y" * size)
    assert ledger.append("event").number == 5


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"null\n",
        b'"text"\n',
        b"[]\n",
        b"{}\n",
        b"\xff\xfe\n",
        b'{"n":1,"time":"t","event":"e"}\n',
        b'{"n":1,"time":"t","event":"e","facts":{}}\n',
        b'{"n":1,"time":"t","event":"e","facts":7,"previous":"0"}\n',
        b'{"n":Infinity,"time":"t","event":"e","facts":{},"previous":"0"}\n',
        b'{"n":[],"time":"t","event":"e","facts":{},"previous":"0"}\n',
        b"[" * 100_000 + b"\n",
        b'{"n":' + b"9" * 5000 + b',"time":"t","event":"e","facts":{},"previous":"0"}\n',
    ],
    ids=lambda line: repr(line[:24]),
)
def test_a_line_that_is_no_record_is_a_broken_ledger_and_no_traceback(
    ledger: Ledger, line: bytes
) -> None:
    ledger.path.parent.mkdir()
    ledger.path.write_bytes(line)
    with pytest.raises(Art32Error) as caught:
        list(ledger.records())
    assert caught.value.code is Code.LEDGER_BROKEN


@given(st.binary(max_size=200))
@settings(max_examples=60, deadline=None)
def test_any_bytes_are_a_ledger_or_a_broken_one(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "ledger.jsonl"
        path.write_bytes(data)
        use: list[Callable[[], object]] = [
            lambda: list(Ledger(path).records()),
            lambda: Ledger(path).head(),
            lambda: Ledger(path).append("event"),
        ]
        for attempt in use:
            try:
                attempt()
            except Art32Error as error:
                assert error.code is Code.LEDGER_BROKEN  # noqa: PT017


def test_appending_behind_a_line_that_is_no_record_is_refused(ledger: Ledger) -> None:
    _fill(ledger, 2)
    with ledger.path.open("ab") as handle:
        handle.write(b"garbage\n")
    before = ledger.path.read_bytes()
    with pytest.raises(Art32Error, match="broken at its last record"):
        ledger.append("event")
    assert ledger.path.read_bytes() == before


def test_processes_that_append_at_once_make_one_chain(ledger: Ledger) -> None:
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from agent.ledger import Ledger\n"
        "for number in range(25):\n"
        "    Ledger(Path(sys.argv[1])).append('event', who=sys.argv[2], number=number)\n"
    )
    children = [
        subprocess.Popen([sys.executable, "-c", program, str(ledger.path), str(number)])
        for number in range(4)
    ]
    assert [child.wait() for child in children] == [0, 0, 0, 0]
    found = list(ledger.records())
    assert len(found) == 100
    for who in "0123":
        assert [one.facts["number"] for one in found if one.facts["who"] == who] == [*range(25)]


def test_a_disk_that_takes_half_a_line_is_an_error_and_the_chain_survives(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fill(ledger, 2)
    genuine = os.pwrite
    calls = iter([10])

    def filling(descriptor: int, data: bytes, offset: int) -> int:
        for count in calls:
            return genuine(descriptor, data[:count], offset)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", filling)
    with pytest.raises(Art32Error, match="No space left") as caught:
        ledger.append("event")
    monkeypatch.undo()
    assert caught.value.code is Code.DISK
    assert _numbers(ledger) == [1, 2]
    assert ledger.append("event").number == 3
    assert _numbers(ledger) == [1, 2, 3]


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_really_full_disk_never_acknowledges_a_record_that_is_not_there(
    tiny_disk: Path,
) -> None:
    ledger = Ledger(tiny_disk / "ledger.jsonl")
    acknowledged: list[int] = []

    def fill() -> None:
        while len(acknowledged) < 100:
            acknowledged.append(ledger.append("event", text="x" * 700).number)

    with pytest.raises(Art32Error) as caught:
        fill()
    assert caught.value.code is Code.DISK
    assert len(acknowledged) > 2
    assert _numbers(ledger) == acknowledged


def test_a_ledger_in_the_place_of_a_directory_is_an_error_with_a_hint(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    path.mkdir()
    for use in (lambda: Ledger(path).append("event"), lambda: list(Ledger(path).records())):
        with pytest.raises(Art32Error) as caught:
            use()
        assert caught.value.hint


def test_a_read_only_ledger_is_an_error_with_a_hint(ledger: Ledger) -> None:
    _fill(ledger, 1)
    ledger.path.chmod(0o400)
    ledger.path.parent.chmod(0o500)
    if os.access(ledger.path, os.W_OK):
        ledger.path.parent.chmod(0o700)
        pytest.skip("root may write everywhere")
    with pytest.raises(Art32Error) as caught:
        ledger.append("event")
    ledger.path.parent.chmod(0o700)
    assert caught.value.code is Code.DISK
    assert _numbers(ledger) == [1]


def test_a_ledger_is_not_written_through_a_symbolic_link(tmp_path: Path) -> None:
    (tmp_path / "victim").write_bytes(b"")
    (tmp_path / "ledger.jsonl").symlink_to(tmp_path / "victim")
    with pytest.raises(Art32Error):
        Ledger(tmp_path / "ledger.jsonl").append("event")
    assert (tmp_path / "victim").read_bytes() == b""


def test_each_line_is_one_json_object(ledger: Ledger) -> None:
    ledger.append("event", text="two\nlines and \u2028 more")
    (line,) = ledger.path.read_bytes().splitlines()
    assert json.loads(line)["facts"] == {"text": "two\nlines and \u2028 more"}
