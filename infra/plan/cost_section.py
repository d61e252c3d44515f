"""The section about costs, and the one about resources."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from infra.graph import Graph, Resource
from infra.plan.costs import HOURS, Estimate, Line
from infra.plan.markup import Element, element
from infra.plan.plan import Plan
from infra.plan.sections import code, kind_words
from infra.plan.tables import Row, fold, section, table

NOT_PRICED = "not priced"


def costs(plan: Plan) -> Element:
    """The month by item: fixed lines, assumed use, sums."""
    estimate = plan.estimate
    prices = estimate.prices
    fixed = _merged(one for one in estimate.lines if not one.assumed)
    assumed = _merged(one for one in estimate.lines if one.assumed)
    columns = ("item", "for", "quantity", "unit price", "a month")
    about = (
        f"List prices of {prices.region} of {prices.as_of}, in {prices.currency}, {HOURS} hours a "
        "month, on demand, without tax, free tier or discount. A price with a tilde was not "
        "compared with a published list."
        if prices.as_of
        else f"There is no table of prices for {prices.region}: nothing is priced."
    )
    unpriced = sorted({one.item for one in estimate.unpriced})
    words = f"Not priced, so the sums are too low: {', '.join(unpriced)}." if unpriced else ""
    return section(
        "costs",
        "What it costs",
        element("p", about),
        element("p", words, class_="warn-text") if words else None,
        table(
            "fixed: what is paid for being there",
            columns,
            [*(_row(one) for one in fixed), _sum(estimate, assumed=False)],
            numbers=(2, 3, 4),
        ),
        table(
            "use, as assumed in infra/plan/prices/usage.toml",
            [*columns[:1], *columns[2:]],
            [_without(row, 1) for row in (*map(_row, assumed), _sum(estimate, assumed=True))],
            numbers=(1, 2, 3),
        ),
        element(
            "p",
            "Not in here: what is paid once per account (GuardDuty, Config, Security Hub, the "
            "trail), support, domain names, and traffic beyond the assumptions.",
            class_="note",
        ),
    )


@dataclass
class _Item:
    """Lines of one item at one price, added up."""

    line: Line
    quantity: float
    names: list[str]

    @property
    def monthly(self) -> float | None:
        return replace(self.line, quantity=self.quantity).monthly


def _merged(lines: Iterable[Line]) -> list[_Item]:
    """Return one item for all lines that differ in their resource alone, the dearest first."""
    found: dict[tuple[str, str, object], _Item] = {}
    for one in lines:
        item = found.setdefault((one.item, one.unit, one.price), _Item(one, 0, []))
        item.quantity += one.quantity
        item.names.append(one.resource)
    return sorted(
        found.values(), key=lambda one: (one.monthly is None, -(one.monthly or 0), one.line.item)
    )


def _row(item: _Item) -> Row:
    line, monthly = item.line, item.monthly
    quantity = f"{item.quantity:g}"
    unit = {"running": "an hour", "monthly": "a month"}.get(line.unit, f"a {line.unit}")
    price = NOT_PRICED
    if line.price is not None:
        tilde = "" if line.price.seen else "~ "
        price = f"{tilde}{line.price.amount:g} {unit}"
    shown = NOT_PRICED if monthly is None else money(monthly)
    if line.unit not in ("running", "monthly"):
        quantity = f"{quantity} {line.unit}"
    return Row([line.item, _names(item.names), quantity, price, shown])


def _without(row: Row, place: int) -> Row:
    return replace(row, cells=[*row.cells[:place], *row.cells[place + 1 :]])


def _names(names: list[str]) -> str:
    known = [name for name in names if name]
    if len(known) > 4:
        return f"{', '.join(known[:3])} and {len(known) - 3} more"
    return ", ".join(known)


def _sum(estimate: Estimate, *, assumed: bool) -> Row:
    total = estimate.total(assumed=assumed)
    partly = any(one.price is None for one in estimate.lines if one.assumed == assumed)
    words = "at least, without what is not priced" if partly else ""
    return Row(["sum", words, "", "", money(total)], "sum")


def money(amount: float) -> str:
    """Return an amount with two digits and thousands."""
    return f"{amount:,.2f}"


def resources(plan: Plan) -> Element:
    """All resources by component, each with its place in the program."""
    groups: dict[str, list[Resource]] = {}
    for one in plan.graph.resources:
        if one.custom:
            groups.setdefault(_component(plan.graph, one), []).append(one)
    count = sum(len(group) for group in groups.values())
    return section(
        "resources",
        "Resources by component",
        element("p", f"{count} resources in {len(groups)} components."),
        [
            fold(
                name,
                counted(len(group), "resource"),
                table(
                    name,
                    ("name", "kind", "kept when dropped", "made at"),
                    [
                        Row([one.name, kind_words(one.kind), _kept(one), code(one.source)])
                        for one in group
                    ],
                ),
            )
            for name, group in sorted(groups.items())
        ],
    )


def counted(count: int, noun: str) -> str:
    """Return a number with its noun, in the plural where it is one."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _component(graph: Graph, one: Resource) -> str:
    """Return the outermost component of a resource."""
    name, parent = "the stack itself", graph.component(one)
    while parent is not None:
        name, parent = parent.name, graph.component(parent)
    return name


def _kept(one: Resource) -> str:
    words = [word for word, true in (("protected", one.protect), ("retained", one.retain)) if true]
    return " and ".join(words)
