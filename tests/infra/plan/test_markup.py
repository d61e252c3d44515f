from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.plan.markup import element, html, svg


class Reader(HTMLParser):
    """What a browser would make of a page: its tags with attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@given(text=st.text(), attribute=st.text())
def test_no_text_ever_becomes_markup(text: str, attribute: str) -> None:
    page = Reader(html(element("p", text, title=attribute)))
    assert [name for name, _ in page.tags] == ["p"]
    assert set(page.tags[0][1]) == {"title"}


@pytest.mark.parametrize(
    "hostile",
    [
        "<script>alert(1)</script>",
        '"><img src=x onerror=alert(1)>',
        "</title><script>",
        "' onmouseover='x",
        "&lt;b&gt;",
        "]]><b>",
        "<!-- -->",
    ],
)
def test_hostile_text_is_shown_and_not_obeyed(hostile: str) -> None:
    page = Reader(html(element("p", hostile, element("b", hostile), hostile, title=hostile)))
    assert page.tags == [("p", {"title": hostile}), ("b", {})]
    assert page.text.strip() == hostile * 3


def test_what_html_cannot_hold_is_replaced() -> None:
    assert "\ufffd" in html(element("p", "a\x00b\x1b[31m\ud800"))
    assert "\x1b" not in html(element("p", "\x1b"))
    html(element("p", "\ud800")).encode()


def test_a_style_that_could_close_itself_is_refused() -> None:
    with pytest.raises(ValueError, match="style"):
        html(element("style", "</style><script>"))


def test_attributes_are_named_as_html_names_them_and_false_ones_left_out() -> None:
    made = element("td", class_="x", aria_label="y", hidden=False, open=True, width=None)
    assert dict(made.attrib) == {"class": "x", "aria-label": "y", "open": "open"}


def test_children_keep_their_order() -> None:
    made = element("p", "a", [element("b", "c"), "d", None], 5, 0.5)
    assert svg(made).split() == svg(element("p", "a", element("b", "c"), "d50.5")).split()
    with pytest.raises(TypeError, match="no child"):
        element("p", object())
