"""Segments: whole or refused, readable with stock gpg, their passphrase never shown."""

from __future__ import annotations

import base64
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.crypto import packets, symmetric
from agent.crypto.home import Home, isolated_home
from agent.errors import Art32Error, Code
from agent.memory import Buffer

PLAIN = os.urandom(1000) * 70


@pytest.fixture(scope="module")
def home() -> Iterator[Home]:
    with isolated_home() as found:
        yield found


@pytest.fixture(scope="module")
def passphrase() -> str:
    return symmetric.new_passphrase()


def _stock(message: bytes, passphrase: str, tmp_path: Path) -> subprocess.CompletedProcess[bytes]:
    """Decrypt as a person with gpg and the line of `key.pgp` does."""
    (tmp_path / "key").write_text(passphrase + "\n")
    (tmp_path / "gnupg").mkdir(mode=0o700)
    command = ["gpg", "--homedir", str(tmp_path / "gnupg"), "--batch", "--pinentry-mode"]
    command += ["loopback", "--passphrase-file", str(tmp_path / "key"), "--decrypt"]
    return subprocess.run(command, input=message, capture_output=True, check=False)


def test_passphrases_are_one_line_of_256_random_bits() -> None:
    made = {symmetric.new_passphrase() for _ in range(50)}
    assert len(made) == 50
    assert {len(base64.b64decode(one)) for one in made} == {32}
    assert {len(one) for one in made} == {44}


def filled(data: bytes) -> Buffer:
    buffer = Buffer(len(data))
    assert buffer.append(memoryview(data)) == len(data)
    return buffer


def encryption(home: Home, passphrase: str, data: bytes) -> symmetric.Encryption:
    room = Buffer(len(data) + symmetric.OVERHEAD)
    return symmetric.Encryption(home, passphrase, filled(data), room)


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, 65_536, 1_000_000])
def test_a_message_comes_back(home: Home, passphrase: str, size: int) -> None:
    data = os.urandom(size)
    message = symmetric.encrypt(home, passphrase, data)
    assert len(message) <= size + symmetric.OVERHEAD
    assert symmetric.decrypted(home, passphrase, message, what="it") == data


def test_buffers_are_used_again_for_more_and_for_less(home: Home, passphrase: str) -> None:
    plain, message, back = (Buffer(100_000 + symmetric.OVERHEAD) for _ in range(3))
    for size in (100_000, 3, 0, 99_999):
        data = os.urandom(size)
        plain.clear()
        plain.append(memoryview(data))
        symmetric.Encryption(home, passphrase, plain, message).finish()
        assert data[:50] not in bytes(message.view) or size < 50
        symmetric.decrypt(home, passphrase, message, back, what="it")
        assert bytes(back.view) == data


def test_a_message_larger_than_its_room_is_an_error(home: Home, passphrase: str) -> None:
    small = Buffer(len(PLAIN))
    with pytest.raises(Art32Error) as caught:
        symmetric.Encryption(home, passphrase, filled(PLAIN), small).finish()
    assert caught.value.code is Code.TOOL_FAILED
    assert small.length == 0


def test_stock_gpg_decrypts(home: Home, passphrase: str, tmp_path: Path) -> None:
    done = _stock(bytes(symmetric.encrypt(home, passphrase, PLAIN)), passphrase, tmp_path)
    assert (done.returncode, done.stdout) == (0, PLAIN)


def test_equal_plaintexts_make_different_messages(home: Home, passphrase: str) -> None:
    assert symmetric.encrypt(home, passphrase, PLAIN) != symmetric.encrypt(home, passphrase, PLAIN)


def test_a_byte_changed_in_any_kibibyte_is_refused(home: Home, passphrase: str) -> None:
    message = symmetric.encrypt(home, passphrase, PLAIN)
    for position in [*range(0, len(message), 1024), len(message) - 1, len(message) - 21]:
        changed = bytearray(message)
        changed[position] ^= 0x10
        with pytest.raises(Art32Error) as caught:
            symmetric.decrypted(home, passphrase, changed, what="`00000-ab`")
        assert caught.value.code is Code.CORRUPT, position


