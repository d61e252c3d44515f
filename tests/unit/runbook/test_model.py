"""A runbook's shape: what is read out of it, and what is refused with its line."""

from __future__ import annotations

import pytest

from agent.errors import Art32Error, Code
from agent.runbook import library
from agent.runbook.model import SECTIONS, as_expected, parse

HEAD = """---
title: Mend it
symptom: it is broken
severity: high
minutes: 20
escalate_after: 30
alerts: [one, two]
errors: []
roles: [on-call]
tools: [art32]
articles: [32(1)(c)]
---
"""
BODY = "# Mend it\n\n" + "\n\n".join(f"## {title}\n\nSome words about it." for title in SECTIONS)


def with_block(info: str, text: str = "true\n", after: str = "") -> str:
    return HEAD + BODY.replace("## Verify\n", f"## Verify\n\n```{info}\n{text}```\n{after}", 1)


def refusal(text: str) -> str:
    with pytest.raises(Art32Error) as caught:
        parse("page", text)
    assert caught.value.code is Code.RUNBOOK_INVALID
    assert caught.value.hint == "the shape of a runbook stands in runbooks/TEMPLATE.md"
    return caught.value.sentence


def test_head_and_blocks_are_read() -> None:
    page = parse("page", with_block("sh fix danger timeout=60s", 'rm "${PLACE:?which file}"\n'))
    assert (page.id, page.title, page.minutes, page.alerts) == (
        "page",
        "Mend it",
        20,
        ("one", "two"),
    )
    (block,) = page.blocks
    assert (block.step, block.kind, block.heading) == (1, "fix", "Verify")
    assert (block.danger, block.manual, block.timeout) == (True, False, 60)
    assert page.text.split("\n")[block.line - 1] == 'rm "${PLACE:?which file}"'
    assert page.variables() == {"PLACE": "which file"}


def test_what_a_block_should_print_belongs_to_it() -> None:
    page = parse("page", with_block("sh check", "echo a\n", "\n```output\na\n```\n"))
    assert page.blocks[0].expected == "a\n"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("# Mend it\n", "line 1: it does not begin with a head between two lines `---`"),
        (HEAD.replace("severity: high", "severity: fatal") + BODY, "line 1: `severity` is none of"),
        (HEAD.replace("minutes: 20", "minutes: soon") + BODY, "line 5: `minutes` is a number"),
        (HEAD.replace("[one, two]", "one") + BODY, "line 7: `alerts` is a list, as in [a, b]"),
        (HEAD.replace("tools: [art32]\n", "") + BODY, "line 1: its head has no `tools`"),
        (HEAD.replace("tools:", "tool:") + BODY, "line 10: `tool` is no key of a head"),
        (HEAD.replace("title: Mend it", "title: a\ntitle: b") + BODY, "line 3: `title` is no key"),
        (HEAD + BODY.replace("## Undo", "## Undone"), "`## Undo` is missing"),
        (HEAD + BODY.replace("## Undo", "### Undo"), "`## Undo` is missing"),
        (with_block("sh"), "a fence of `sh` says check, fix, verify or undo"),
        (with_block("sh mend"), "a fence of `sh` says check, fix, verify or undo"),
        (with_block("sh fix carefully"), "`carefully` is none of danger, manual, timeout=60s"),
        (with_block("sh fix timeout=0s"), "`timeout=0s` is none of"),
        (with_block("bash"), "a fence is `sh`, `output` or `text`, not `bash`"),
        (with_block("output"), "`output` does not follow a block of `sh`"),
    ],
)
def test_a_page_of_another_shape_is_refused_with_its_line(text: str, sentence: str) -> None:
    assert sentence in refusal(text)


def test_a_heading_inside_a_fence_is_no_section() -> None:
    page = parse("page", with_block("text", "## Steps\n"))
    assert page.headings == SECTIONS


@pytest.mark.parametrize(
    ("expected", "printed", "fits"),
    [
        ("a\nb", "a\nb\n", True),
        ("a\nb", "a\n", False),
        ("a", "a\nb\n", False),
        ("3 rows in ... s", "3 rows in 0.12 s\n", True),
        ("3 rows in ... s", "4 rows in 0.12 s\n", False),
        ("first\n...\nlast", "first\nx\ny\nlast\n", True),
        ("first\n...\nlast", "first\nlast\n", True),
        ("first\n...", "second\n", False),
        ("a.b", "axb\n", False),
        ("...", "", True),
    ],
)
def test_dots_stand_for_anything_and_nothing_else_does(
    expected: str, printed: str, fits: bool
) -> None:
    assert as_expected(expected, printed) is fits


def test_a_name_that_is_nearly_right_is_suggested() -> None:
    with pytest.raises(Art32Error) as caught:
        library.find("diskfull")
    assert caught.value.code is Code.RUNBOOK_MISSING
    assert "did you mean disk-full" in (caught.value.hint or "")
    assert library.find("runbooks/disk-full.md").id == "disk-full"
