"""The kernel reads lines of access logs as the formats do, and leaves the scan's verdicts alone."""

from __future__ import annotations

import random

import pytest

from agent.logs.scan import formats, hits
from agent.logs.scan.engine import TRIGGER_BITS
from agent.logs.scrub import kernel
from tests.fuzz import requests

REASON = kernel.trial()
needs_kernel = pytest.mark.skipif(REASON is not None, reason=f"no kernel: {REASON}")


@needs_kernel
@pytest.mark.parametrize("seed", range(3))
def test_a_scan_with_the_kernel_knows_the_same_as_without(seed: int) -> None:
    assert requests.search(seed, 400) is None


@needs_kernel
def test_the_kernel_reads_what_is_usual_itself() -> None:
    lines = hits.open_lines(8)
    usual = [text for text in requests.SAMPLES if text.startswith((b"203.0.113.7 - ", b"2001:db8"))]
    read = [next(iter(lines.read(text, [1 << TRIGGER_BITS])))[2] for text in usual]
    assert len(usual) > 70
    assert [text for text, one in zip(usual, read, strict=True) if not one] == []


@needs_kernel
def test_a_kernel_that_reads_otherwise_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "clf_seconds", lambda _: 0.0)
    found = requests.search(0, 50)
    assert found is not None
    assert "it reads" in found


@needs_kernel
@pytest.mark.parametrize(
    "wrong", [[100 << TRIGGER_BITS], [0, 9 << TRIGGER_BITS, 1 << TRIGGER_BITS], [300]]
)
def test_hits_that_cannot_be_are_refused(wrong: list[int]) -> None:
    with pytest.raises(RuntimeError, match="failed with status 1"):
        hits.open_lines(8).read(b"a line\na line\n", wrong)


@pytest.mark.parametrize("with_kernel", [True, False])
def test_a_line_is_told_once_with_all_its_triggers(with_kernel: bool) -> None:
    lines = hits.open_lines(20, kernel=with_kernel)
    block = b"one two\n\nthree\nfour"
    found = [(2, 3), (6, 0), (6, 17), (18, 19)]
    numbers = [place << TRIGGER_BITS | trigger for place, trigger in found]
    told = [(line[0], line[1], int.from_bytes(line[-1], "little")) for line in
            lines.read(block, numbers)]  # fmt: skip
    assert told == [(0, 7, 1 << 3 | 1 | 1 << 17), (15, 19, 1 << 19)]
    source = random.Random(3)
    block = bytes(source.choice(b"\nab") for _ in range(5000))
    assert lines.count(block) == block.count(b"\n")
    assert lines.count(b"") == 0
