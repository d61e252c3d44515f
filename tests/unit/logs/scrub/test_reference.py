"""The specification by example: what goes, what stays, and that twice is once."""

from __future__ import annotations

import pytest

from agent.config.logs_scrub import Scrub
from agent.logs.scrub import open_scrubber
from agent.logs.scrub.keys import PeriodKey

KEY = PeriodKey(b"k" * 32, "2026-11-24")
CASES = [
    (b"203.0.113.77:57424", b"203.0.113.0:57424"),
    (b"for=\\x22203.0.113.77\\x22", b"for=\\x22203.0.113.0\\x22"),
    (b"%22203.0.113.77", b"%22203.0.113.0"),
    (b"[2001:db8:85a3::7348]:443", b"[2001:db8:85a3::]:443"),
    (b"::ffff:cb00:714d", b"::ffff:203.0.113.0"),
    (b"Chrome/124.0.0.0 1.3.6.1.4.1.311", b"Chrome/124.0.0.0 1.3.6.1.4.1.311"),
    (b"?email=a%40b.de&x=1", b"?email=parameter-removed&x=1"),
]


@pytest.mark.parametrize(("line", "scrubbed"), CASES)
@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_a_line_is_scrubbed_and_scrubbed_twice_the_same(
    line: bytes, scrubbed: bytes, end: bytes
) -> None:
    scrubber = open_scrubber(Scrub())
    assert scrubber.scrub(line + end) == scrubbed + end
    assert scrubber.scrub(scrubbed + end) == scrubbed + end


def test_one_client_has_one_token_in_every_spelling() -> None:
    scrubber = open_scrubber(Scrub(mode="pseudonym"), key=KEY)
    spellings = [b"203.0.113.77", b"::ffff:203.0.113.77", b"::FFFF:CB00:714D", b"203.000.113.077"]
    tokens = {scrubber.scrub(spelling) for spelling in spellings}
    assert len(tokens) == 1
    assert tokens.pop().startswith(f"ip4-{KEY.key_id}-".encode())
