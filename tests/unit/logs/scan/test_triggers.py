"""The first stage loses nothing: whatever a pattern fits, a trigger of its rule is found in."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.logs.scan.normal import normalise
from agent.logs.scan.rules import Rule, load

# What is no HTTP is known by how the daemon writes its first bytes: `\\x16\\x03`.
RULES = [rule for rule in load() if rule.has_patterns and rule.id != "http-binary-junk"]
PATTERNS = [
    (rule, pattern) for rule in RULES for pattern in (*rule.target, *rule.agent, *rule.anywhere)
]
# As clients and daemons write them; letters and digits encoded are for a trigger of all rules.
SPELLINGS: tuple[Callable[[str], str], ...] = (
    lambda one: f"%{ord(one):02x}" if one in " \"'<>`|" else one,
    lambda one: "+" if one == " " else "%22" if one == '"' else one,
    lambda one: one if one.isalnum() or one in ".-_" else f"%{ord(one):02X}",
    lambda one: "\\x22" if one == '"' else one,
    lambda one: "%09" if one == " " else "%22" if one == '"' else one,
)


def by_rule(many: list[tuple[Rule, str]]) -> list[str]:
    return [f"{rule.id}-{number}" for number, (rule, _) in enumerate(many)]


@pytest.mark.parametrize(("rule", "pattern"), PATTERNS, ids=by_rule(PATTERNS))
def test_what_a_pattern_fits_has_a_trigger_in_any_spelling(rule: Rule, pattern: str) -> None:
    fits = re.compile(pattern.encode(), re.MULTILINE)
    method = b"POST /" if rule.methods else b"GET "
    triggers = [re.compile(one, re.IGNORECASE) for one in rule.searched]

    @settings(
        max_examples=30, derandomize=True, deadline=None, suppress_health_check=[*HealthCheck]
    )
    @given(st.from_regex(pattern, fullmatch=True, alphabet=st.characters(codec="ascii")))
    def hold(text: str) -> None:
        text = "".join(one for one in text if one.isprintable())
        for spell in SPELLINGS:
            field = "".join(map(spell, text)).encode()
            if fits.search(normalise(field)):
                line = b'203.0.113.7 - - [x] "%s%s HTTP/1.1" 404 1 "-" "x"' % (method, field)
                assert any(one.search(line) for one in triggers), line

    hold()
