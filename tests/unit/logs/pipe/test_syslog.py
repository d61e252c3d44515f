"""Syslog in all its forms: the message is found, and what is no syslog is kept."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.logs.pipe import syslog
from agent.logs.pipe.lines import LONGEST
from agent.logs.pipe.syslog import Frames, Head

MESSAGE = b"203.0.113.77 - - x: [y] 2001:db8::1"
HEADERS = {
    "nginx": b"<190>Nov 24 06:00:00 nginx: ",
    "nginx with its host": b"<190>Nov  4 06:00:00 web1 nginx: ",
    "a host that is an address": b"<190>Nov 24 06:00:00 2001:db8::1 nginx: ",
    "libc": b"<38>Nov 24 06:00:00 sshd[4711]: ",
    "haproxy": b"<134>Nov 24 06:00:00 haproxy[12]: ",
    "a newer time": b"<134>2026-11-24T06:00:00.123456+01:00 web1 postfix/smtpd[12]: ",
    "rfc 5424": b"<165>1 2026-11-24T06:00:00.003Z web1 app 123 ID47 - ",
    "rfc 5424 with nothing": b"<13>1 - - - - - - ",
    "rfc 5424 with data": b'<13>1 - h a 1 - [a@1 b="c \\" ] \\\\ d"][x y="203.0.113.77"] ',
    "rfc 5424 with a BOM": b"<13>1 - h a 1 - - \xef\xbb\xbf",
}


@pytest.mark.parametrize("name", HEADERS)
def test_the_header_goes_and_the_message_stays_as_it_is(name: str) -> None:
    record = HEADERS[name] + MESSAGE + b"\n"
    assert syslog.without_headers(record) == (MESSAGE + b"\n", 0)
    text, unknown = syslog.without_headers(record + b"<13>Nov 24 06:00:00 a: b\n" + record)
    assert (text, unknown) == (MESSAGE + b"\nb\n" + MESSAGE + b"\n", 0)


@pytest.mark.parametrize(
    "record",
    [
        b"rubbish",
        b"",
        b"<13",
        b"<1234>Nov 24 06:00:00 a: b",
        b"203.0.113.77 - - [24/Nov/2026] x",
        b"<13>1 2026-11-24 h a 1 - -",
        b'<13>1 - h a 1 - [a b="c] unfinished',
        b"<13>no header at all",
        b"<13>Nov 24 06:00:00 no colon here",
        b"\xff\x00\xfe",
    ],
)
def test_what_is_no_syslog_is_kept_and_counted(record: bytes) -> None:
    text, unknown = syslog.without_headers(record + b"\n")
    assert unknown == 1
    assert record.endswith(text[:-1])
    assert len(record) - len(text[:-1]) in (0, 4, 6)  # at most `<13>` and a version


def test_headers_are_kept_without_their_number() -> None:
    block = b"<13>Nov 24 06:00:00 h a: b\n<13>1 2026-11-24T06:00:00Z h a - - - b\nrubbish\n"
    kept = b"Nov 24 06:00:00 h a: b\n2026-11-24T06:00:00Z h a - - - b\nrubbish\n"
    assert syslog.without_priorities(block) == (kept, 1)


def test_the_parts_of_a_header_are_told_apart() -> None:
    block = b"<38>Nov 24 06:00:00 sshd[4711]: a\n<165>1 - h app 12 - - b\nc\n"
    block += b"<999>Nov 24 06:00:00 d: e\n"
    found, text, unknown = syslog.heads(block)
    assert found == [
        Head(38, b"sshd", b"4711"),
        Head(165, b"app", b"12"),
        Head(13, b"", b""),
        Head(13, b"d", b""),
    ]
    assert text == b"a\nb\nc\ne\n"
    assert unknown == 1


records = st.lists(
    st.one_of(
        st.binary(max_size=60).map(lambda raw: raw.replace(b"\n", b"")),
        st.tuples(st.sampled_from(list(HEADERS.values())), st.binary(max_size=40)).map(
            lambda pair: (pair[0] + pair[1]).replace(b"\n", b"")
        ),
        st.text('<>1390[]="\\: -abNov', max_size=40).map(str.encode),
    ),
    max_size=12,
)


@given(records)
def test_no_record_is_lost_joined_or_divided_whatever_it_holds(lines: list[bytes]) -> None:
    block = b"".join(line + b"\n" for line in lines)
    for strip in (syslog.without_headers, syslog.without_priorities):
        text, unknown = strip(block)
        assert text.count(b"\n") == len(lines)
        assert 0 <= unknown <= len(lines)
        kept = text.split(b"\n")[:-1]
        assert all(line.endswith(end) for line, end in zip(lines, kept, strict=True))
    heads, text, _ = syslog.heads(block)
    assert len(heads) == len(lines) == text.count(b"\n")
    assert all(0 <= head.priority <= 191 for head in heads)


@given(records)
def test_a_message_is_the_same_alone_and_among_others(lines: list[bytes]) -> None:
    alone = [syslog.without_headers(line + b"\n")[0] for line in lines]
    together, _ = syslog.without_headers(b"".join(line + b"\n" for line in lines))
    assert together == b"".join(alone)


def fed(stream: bytes, cuts: list[int]) -> bytes:
    frames, found, last = Frames(), b"", 0
    for place in [*sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]:
        found += frames.feed(stream[last:place])
        last = place
    return found + frames.end()


messages = st.lists(
    st.binary(max_size=30).map(lambda raw: b"<13>" + raw.rstrip(b"\n\0")), min_size=1, max_size=8
)


@given(messages, st.lists(st.integers(0, 400), max_size=6))
def test_counted_frames_arrive_whole_however_the_stream_is_cut(
    sent: list[bytes], cuts: list[int]
) -> None:
    stream = b"".join(b"%d %s" % (len(one), one) for one in sent)
    assert fed(stream, cuts) == b"".join(one.replace(b"\n", b"\\x0A") + b"\n" for one in sent)


@given(messages, st.sampled_from([b"\n", b"\0"]), st.lists(st.integers(0, 400), max_size=6))
def test_frames_end_in_a_newline_or_nul_however_the_stream_is_cut(
    sent: list[bytes], end: bytes, cuts: list[int]
) -> None:
    sent = [one.replace(b"\n", b"").replace(b"\0", b"") for one in sent]
    stream = b"".join(one + end for one in sent)
    assert fed(stream, cuts) == b"".join(one + b"\n" for one in sent)
    assert fed(stream + b"<13>no end", cuts).endswith(b"<13>no end\n")


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=6))
def test_rubbish_on_a_stream_becomes_lines_and_is_all_there(stream: bytes, cuts: list[int]) -> None:
    found = fed(stream, cuts)
    assert found == b"" or found.endswith(b"\n")
    if b"<" not in stream:  # no count can be meant
        expected = stream.replace(b"\n\0", b"\n").replace(b"\0", b"\n")
        assert found.rstrip(b"\n") == expected.rstrip(b"\n")


def test_a_line_that_only_begins_like_a_count_is_a_line() -> None:
    frames = Frames()
    assert frames.feed(b"2026 was a good year\n") == b"2026 was a good year\n"


def test_a_count_that_lies_costs_no_memory_and_is_cut() -> None:
    frames = Frames()
    stream = b"9000000 <13>" + b"word " * 40_000
    found = b"".join(frames.feed(stream[at : at + 1000]) for at in range(0, len(stream), 1000))
    assert len(found) <= LONGEST + 100
    assert found.endswith(b"[art32: cut here]\n")
    assert frames.cut == 1
    assert frames.feed(b"x" * 8_000_000) == b""
    assert len(frames._rest) < 100


def test_after_a_frame_without_a_count_newlines_are_gone_by() -> None:
    frames = Frames()
    assert frames.feed(b"6 <13>ab<13>lost the count\n<13>next\n") == (
        b"<13>ab\n<13>lost the count\n<13>next\n"
    )


def test_a_header_of_the_longest_line_takes_no_time_to_reject() -> None:
    for hostile in (
        b"<13>1 - h a 1 - [" + b'a="' * 20_000,
        b"<13>1 - h a 1 - " + b"[a]" * 20_000 + b"x",
        b"<13>Nov 24 06:00:00 " + b"a" * 60_000,
        b"<13>Nov 24 06:00:00 " + b"a:" * 30_000,
        b'<13>1 - h a 1 - [x y="' + b"\\" * 60_000,
    ):
        text, unknown = syslog.without_headers(hostile + b"\n")
        assert unknown == 1
        assert len(text) > 19_000
