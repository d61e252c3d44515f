"""The second scanner: finds what a scrubber could leave, and nothing in what a good one gives."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.config.logs_scrub import Scrub
from agent.logs.scrub import exemptions, open_scrubber
from agent.logs.scrub.keys import PeriodKey
from agent.logs.second import Exemptions, Found, SecondScanner

DEFAULT = (24, 48)
STRICT = (16, 32)
LEFT = [
    b"203.0.113.77",
    b"203.0.113.77:443",
    b"[client 203.0.113.77:57424]",
    b"203.0.113.77.",
    b"203.0.113.77.443",
    b"for=\\x22203.0.113.77\\x22",
    b"q=whois%20203.0.113.77",
    b"203%2E0%2E113%2E77",
    b"203%252E0%252E113%252E77",
    b"http://3405803853/",
    b"http://0xCB00714D/",
    b"//user@3405803853:80/",
    b"2001:db8::1",
    b"2001:db8:1:2::",
    b"2001:db8:1:2:3:4:5:6",
    b"[2001:db8::1]:443",
    b"fe80::1%eth0",
    b"::ffff:203.0.113.77",
    b"64:ff9b::203.0.113.77",
    b"2002:cb00:714d::",
    b"2002:cb00:714d::1",
    b"2001%3Adb8%3A%3A1",
    b"2001\\x3adb8\\x3a\\x3a1",
    b"gateway/203.0.113.77:8080",
    b"SIP/203.0.113.77",
    b"203.0.113.77,203.0.113.99",
]
FINE = [
    b"203.0.113.0",
    b"203.0.113.0.443",
    b"2001:db8:1::",
    b"[2001:db8:1::]:443",
    b"::ffff:203.0.113.0",
    b"64:ff9b::203.0.113.0",
    b"2002:cb00:7100::",
    b"::",
    b"std::vector<int>::iterator",
    b"face::Vector",
    b"Chrome/124.0.0.0 Safari/537.36",
    b"Chrome/120.0.6099.109",
    b"1.3.6.1.4.1.311",
    b"10:11:12 2026-11-24T06:00:00",
    b"[24/Nov/2026:06:00:00 +0000]",
    b"00:1a:2b:3c:4d:5e",
    b"a.c(887): x.py:12:34",
    b"sha256:9f:86:d0:81:88:4c",
    b"https://example.com/a%20b%2Fc",
    b"\\x16\\x03\\x01",
    b"1.2.3 v2.10.4",
    b"999.999.999.999",
    b"",
]


def scanner(prefixes: tuple[int, int] | None = DEFAULT) -> SecondScanner:
    return SecondScanner(
        prefixes,
        Exemptions(
            networks=(ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("2001:db8:f::/48")),
            products=exemptions.PRODUCTS,
            product_boundary=exemptions.PRODUCT_BOUNDARY,
            oid_roots=exemptions.OID_ROOTS,
        ),
    )


@pytest.mark.parametrize("text", LEFT, ids=repr)
@pytest.mark.parametrize("prefixes", [DEFAULT, STRICT, (20, 40), None], ids=str)
def test_an_address_that_was_left_is_a_hit_and_is_masked(
    text: bytes, prefixes: tuple[int, int] | None
) -> None:
    second = scanner(prefixes)
    line = b'before "' + text + b'" after 200\n'
    masked = second.check(line)
    assert second.found.hits >= 1
    assert len(masked) == len(line)
    assert masked.startswith(b'before "')
    assert masked.endswith(b'" after 200\n')
    assert second.check(masked) == masked, "what is masked is no hit again"
    for host in (b"77", b"99", b"db8", b"714d", b"3853"):
        assert host not in masked


@pytest.mark.parametrize("text", FINE, ids=repr)
def test_what_a_good_scrubber_puts_out_is_no_hit(text: bytes) -> None:
    second = scanner()
    line = b"before " + text + b" after\n"
    assert second.check(line) is line
    assert second.found == Found(lines=1, hits=0)


@pytest.mark.parametrize(
    "text",
    [b"10.1.2.3", b"2001:db8:f::1", b"Chrome/120.0.99.109", b"Edg/1.2.3.4", b"1.3.6.1.4"],
)
@pytest.mark.parametrize("prefixes", [DEFAULT, None])
def test_what_is_exempt_is_no_hit(text: bytes, prefixes: tuple[int, int] | None) -> None:
    second = scanner(prefixes)
    assert second.check(b'"' + text + b'"') == b'"' + text + b'"'
    assert second.found.hits == 0


@pytest.mark.parametrize("text", [b"203.0.113.0", b"2001:db8:1::", b"::ffff:203.0.113.0"])
def test_where_addresses_are_replaced_even_a_network_is_a_hit(text: bytes) -> None:
    second = scanner(None)
    assert second.check(text + b"\n") != text + b"\n"
    assert second.found.hits == 1


@pytest.mark.parametrize(
    ("lines", "hits", "too_many"),
    [
        (10, 0, False),
        (10, 1, False),
        (10, 2, True),
        (100_000, 1, False),
        (100_001, 2, False),
        (200_000, 2, False),
        (200_000, 3, True),
    ],
)
def test_more_than_one_in_a_hundred_thousand_lines_is_too_many(
    lines: int, hits: int, too_many: bool
) -> None:
    assert Found(lines, hits).too_many is too_many


IPV4 = st.builds(
    lambda network, host: ipaddress.IPv4Address(network << 8 | host),
    st.integers(1 << 16, (1 << 24) - 1),
    st.integers(1, 255),
)
IPV6 = st.builds(
    lambda network, host: ipaddress.IPv6Address(0x20010DB8 << 96 | network << 16 | host),
    st.integers(0, (1 << 80) - 1),
    st.integers(1, 65535),
)
ADDRESSES = st.one_of(
    IPV4.map(str),
    IPV6.map(str),
    IPV6.map(lambda address: address.exploded),
    IPV6.map(lambda address: str(address).upper()),
    IPV4.map(lambda address: f"::ffff:{address}"),
    IPV4.map(lambda address: str(address).replace(".", "%2E")),
    IPV6.map(lambda address: str(address).replace(":", "%3A")),
    IPV4.map(lambda address: f"http://{int(address)}/"),
)
CONTEXTS = st.sampled_from(
    [
        "{}",
        "[{}]",
        '"{}"',
        "client={}",
        "{}, 10.0.0.1",
        "({})",
        "<{}>",
        "ip: {};",
        "for={};by=x",
        "a {} b",
        "'{}'",
    ]
)


@pytest.mark.parametrize("mode", ["truncate", "strict", "pseudonym", "remove"])
@settings(max_examples=150)
@given(st.lists(st.tuples(ADDRESSES, CONTEXTS), min_size=1, max_size=5))
def test_both_agree_that_nothing_is_left(mode: str, parts: list[tuple[str, str]]) -> None:
    line = " ".join(context.format(address) for address, context in parts).encode() + b"\n"
    preset, chosen = ("strict", "truncate") if mode == "strict" else ("default", mode)
    config = Scrub.model_validate({"mode": chosen, "preset": preset})
    scrubbed = open_scrubber(config, key=PeriodKey(b"k" * 32, "2026-11-24")).scrub(line)
    second = SecondScanner(config.prefixes if chosen == "truncate" else None)
    assert second.check(scrubbed) == scrubbed, line
    raw = SecondScanner(config.prefixes if chosen == "truncate" else None)
    raw.check(line)
    assert raw.found.hits >= 1, line
