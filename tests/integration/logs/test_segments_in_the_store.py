"""`art32 logs list`, `show` and `prune`: what was shipped, what was done to it, when it goes."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.repository import MakeRepository, Repository, text
from tests.integration.logs.test_rotate_and_restore import art32, restored, section

LINE = b'203.0.113.77 - - [24/Nov/2026:06:03:00 +0000] "GET / HTTP/1.1" 200 1 "-" "-"\n'
NO_SUCH = 10
MakeSite = Callable[[str], Repository]


@pytest.fixture
def make_site(make_repository: MakeRepository, tmp_path: Path) -> MakeSite:
    """A function that makes a repository of a log whose writer has ended."""
    (tmp_path / "logs").mkdir()
    how = (f"pid_file = {text(tmp_path / 'none')}", 'process = "none"', 'signal = "USR1"')
    log = section(tmp_path / "logs" / "access.log", *how)
    return lambda more: make_repository("", more=f"{log}\n{more}")


def rotate(site: Repository, tmp_path: Path, lines: int) -> None:
    (tmp_path / "logs" / "access.log").write_bytes(LINE * lines)
    art32(site, "logs", "rotate", "--force")


def asked(site: Repository, *words: str, status: int = 0) -> Any:
    return json.loads(art32(site, "--output", "json", "logs", *words, status=status))["data"]


def test_what_was_shipped_is_listed_and_shown_with_what_was_done_to_it(
    make_site: MakeSite, tmp_path: Path
) -> None:
    site = make_site("")
    assert b"there are no" in art32(site, "logs", "list")
    for lines in (3, 5):
        rotate(site, tmp_path, lines)
    listed = asked(site, "list")["segments"]
    assert len(listed) == 2
    assert {one["state"] for one in listed} == {"complete"}
    assert asked(site, "list", "web")["segments"] == listed
    art32(site, "logs", "list", "mail", status=NO_SUCH)
    wanted = listed[1]["id"]
    shown = asked(site, "show", wanted)
    assert shown["id"] == wanted
    assert "details" not in shown
    plain = art32(site, "logs", "show", wanted)
    assert b"access.log" not in plain  # the name is in the encrypted details alone
    opened = asked(site, "show", wanted, "--details")["details"]
    assert "access.log" in json.dumps(opened)
    assert "203.0.113" not in json.dumps(opened)
    art32(site, "logs", "show", "0" * 16, status=NO_SUCH)


def test_prune_plans_first_and_with_apply_deletes_the_oldest_that_are_too_much(
    make_site: MakeSite, tmp_path: Path
) -> None:
    site = make_site("[logs.retention]\nmax_bytes = 1\nminimum_days = 0")
    for lines in (3, 5):
        rotate(site, tmp_path, lines)
    before = asked(site, "list")["segments"]
    planned = asked(site, "prune")
    gone = [one["id"] for one in planned["plan"] if one["action"] == "delete"]
    assert before[0]["id"] in gone
    assert planned["applied"] is False
    assert b"pass --apply" in art32(site, "logs", "prune")
    assert asked(site, "list")["segments"] == before
    done = asked(site, "prune", "--apply")
    assert done["applied"] is True
    assert len(done["deleted"]) == len(gone)
    left = [one["id"] for one in asked(site, "list")["segments"]]
    assert left == [one["id"] for one in before if one["id"] not in gone]


def test_prune_leaves_what_is_neither_old_nor_too_much(make_site: MakeSite, tmp_path: Path) -> None:
    site = make_site("")
    assert b"there are no segments of logs" in art32(site, "logs", "prune")
    rotate(site, tmp_path, 3)
    assert [one["action"] for one in asked(site, "prune", "--apply")["plan"]] == ["keep"]
    assert len(asked(site, "list")["segments"]) == 1


@pytest.fixture
def memory() -> Iterator[Path]:
    if not os.path.ismount("/dev/shm"):
        pytest.skip("/dev/shm is no file system in memory here")
    place = Path(tempfile.mkdtemp(dir="/dev/shm", prefix="art32-test-"))
    try:
        yield place / "keys"
    finally:
        shutil.rmtree(place)


def test_one_client_has_one_token_in_all_rotations_of_a_day(
    make_site: MakeSite, tmp_path: Path, memory: Path
) -> None:
    site = make_site(f'[logs.scrub]\nmode = "pseudonym"\nkey_directory = {text(memory)}')
    memory.mkdir(mode=0o700)
    old = memory / "2020-01-01.key"
    old.write_bytes(bytes(32))
    for lines in (3, 5):
        rotate(site, tmp_path, lines)
    tokens = {line.split(b" ")[0] for line in restored(site).splitlines()}
    assert len(tokens) == 1
    assert tokens.pop().startswith(b"ip4-")
    assert not old.exists()
    assert len(list(memory.iterdir())) == 1
