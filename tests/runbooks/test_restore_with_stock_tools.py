"""`restore_with_stock_tools.sh`: hundreds of segments without a line of art32's code."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent.backup import layout
from agent.crypto.symmetric import OVERHEAD
from tests.fixtures.databases import PostgreSQLServer
from tests.fixtures.keys import CREATED, EXPIRED, Keys, ThrowAwayKey
from tests.fixtures.repository import HOST, MakeRepository, Repository, text, write_repository

SCRIPT = Path(__file__).with_name("restore_with_stock_tools.sh")
SEGMENT = OVERHEAD + (32 << 10)
SOURCE = "export"


@dataclass(frozen=True)
class Restored:
    """What the script came to: its exit status, the plaintext, and what it said."""

    status: int
    plain: bytes
    said: str


@dataclass(frozen=True)
class Example:
    """A backup of hundreds of segments, and the plaintext that is in it."""

    repository: Repository
    directory: Path
    plain: bytes


def run_script(
    directory: Path,
    keys: Keys,
    *,
    pinned: Path | None = None,
    host: str = HOST,
    source: str = SOURCE,
    home: Path | None = None,
) -> Restored:
    argv: list[str | Path] = [SCRIPT, directory, pinned or keys.host.public_file, host, source]
    done = subprocess.run(
        [*argv, home or keys.restorer_home],
        capture_output=True,
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent"},
        check=False,
    )
    return Restored(done.returncode, done.stdout, done.stderr.decode())


@pytest.fixture(scope="module")
def example(keys: Keys, tmp_path_factory: pytest.TempPathFactory) -> Example:
    directory = tmp_path_factory.mktemp("stock")
    plain = random.Random(32).randbytes(8_000_000)
    dump = directory / "dump"
    dump.write_bytes(plain)
    section = f'[[sources]]\nname = "{SOURCE}"\nkind = "command"\ncommand = ["cat", {text(dump)}]\n'
    repository = write_repository(directory / "site", keys, section)
    repository.back_up(SOURCE, segment_bytes=SEGMENT)
    [backup] = repository.backup_directories(SOURCE)
    return Example(repository, backup, plain)


@pytest.fixture
def copy(example: Example, tmp_path: Path) -> Path:
    """A copy of the example, as somebody would download it."""
    target = tmp_path / example.directory.name
    shutil.copytree(example.directory, target)
    target.chmod(0o755)
    return target


def segments(directory: Path) -> list[Path]:
    return sorted(path for path in directory.iterdir() if layout.parse_segment(path.name))


def replace(path: Path, data: bytes | bytearray) -> None:
    path.unlink()
    path.write_bytes(data)


def sign_again(
    directory: Path,
    key: ThrowAwayKey,
    *,
    at: datetime | None = None,
    edit: Callable[[str], str] = lambda manifest: manifest,
) -> None:
    """Sign the manifest with another key or after an edit."""
    manifest = directory / layout.MANIFEST
    replace(manifest, edit(manifest.read_text()).encode())
    replace(directory / layout.SIGNATURE, key.sign(manifest.read_bytes(), at=at))


def refused(result: Restored, sentence: str) -> bool:
    """Whether nothing was handed over as good, and the reason is named."""
    return result.status == 1 and sentence in result.said and "DONE" not in result.said


def test_hundreds_of_segments_restore_to_the_same_bytes(example: Example, keys: Keys) -> None:
    assert len(segments(example.directory)) > 200
    result = run_script(example.directory, keys)
    assert (result.status, result.said) == (0, "DONE\n")
    assert result.plain == example.plain


def test_each_recipient_alone_can_restore(example: Example, keys: Keys) -> None:
    result = run_script(example.directory, keys, home=keys.escrow.home)
    assert result.status == 0
    assert result.plain == example.plain


def test_nothing_is_left_in_the_work_space(
    copy: Path, keys: Keys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its `mktemp` writes down what it made: others restore at the same time."""
    tools, made = tmp_path / "tools", tmp_path / "made"
    tools.mkdir()
    (tools / "mktemp").write_text(f'#!/bin/sh\n{shutil.which("mktemp")} "$@" | tee -a {made}\n')
    (tools / "mktemp").chmod(0o755)
    monkeypatch.setenv("PATH", str(tools), prepend=os.pathsep)
    middle = segments(copy)[100]
    replace(middle, b"\0" + middle.read_bytes()[1:])
    assert run_script(copy, keys).status == 1
    (work,) = made.read_text().splitlines()
    assert Path(work).is_absolute()
    assert not Path(work).exists()


