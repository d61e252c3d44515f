"""However an attack is encoded, the first stage lets it through to the second."""

from __future__ import annotations

import re
from functools import cache
from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st

from agent.config.logs_scan import Scan
from agent.logs.scan import formats
from agent.logs.scan.normal import normalise
from agent.logs.scan.rules import Rule, load
from agent.logs.scan.scanner import Scanner

RULES = [rule for rule in load() if rule.has_patterns]
ATTACKS = [
    (rule, formats.read_request(sample.line.encode()))
    for rule in RULES
    for sample in rule.samples
    if sample.matches and sample.line.startswith("203.") and "HTTP/1.1" in sample.line
]
LINE = b'203.0.113.7 - - [24/Nov/2026:06:03:00 +0000] "%s %s HTTP/1.1" %s 15 "-" "%s"\n'


@cache
def scanner_of(rule: Rule, engine: str) -> Scanner:
    alone = rule.model_copy(update={"threshold": 1, "distinct": "", "total": None})
    return Scanner(Scan.model_validate({"engine": engine}), [alone])


def matches(rule: Rule, line: bytes, engine: str) -> bool:
    judge = scanner_of(rule, engine).tally.judges[rule.id]
    before = judge.matches
    scanner_of(rule, engine).feed(line, source="x")
    return judge.matches > before


def plain(target: bytes) -> bytes:
    """Return a target without any encoding, as far as one line of a log can hold it."""
    for _ in range(3):
        target = re.sub(rb"%([0-9a-fA-F]{2})", lambda found: bytes((int(found[1], 16),)), target)
    return target


@st.composite
def disguised(draw: st.DrawFn) -> tuple[Rule, bytes, bytes]:
    """A request of a sample with each byte as it is, in the other case, or encoded."""
    rule, request = draw(st.sampled_from(ATTACKS))
    assert request is not None
    out = []
    for byte in plain(request.target.replace(b"\\x", b"%")):
        one = bytes((byte,))
        how = draw(st.sampled_from(["plain", "plain", "case", "encoded", "twice", "reserved"]))
        if one in b' "\\\n' or not 32 < byte < 127:
            how = "encoded"
        if how == "case":
            one = one.swapcase()
        elif how == "encoded" or (how == "reserved" and not one.isalnum()):
            one = b"%%%02x" % byte
        elif how == "twice":
            one = b"%%25%02X" % byte
        out.append(one)
    target = b"".join(out)
    return rule, target, LINE % (request.method or b"GET", target, request.status, request.agent)


@given(made=disguised())
def test_no_encoding_hides_an_attack_from_the_first_stage(made: tuple[Rule, bytes, bytes]) -> None:
    rule, target, line = made
    request = formats.read_request(line[:-1])
    assert request is not None
    in_target = rule.web[0] or rule.web[2]
    expected = in_target is not None and in_target.search(normalise(target)) is not None
    if rule.method_test and request.method not in rule.method_test:
        expected = False
    if not expected:
        return  # the disguise has broken the attack itself
    assert matches(rule, line, "hyperscan")


@given(made=disguised())
def test_both_engines_give_the_same_verdict(made: tuple[Rule, bytes, bytes]) -> None:
    rule, _, line = made
    assert matches(rule, line, "hyperscan") == matches(rule, line, "re")


def test_what_a_browser_encodes_hides_nothing() -> None:
    missed = []
    for rule, request in ATTACKS:
        assert request is not None
        if not (rule.target or rule.anywhere):
            continue
        target = plain(request.target.replace(b"\\x", b"%"))
        for safe in ("/?&=", "/?&=:;,@'()*!$", "?&="):
            line = LINE % (
                request.method or b"GET",
                quote(target, safe=safe).encode(),
                request.status,
                request.agent,
            )
            parsed = formats.read_request(line[:-1])
            assert parsed is not None
            pattern = rule.web[0] or rule.web[2]
            fits = pattern is not None and pattern.search(normalise(parsed.target))
            if fits and not matches(rule, line, "hyperscan"):
                missed.append((rule.id, line))
    assert missed == []
