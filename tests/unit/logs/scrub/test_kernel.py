"""The kernel is the reference, byte for byte and count for count, and never ends the process."""

from __future__ import annotations

import ctypes
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.config.logs_scrub import Scrub
from agent.errors import Art32Error, Code
from agent.logs.scrub import kernel, open_scrubber
from tests.fuzz import addresses, compare, generate

REASON = kernel.trial()
needs_kernel = pytest.mark.skipif(REASON is not None, reason=f"no kernel: {REASON}")
PIECES = (*generate.FRAGMENTS, *generate.ESCAPES, *(bytes((byte,)) for byte in generate.GLUE))


@needs_kernel
@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_generated_blocks_are_scrubbed_as_the_reference_does_and_twice_is_once(seed: int) -> None:
    found = compare.search(seed, 500)
    assert found is None


@needs_kernel
@pytest.mark.parametrize("seed", range(4))
def test_generated_lines_that_are_scrubbed_twice_are_scrubbed_once(seed: int) -> None:
    assert compare.search_twice(seed, 5_000) is None


@needs_kernel
def test_a_line_that_is_scrubbed_otherwise_the_second_time_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(generate, "line", lambda _: b"a line, cut here: 2001:db8:85a3::1 2001:db8")
    monkeypatch.setattr(compare, "check", lambda _, line: "cut" if line else None)
    changed = compare.kernel(Scrub())
    monkeypatch.setattr(changed, "scrub", lambda block: block + b"x")
    monkeypatch.setattr(compare, "kernel", lambda *_, **__: changed)
    found = compare.search_twice(0, 10)
    assert found is not None
    assert found.what == "cut"


@needs_kernel
@pytest.mark.parametrize("instructions", compare.LEVELS)
def test_tokens_of_many_addresses_are_those_of_the_reference(
    instructions: kernel.Instructions,
) -> None:
    source = random.Random(5)
    seen = [source.choice((addresses.ipv4, addresses.ipv6))(source) for _ in range(3_000)]
    lines = [f"{source.choice(seen)} {source.choice(seen)}" for _ in range(6_000)]
    block = "\n".join([*lines, "0:0:0:0:0:0:0:0 64:ff9b::203.0.113.77"]).encode()
    chosen = Scrub(mode="pseudonym")
    expected = compare.reference(chosen).scrub(block)
    scrubber = compare.kernel(chosen, instructions)
    assert scrubber.scrub(block) == expected
    assert scrubber.scrub(block) == expected


@needs_kernel
@pytest.mark.parametrize("ipv4_prefix", [0, 8, 13, 16, 24])
@pytest.mark.parametrize("ipv6_prefix", [0, 16, 40, 48, 64])
def test_an_address_is_copied_up_to_a_cut_only_where_it_is_spelled_as_it_would_be_written(
    ipv4_prefix: int, ipv6_prefix: int
) -> None:
    spelled = (
        "203.0.113.77 203.000.113.077 3.10.0.99 203.0%2e113.77 2001:db8:5a3:8d3:1319:8a2e:370:7348 "
        "2001:DB8:5a3:8d3:1319:8a2e:370:7348 2001:0db8:5a3:8d3:1319:8a2e:370:7348 "
        "2001:db8:0:8d3:1319:8a2e:370:7348 2001:0:5a3:8d3:0:8a2e:370:7348 2001:0:0:8d3:1:2:3:4 "
        "0:0:0:0:0:ffff:cb00:714d 2002:cb00:714d:1:2:3:4:5 2001%3adb8:5a3:8d3:1319:8a2e:370:7348"
    )
    block = f"behind {spelled} and before what the kernel reads ahead, {'x' * 80}\n".encode()
    assert compare.check(Scrub(ipv4_prefix=ipv4_prefix, ipv6_prefix=ipv6_prefix), block) is None


@needs_kernel
@given(st.lists(st.sampled_from(PIECES), max_size=12), st.sampled_from(compare.SETTINGS))
@settings(max_examples=300)
def test_any_pieces_are_scrubbed_as_the_reference_does(pieces: list[bytes], chosen: Scrub) -> None:
    assert compare.check(chosen, b"".join(pieces)) is None


@needs_kernel
@given(st.binary(max_size=300), st.sampled_from(compare.SETTINGS))
def test_any_bytes_are_scrubbed_as_the_reference_does(block: bytes, chosen: Scrub) -> None:
    assert compare.check(chosen, block) is None


@needs_kernel
@given(st.data())
@settings(max_examples=60)
def test_where_a_line_stands_in_a_block_does_not_matter(data: st.DataObject) -> None:
    source = random.Random(data.draw(st.integers(0, 1 << 32)))
    block = generate.block(source, 40)
    cut = data.draw(st.integers(0, len(block)))
    end = block.rfind(b"\n", 0, cut) + 1
    for chosen in compare.SETTINGS:
        whole, parts = (compare.kernel(chosen) for _ in range(2))
        assert whole.scrub(block) == parts.scrub(block[:end]) + parts.scrub(block[end:])


@needs_kernel
def test_of_generated_addresses_in_every_spelling_none_is_left_over() -> None:
    assert addresses.left_over(30_000, 1) == []


def test_the_reference_leaves_none_over_either() -> None:
    assert addresses.left_over(3_000, 2, engine="reference") == []


def test_the_search_for_what_is_left_over_finds_it() -> None:
    lines = addresses.lines(random.Random(3), 3_000)
    assert all(addresses.LEFT.search(line) for line in lines)


@needs_kernel
def test_a_kernel_with_other_settings_than_it_knows_is_refused() -> None:
    library = kernel.load()
    for blob in (b"?\0\0\0\0", b"m\x09\0\0\0shorter", b"m\x03\0\0\0abc", b"k\x01\0\0\0k"):
        assert not library.art32_kernel_open(blob, len(blob), 0)
    assert library.art32_kernel_scrub(
        None, b"", 0, *(ctypes.byref(each()) for each in (ctypes.c_void_p, ctypes.c_size_t)),
        ctypes.byref(ctypes.c_uint64()),
    )  # fmt: skip


@pytest.mark.parametrize("content", [b"", b"not a library", b"\x7fELF" + bytes(100)])
def test_a_library_that_cannot_be_used_is_a_reason_and_no_crash(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / kernel.LIBRARY
    path.write_bytes(content)
    monkeypatch.setattr(kernel, "find", lambda: path)
    kernel.load.cache_clear()
    kernel.trial.cache_clear()
    try:
        assert kernel.trial() == f"`{path}` cannot be loaded on this system"
        assert open_scrubber(Scrub()).engine == "reference"
        with pytest.raises(Art32Error, match="there is no scrubbing kernel") as caught:
            open_scrubber(Scrub(), engine="kernel")
        assert caught.value.code is Code.TOOL_MISSING
    finally:
        kernel.load.cache_clear()
        kernel.trial.cache_clear()
