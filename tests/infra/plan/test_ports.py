from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.plan.ports import EVERYTHING, NOTHING, Ports, ephemeral, of_rule, span, tcp

PORT = st.integers(0, 65535)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (("tcp", 443, 443), "443"),
        (("6", 80, 81), "80-81"),
        (("udp", 53, 53), "udp 53"),
        (("17", 0, 65535), "udp 0-65535"),
        (("icmp", -1, -1), "icmp"),
        (("icmpv6", None, None), "icmp"),
        (("50", None, None), "other protocols"),
        (("-1", None, None), "all"),
        (("-1", 0, 0), "all"),
        (("tcp", None, None), "0-65535"),
    ],
)
def test_a_rule_is_read_as_aws_means_it(rule: tuple[str, int, int], words: str) -> None:
    assert str(of_rule(*rule)) == words


@pytest.mark.parametrize("ports", [(5, 4), (-1, 3), (0, 65536), ("x", 3)])
def test_ports_that_do_not_exist_are_refused(ports: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=r"ports|invalid literal"):
        of_rule("tcp", *ports)


@given(low=PORT, high=PORT, one=PORT)
def test_a_span_holds_its_ports_and_no_other(low: int, high: int, one: int) -> None:
    low, high = sorted((low, high))
    inside = Ports(tcp=span(low, high)) & tcp(one)
    assert bool(inside) == (low <= one <= high)


@given(low=PORT, high=PORT, start=PORT, end=PORT)
def test_subtraction_leaves_nothing_of_what_was_taken(
    low: int, high: int, start: int, end: int
) -> None:
    left = Ports(tcp=span(min(low, high), max(low, high)))
    right = Ports(tcp=span(min(start, end), max(start, end)))
    assert not (left - right) & right
    assert (left - right) | (left & right) == left
    assert not EVERYTHING - left - (EVERYTHING - left)


def test_words_join_what_belongs_together() -> None:
    assert str(tcp(80, 443, 444)) == "80, 443-444"
    assert str(NOTHING) == "none"
    assert str(ephemeral(32768)) == "32768-60999, udp 32768-60999"
    assert str(ephemeral(1024)) == "1024-65535, udp 1024-65535"