def test_a_message_cut_or_longer_is_refused(home: Home, passphrase: str) -> None:
    message = bytes(symmetric.encrypt(home, passphrase, PLAIN))
    wrong = [message[: len(message) * n // 8] for n in range(8)]
    for data in [*wrong, message[:-1], message + b"\0", message + message, b"", PLAIN]:
        with pytest.raises(Art32Error) as caught:
            symmetric.decrypted(home, passphrase, data, what="it")
        assert caught.value.code is Code.CORRUPT


@pytest.mark.parametrize("size", [100, 4 << 20])
def test_another_passphrase_is_damage_and_no_defect(home: Home, passphrase: str, size: int) -> None:
    message = symmetric.encrypt(home, passphrase, bytes(size))
    for wrong in (symmetric.new_passphrase(), "", "x"):
        with pytest.raises(Art32Error) as caught:
            symmetric.decrypted(home, wrong, message, what="it")
        assert caught.value.code is Code.CORRUPT


def _by_gpg(home: Home, passphrase: str, data: bytes, *options: str) -> bytes:
    reading, writing = os.pipe()
    os.write(writing, passphrase.encode() + b"\n")
    os.close(writing)
    command = home.command(
        *("--pinentry-mode", "loopback", "--passphrase-fd", str(reading), "--rfc4880"),
        *(*options, "--output", "-", "--symmetric"),
        starts_agent=True,
    )
    done = subprocess.run(command, input=data, capture_output=True, pass_fds=(reading,), check=True)
    os.close(reading)
    return done.stdout


def test_a_compression_bomb_is_refused_before_it_unfolds(home: Home, passphrase: str) -> None:
    bomb = _by_gpg(home, passphrase, bytes(64 << 20), "-z", "9")
    packets.check_symmetric(bomb)
    assert len(bomb) < 1 << 20
    with pytest.raises(Art32Error) as caught:
        symmetric.decrypted(home, passphrase, bomb, what="it")
    assert caught.value.code is Code.CORRUPT


def test_a_message_without_integrity_protection_is_refused(home: Home, passphrase: str) -> None:
    loose = _by_gpg(home, passphrase, PLAIN, "--rfc2440", "-z", "0", "--cipher-algo", "3DES")
    with pytest.raises(Art32Error) as caught:
        symmetric.decrypted(home, passphrase, loose, what="it")
    assert caught.value.code is Code.CORRUPT


def test_the_passphrase_stands_in_no_argument_and_no_environment(
    home: Home, passphrase: str
) -> None:
    running = encryption(home, passphrase, bytes(64 << 20))
    process = Path(f"/proc/{running._process.pid}")
    seen = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
    running.finish()
    assert b"passphrase-fd" in seen
    assert passphrase.encode() not in seen


def test_no_agent_is_started_and_nothing_is_left_in_the_home(passphrase: str) -> None:
    with isolated_home() as own:
        message = symmetric.encrypt(own, passphrase, PLAIN)
        symmetric.decrypted(own, passphrase, message, what="it")
        left = {path.name for path in own.path.rglob("*")}
    assert not {name for name in left if name.startswith("S.")}
    assert left <= {"trustdb.gpg", ".#lk", "private-keys-v1.d"}


def test_a_gpg_that_dies_before_its_end_makes_no_message(home: Home, passphrase: str) -> None:
    running = encryption(home, passphrase, bytes(64 << 20))
    running.kill()
    with pytest.raises(Art32Error) as caught:
        running.finish()
    assert caught.value.code is Code.TOOL_FAILED


def test_what_is_over_leaves_no_process_no_descriptor_and_no_thread(
    home: Home, passphrase: str
) -> None:
    before, threads = len(os.listdir("/proc/self/fd")), threading.active_count()
    for killed in (False, True) * 3:
        running = encryption(home, passphrase, bytes(64 << 20) if killed else PLAIN)
        pid = running._process.pid
        if killed:
            running.kill()
            with pytest.raises(Art32Error):
                running.finish()
        else:
            running.finish()
        assert not Path(f"/proc/{pid}").exists()
        del running
    assert len(os.listdir("/proc/self/fd")) <= before
    assert threading.active_count() <= threads
