"""The specification by example: what goes, what stays, and that twice is once."""

from __future__ import annotations

import pytest

from agent.config.logs_scrub import Scrub
from agent.config.scrubbing import Mode
from agent.logs.scrub import kernel, open_scrubber
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


COLONS = [
    b"cookie 3:::e",
    b'cookie"0714d::',
    b"::3//0xB007eD0",
    b"::1.2.3.4//b@",
    b"::a%252f%252f45803853%2f",
    b":::3C://://45803853",
    b"fe80::%p//45803853",
    b"fe80::%-basic n/cookie=%",
    b"x   [10/Oct/2000:::e [10/Oct/2000:",
    b"::3.0.3.7:80802",
    b"ff:ff:ff:ff:ff:ff:00:00-1a-2b-3c-4d-5e",
]


@pytest.mark.parametrize("line", COLONS)
@pytest.mark.parametrize("mode", ["truncate", "pseudonym", "remove"])
@pytest.mark.parametrize("engine", ["kernel", "reference"])
def test_colons_that_are_left_separate_nothing_the_second_time(
    line: bytes, mode: Mode, engine: str
) -> None:
    if engine == "kernel" and (reason := kernel.trial()):
        pytest.skip(f"no kernel: {reason}")
    scrubber = open_scrubber(Scrub(mode=mode), key=KEY, engine=engine)
    once = scrubber.scrub(line)
    assert once != line
    assert scrubber.scrub(once) == once


def test_an_authority_without_its_user_is_no_number_the_second_time() -> None:
    scrubber = open_scrubber(Scrub(leave=("credential",)))
    once = scrubber.scrub(b"://0xB00714D:'x@o.uk")
    assert once == b"://0x0b007100:'email-removed"
    assert scrubber.scrub(once) == once


def test_one_client_has_one_token_in_every_spelling() -> None:
    scrubber = open_scrubber(Scrub(mode="pseudonym"), key=KEY)
    spellings = [b"203.0.113.77", b"::ffff:203.0.113.77", b"::FFFF:CB00:714D", b"203.000.113.077"]
    tokens = {scrubber.scrub(spelling) for spelling in spellings}
    assert len(tokens) == 1
    assert tokens.pop().startswith(f"ip4-{KEY.key_id}-".encode())
