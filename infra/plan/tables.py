"""Tables of a page: with a caption, headers for rows and columns, and a form for telephones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from infra.plan.markup import Element, element

Cell = object  # what `element` takes as a child


@dataclass(frozen=True)
class Row:
    """One row; the first cell is its header. `kind` is a class, `bad` or `sum`."""

    cells: Sequence[Cell]
    kind: str = ""


def table(
    caption: str,
    columns: Sequence[str],
    rows: Iterable[Row],
    *,
    numbers: Iterable[int] = (),
) -> Element:
    """Return a table; `numbers` are the columns that are set to the right.

    On a narrow screen each row becomes a card with the columns' names. That takes the table's
    meaning away from a screen reader, unless it is said by roles.
    """
    right = set(numbers)
    head = element(
        "thead",
        element(
            "tr",
            [
                element(
                    "th",
                    name,
                    scope="col",
                    role="columnheader",
                    class_="number" if place in right else None,
                )
                for place, name in enumerate(columns)
            ],
            role="row",
        ),
        role="rowgroup",
    )
    body = element("tbody", [_row(row, columns, right) for row in rows], role="rowgroup")
    made = element("table", element("caption", caption), head, body, class_="cards", role="table")
    return scroll(made, caption)


def _row(row: Row, columns: Sequence[str], right: set[int]) -> Element:
    cells = []
    for place, (name, cell) in enumerate(zip(columns, row.cells, strict=True)):
        kind = "number" if place in right else None
        if place == 0:
            cells.append(element("th", cell, scope="row", role="rowheader", class_=kind))
        else:
            label = name if cell not in ("", None, []) else None
            cells.append(element("td", cell, role="cell", class_=kind, data_label=label))
    return element("tr", cells, role="row", class_=row.kind or None)


def scroll(made: Element, label: str) -> Element:
    """Return what is wider than a small screen in a frame that the keyboard can scroll."""
    return element("div", made, class_="scroll", tabindex=0, role="region", aria_label=label)


def fold(title: str, note: str, *children: Cell, opened: bool = False) -> Element:
    """Return something to open: its title, a note beside it, and what is inside."""
    summary = element("summary", title, element("span", f"  {note}", class_="note"))
    return element("details", summary, *children, open=opened)


def section(identifier: str, title: str, *children: Cell) -> Element:
    """Return a section with its heading."""
    heading = element("h2", title, id=f"{identifier}-title")
    return element(
        "section", heading, *children, id=identifier, aria_labelledby=f"{identifier}-title"
    )
