"""Python 3.11.2, which Debian 12 has, ends a possessive group in the wrong place (gh-101955)."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
POSSESSIVE_GROUP = re.compile(r"\)(?:[?*+]|\{[0-9]*,?[0-9]*\})\+")


def test_no_expression_has_a_possessive_group() -> None:
    files = [*(ROOT / "agent").rglob("*.py"), *(ROOT / "agent").rglob("*.toml")]
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in files
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if POSSESSIVE_GROUP.search(line)
    ]
    assert len(files) > 100
    assert found == []


def test_what_it_looks_for_is_found() -> None:
    for text in (r"(?:\.[0-9]++){3,}+", r"(?:a)*+", r"(b)?+", r"(c)++"):
        assert POSSESSIVE_GROUP.search(text)
    assert not POSSESSIVE_GROUP.search(r"(?:\.[0-9]++){3,}x[a-z]++")
