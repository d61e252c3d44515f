"""Lines made to hurt: long ones, and such as make a backtracking engine slow."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.config.logs_scan import Scan
from agent.logs.scan import Scanner, formats, open_scanner, patterns
from agent.logs.scan.normal import normalise
from agent.logs.scan.rules import Rule, load

MIB = 1 << 20
RULES = load()
REQUEST = b'203.0.113.7 - - [24/Nov/2026:06:03:00 +0000] "GET /%s HTTP/1.1" 404 1 "-" "%s"\n'


def pumps() -> Iterator[bytes]:
    """Yield text that is nearly what a rule looks for, over and over, and never quite."""
    for rule in RULES:
        for sample in rule.samples:
            text = sample.line.encode()
            yield text[: len(text) // 2] * 40
            yield text[len(text) // 3 :] * 40
    for one in (b"${", b"../", b"%25", b"/*", b"' or ", b"union ", b"{{", b"<a ", b"on", b"\\x5c"):
        yield one * 30_000
    yield b"select " + b"a" * 60_000
    yield b'"' * 60_000
    yield b"\\" * 60_001


@pytest.mark.parametrize("engine", ["hyperscan", "re"])
def test_hostile_lines_are_judged_and_come_to_an_end(engine: str) -> None:
    scanner = open_scanner(Scan.model_validate({"engine": engine}))
    for number, pump in enumerate(pumps()):
        if engine == "re" and number % 9:  # the slow engine need not see all of them here
            continue
        pump = pump.replace(b"\n", b" ")[:60_000]
        safe = pump.replace(b'"', b"\\x22")
        block = REQUEST % (safe, b"x") + REQUEST % (b"", safe)
        block += b"Nov 24 06:03:00 web1 sshd[9]: Failed password for " + pump + b"\n"
        block += b"Nov 24 06:03:00 mail1 dovecot: imap-login: Disconnected (auth failed, 1 attempts"
        block += b" in 2 secs): user=<" + pump + b">, method=PLAIN, rip=203.0.113.7, lip=x\n"
        scanner.feed(block + pump + b"\n", source="x")
    assert scanner.seen["x"].lines >= 5 * 10


@pytest.mark.parametrize(
    ("engine", "filling"),
    [("hyperscan", one) for one in (b"a", b"' or ", b"${", b"%2e", b"{")] + [("re", b"${")],
)
def test_a_line_of_a_mebibyte_is_cut_and_counted(engine: str, filling: bytes) -> None:
    scanner = open_scanner(Scan.model_validate({"engine": engine}))
    long = b"/.env " + filling * (MIB // len(filling))
    scanner.feed(long + b"\n" + REQUEST % (b".env", b"x"), source="x")
    assert [one.rule for one in scanner.findings()] == ["http-secret-files"]
    seen = scanner.seen["x"]
    assert (seen.lines, seen.cut) == (2, 1)


LINES = st.lists(
    st.one_of(
        st.sampled_from([sample.line.encode() for rule in RULES for sample in rule.samples]),
        st.binary(max_size=80).map(lambda line: line.replace(b"\n", b"")),
    ),
    max_size=30,
)


def told(engine: str, blocks: list[bytes]) -> list[tuple[str, str, int, int, str]]:
    scanner = SCANNERS[engine]()
    offset = 0
    for block in blocks:
        scanner.feed(block, source="x", segment="x", offset=offset, now=1_795_500_180)
        offset += len(block)
    return sorted((one.rule, one.who, one.count, one.served, one.id) for one in scanner.findings())


SINGLE = tuple(
    rule.model_copy(update={"threshold": min(rule.threshold, 2), "total": None}) for rule in RULES
)
SCANNERS = {
    engine: (lambda engine=engine: Scanner(Scan.model_validate({"engine": engine}), SINGLE))
    for engine in ("hyperscan", "re")
}


def test_both_engines_find_the_same_in_mixed_lines() -> None:
    source = random.Random(7)
    lines = [sample.line.encode() for rule in RULES for sample in rule.samples]
    for _ in range(4):
        chosen = [
            source.choice(lines) if source.random() < 0.7 else source.randbytes(60)
            for _ in range(60)
        ]
        block = b"".join(line.replace(b"\n", b"") + b"\n" for line in chosen)
        assert told("hyperscan", [block]) == told("re", [block])


def test_how_a_log_is_cut_into_blocks_changes_nothing() -> None:
    lines = [sample.line.encode() + b"\n" for rule in RULES for sample in rule.samples]
    whole = told("hyperscan", [b"".join(lines)])
    assert told("hyperscan", lines) == whole
    assert len({one[4] for one in whole}) == len(whole), "every finding has an id of its own"


@given(line=st.binary(max_size=300))
def test_no_line_breaks_the_readers(line: bytes) -> None:
    line = line.replace(b"\n", b"")
    for form in (line, b"{" + line, b'203.0.113.7 - - [24/Nov/2026:06:03:00 +0000] "' + line):
        formats.read_request(form)
        formats.read_message(form)
    normalise(line)


@given(
    text=st.from_regex(
        rb"[0-3][0-9]/[A-Z][a-z]{2}/[0-9]{4}(:[0-9]{2}){3} [+-][0-9]{4}", fullmatch=True
    )
)
def test_no_time_breaks_the_readers(text: bytes) -> None:
    formats.clf_seconds(text)
    formats.rfc3164_seconds(b"Nov 31 99:99:99")
    formats.iso_seconds(text)


def test_the_same_moment_reads_the_same_in_every_format() -> None:
    moment = 1_795_500_189
    assert formats.clf_seconds(b"24/Nov/2026:06:03:09 +0000") == moment
    assert formats.clf_seconds(b"24/Nov/2026:07:03:09 +0100") == moment
    assert formats.iso_seconds(b"2026-11-24T06:03:09.123456789Z") == moment + 0.123456
    assert formats.iso_seconds(b"2026-11-24T01:03:09-05:00") == moment


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("a.*b", "without a bound"),
        ("(a{1,9}){1,9}b", "inside of a repeat"),
        ("[a-z]{1,200}[a-z]{1,200}[a-z]{1,200}x", "too many repeats"),
        ("a{1,999}", "more than 256"),
        ("(?=a)b", "not every engine"),
        (r"(a)\1", "not every engine"),
        ("[^a]b", "line's end"),
        (r"a\sb", "line's end"),
        ("a?", "empty"),
        ("(", "no regular expression"),
    ],
)
def test_a_pattern_that_could_be_slow_is_refused(pattern: str, reason: str) -> None:
    with pytest.raises(patterns.PatternError, match=re.escape(reason)):
        patterns.check_trigger(pattern)


def test_a_rule_with_a_mistake_is_told_with_its_file(tmp_path: object) -> None:
    from pathlib import Path

    from agent.errors import Art32Error

    file = Path(str(tmp_path)) / "own.toml"
    file.write_text(
        '[[rules]]\nid = "own-rule"\ntitle = "a rule of ours"\nfamily = "http"\n'
        'severity = "low"\ntriggers = ["a.*b"]\ntarget = ["ab"]\n'
        'meaning = "it says nothing at all"\n'
        'samples = [{ line = "a", matches = true }, { line = "b", matches = false }]\n'
    )
    with pytest.raises(Art32Error) as caught:
        load(file.parent)
    assert caught.value.code.label == "config-invalid"
    assert str(file) in caught.value.sentence
    assert "without a bound" in caught.value.sentence


def test_only_logins_over_ssh_and_mail_may_ban() -> None:
    rule = next(rule for rule in RULES if rule.family == "http")
    with pytest.raises(ValueError, match="may ban"):
        Rule.model_validate({**rule.model_dump(), "ban": True})
    assert {rule.family for rule in RULES if rule.ban} == {"ssh", "mail"}


def test_a_login_after_failures_is_found_and_one_without_is_not() -> None:
    failed = b"Nov 24 06:03:0%d web1 sshd[9]: Failed password for al from 203.0.113.7 port 1 ssh2\n"
    accepted = b"Nov 24 06:04:00 web1 sshd[9]: Accepted password for al from %s port 1 ssh2\n"
    scanner = open_scanner()
    scanner.feed(b"".join(failed % second for second in range(6)), source="x")
    scanner.feed(accepted % b"203.0.113.8", source="x", offset=1000)
    assert "ssh-login-after-failures" not in [one.rule for one in scanner.findings()]
    scanner.feed(accepted % b"203.0.113.7", source="x", offset=2000)
    last = scanner.findings()[-1]
    assert (last.rule, last.severity) == ("ssh-login-after-failures", "critical")


def test_many_addresses_together_are_found_without_naming_one() -> None:
    line = "Nov 24 06:03:00 web1 sshd[9]: Failed password for al from 203.0.{}.{} port 1 ssh2\n"
    scanner = open_scanner()
    text = "".join(line.format(number // 250, number % 250) for number in range(1000))
    scanner.feed(text.encode(), source="x")
    assert {(one.rule, one.who) for one in scanner.findings()} == {("ssh-failed-login", "")}


def test_an_attack_that_goes_on_is_one_finding_that_grows() -> None:
    scanner = open_scanner()
    scanner.feed((REQUEST % (b".env", b"x")) * 10_000, source="x")
    (finding,) = [one for one in scanner.findings() if one.rule == "http-secret-files"]
    assert finding.count == 10_000