def test_a_flipped_bit_in_a_middle_segment_is_refused(copy: Path, keys: Keys) -> None:
    middle = segments(copy)[len(segments(copy)) // 2]
    data = bytearray(middle.read_bytes())
    data[len(data) // 2] ^= 1
    replace(middle, data)
    result = run_script(copy, keys)
    assert refused(result, "not what was signed, or missing")
    assert middle.name[:12] in result.said
    assert result.plain == b""


def test_a_missing_last_segment_is_refused(copy: Path, keys: Keys) -> None:
    segments(copy)[-1].unlink()
    result = run_script(copy, keys)
    assert refused(result, "not what was signed, or missing")
    assert result.plain == b""


def test_a_swapped_pair_of_segments_is_refused(copy: Path, keys: Keys) -> None:
    first, second = segments(copy)[10:12]
    one, two = first.read_bytes(), second.read_bytes()
    replace(first, two)
    replace(second, one)
    assert refused(run_script(copy, keys), "not what was signed, or missing")


def test_an_edited_list_of_hashes_is_refused(copy: Path, keys: Keys) -> None:
    sums = copy / layout.SUMS
    replace(sums, b"".join(sums.read_bytes().splitlines(keepends=True)[:-1]))
    assert refused(run_script(copy, keys), "SHA256SUMS is not the one that was signed")


def test_a_signed_list_without_its_last_segment_does_not_pass(copy: Path, keys: Keys) -> None:
    last = segments(copy)[-1]
    sums = copy / layout.SUMS
    kept = [line for line in sums.read_text().splitlines(keepends=True) if last.name not in line]
    sign_with_sums(copy, keys, "".join(kept))
    assert refused(run_script(copy, keys), "does not decompress whole")


def test_a_signed_list_with_a_gap_is_refused(copy: Path, keys: Keys) -> None:
    middle = segments(copy)[50]
    sums = copy / layout.SUMS
    kept = [line for line in sums.read_text().splitlines(keepends=True) if middle.name not in line]
    sign_with_sums(copy, keys, "".join(kept))
    assert refused(run_script(copy, keys), "not numbered from 0 without a gap")


def test_a_segment_that_fails_in_the_middle_of_the_loop_fails_the_whole(
    copy: Path, keys: Keys
) -> None:
    middle = segments(copy)[100]
    garbage = bytearray(middle.read_bytes())
    garbage[-100] ^= 1
    digest = hashlib.sha256(garbage).hexdigest()
    name = layout.segment(100, digest)
    (copy / name).write_bytes(garbage)
    old = middle.name.removesuffix(".pgp").partition("-")[2]
    sums = (copy / layout.SUMS).read_text().replace(middle.name, name).replace(old, digest)
    sign_with_sums(copy, keys, sums)
    result = run_script(copy, keys)
    assert result.status == 1
    assert "segment 00100 does not decrypt" in result.said
    assert "DONE" not in result.said


def sign_with_sums(directory: Path, keys: Keys, sums: str) -> None:
    """Put another list of hashes in place and sign a manifest that has its hash."""
    path = directory / layout.SUMS
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    after = hashlib.sha256(sums.encode()).hexdigest()
    replace(path, sums.encode())
    sign_again(directory, keys.host, edit=lambda manifest: manifest.replace(before, after))


def test_a_backup_without_a_signature_is_refused(copy: Path, keys: Keys) -> None:
    (copy / layout.SIGNATURE).unlink()
    assert refused(run_script(copy, keys), "manifest.json.sig is missing")


def test_an_edited_manifest_is_refused(copy: Path, keys: Keys) -> None:
    manifest = copy / layout.MANIFEST
    replace(manifest, manifest.read_bytes().replace(b'"sequence": 1', b'"sequence": 2'))
    assert refused(run_script(copy, keys), "the signature does not fit")


def test_two_signatures_are_refused(copy: Path, keys: Keys) -> None:
    signature = copy / layout.SIGNATURE
    other = keys.other_host.sign((copy / layout.MANIFEST).read_bytes())
    replace(signature, signature.read_bytes() + other)
    assert refused(run_script(copy, keys), "not exactly one signature")


def test_the_key_of_another_host_is_refused(copy: Path, keys: Keys) -> None:
    sign_again(copy, keys.other_host)
    assert refused(run_script(copy, keys), "signed by another key than the pinned one")


def test_a_file_with_two_keys_is_no_pin(copy: Path, keys: Keys, tmp_path: Path) -> None:
    both = tmp_path / "both.asc"
    both.write_bytes(keys.host.public_file.read_bytes() + keys.other_host.public_file.read_bytes())
    assert refused(run_script(copy, keys, pinned=both), "exactly one public key")


@pytest.mark.parametrize(("name", "value"), [("host", "db2"), ("source", "mail")])
def test_a_manifest_of_another_host_or_source_is_refused(
    copy: Path, keys: Keys, name: str, value: str
) -> None:
    real = {"host": HOST, "source": SOURCE}[name]
    old, new = f'"{name}": "{real}"', f'"{name}": "{value}"'
    sign_again(copy, keys.host, edit=lambda manifest: manifest.replace(old, new))
    assert refused(
        run_script(copy, keys), f"this is a backup of {'host ' * (name == 'host')}{value}"
    )


def test_a_backup_under_the_name_of_another_is_refused(copy: Path, keys: Keys) -> None:
    moved = copy.rename(copy.with_name("20260101T000000Z-0123456789abcdef"))
    assert refused(run_script(moved, keys), "the directory should be named")


def test_a_revoked_signer_is_refused(copy: Path, keys: Keys) -> None:
    sign_again(copy, keys.revoked_host_before)
    result = run_script(copy, keys, pinned=keys.revoked_host.public_file)
    assert refused(result, "the pinned key is revoked")


def test_a_signer_that_had_expired_is_refused(copy: Path, keys: Keys) -> None:
    sign_again(copy, keys.expired_host_before)
    result = run_script(copy, keys, pinned=keys.expired_host.public_file)
    assert refused(result, "when the pinned key was not valid")


def test_a_signature_at_the_very_moment_of_expiry_is_refused(copy: Path, keys: Keys) -> None:
    sign_again(copy, keys.expired_host_before, at=EXPIRED)
    result = run_script(copy, keys, pinned=keys.expired_host.public_file)
    assert refused(result, "when the pinned key was not valid")


def test_a_signer_that_expired_after_signing_is_accepted(
    example: Example, copy: Path, keys: Keys
) -> None:
    moment = datetime(2024, 2, 1, tzinfo=UTC)
    assert CREATED < moment < EXPIRED
    sign_again(copy, keys.expired_host_before, at=moment)
    result = run_script(copy, keys, pinned=keys.expired_host.public_file)
    assert (result.status, result.said) == (0, "DONE\n")
    assert result.plain == example.plain


def test_a_home_without_the_private_key_is_refused(example: Example, keys: Keys) -> None:
    result = run_script(example.directory, keys, home=keys.other_host.home)
    assert refused(result, "no private key")


def test_the_manifest_names_every_object_that_the_list_of_hashes_names(example: Example) -> None:
    listed = json.loads((example.directory / layout.MANIFEST).read_text())["objects"]
    hashes = {f"{one['sha256']}  {one['name']}" for one in listed if one["name"] != layout.SUMS}
    assert set((example.directory / layout.SUMS).read_text().splitlines()) == hashes


def test_a_postgresql_dump_restores_to_equal_rows(
    postgresql: PostgreSQLServer, make_repository: MakeRepository, keys: Keys
) -> None:
    name = postgresql.create(
        f"stock_{os.getpid()}",
        "CREATE TABLE ticket (id integer PRIMARY KEY, subject text, scan bytea);"
        "INSERT INTO ticket SELECT n, 'subject ' || n, sha256(n::text::bytea)"
        " FROM generate_series(1, 5000) n",
    )
    repository = make_repository(
        f'[[sources]]\nname = "app"\nkind = "postgresql"\ndatabase = "{name}"\n'
        f'host = {text(postgresql.socket)}\nuser = "{postgresql.admin}"\n'
    )
    repository.back_up("app")
    [backup] = repository.backup_directories("app")
    result = run_script(backup, keys, source="app")
    assert result.status == 0, result.said
    target = postgresql.create(f"stock_{os.getpid()}_restored")
    subprocess.run(
        [
            *(postgresql.binaries / "pg_restore", "--exit-on-error", "--dbname", target),
            *("--host", postgresql.socket, "--port", str(postgresql.port)),
            *("--username", postgresql.admin),
        ],
        input=result.plain,
        env={"PATH": os.environ["PATH"]},
        check=True,
    )
    rows = "COPY (SELECT * FROM ticket ORDER BY id) TO STDOUT"
    expected = postgresql.sql(rows, database=name)
    assert len(expected.splitlines()) == 5000
    assert postgresql.sql(rows, database=target) == expected
