"""The page: one HTML file that needs no script, no network and no explanation."""

from __future__ import annotations

from pathlib import Path

from infra.plan import cost_section, personal_data, records, sections
from infra.plan.comparison import Action
from infra.plan.markup import Element, element, html
from infra.plan.picture import STYLE
from infra.plan.plan import Plan, broken, concerns

_CSS = Path(__file__).with_name("page.css")
_CONTENTS = (
    ("changes", "changes"),
    ("picture", "the network"),
    ("reach", "who reaches whom"),
    ("personal-data", "personal data"),
    ("controls", "controls"),
    ("costs", "costs"),
    ("resources", "resources"),
)
_CALM: tuple[tuple[Action, str], ...] = (
    ("create", "new"),
    ("update", "updated"),
    ("change", "changed"),
    ("keep", "dropped"),
)
_NOTHING_FROM_OUTSIDE = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'"
_SHOWN = 12


def render(plan: Plan) -> str:
    """Return a plan as a whole HTML document."""
    title = f"Plan of stack {plan.graph.stack}"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_NOTHING_FROM_OUTSIDE),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="robots", content="noindex"),
        element("meta", name="referrer", content="no-referrer"),
        element("title", f"{title}: design, not preview"),
        element("style", _CSS.read_text(encoding="utf-8") + STYLE),
    )
    main = element(
        "main",
        _verdict(plan),
        _tiles(plan),
        sections.changes(plan),
        sections.picture(plan),
        sections.reach(plan),
        records.personal_data(plan),
        records.controls(plan),
        cost_section.costs(plan),
        cost_section.resources(plan),
        id="main",
    )
    skip = element("a", "to the findings", href="#main", class_="skip")
    body = element("body", skip, _header(plan, title), main, _footer())
    return html(element("html", head, body, lang="en"))


def _header(plan: Plan, title: str) -> Element:
    facts = [
        element("div", element("dt", name), element("dd", value))
        for name, value in plan.facts.items()
    ]
    return element(
        "header",
        element("h1", title),
        element(
            "p",
            element("span", "design, not preview", class_="badge"),
            "what the program asks for, worked out without account and without Pulumi's engine. ",
            "What exists at AWS, it does not know.",
        ),
        element("dl", facts, class_="facts"),
        element(
            "nav",
            element(
                "ul", [element("li", element("a", words, href=f"#{to}")) for to, words in _CONTENTS]
            ),
            aria_label="sections",
        ),
    )


def _verdict(plan: Plan) -> Element:
    found = list(concerns(plan))
    if not found:
        words = "Nothing found that speaks against applying it."
        if plan.comparison.against == "nothing":
            words += " What it would do to what exists is not known: see changes."
        return element("div", element("p", words), class_="verdict good", role="status")
    count = "One thing" if len(found) == 1 else f"{len(found)} things"
    items = [
        element("li", sections.marked(one.sentence), " ", _link(one.section))
        for one in found[:_SHOWN]
    ]
    if len(found) > _SHOWN:
        items.append(element("li", f"and {len(found) - _SHOWN} more in the sections below"))
    return element(
        "div",
        element("p", f"{count} to look at before it is applied"),
        element("ul", items),
        class_="verdict bad",
        role="status",
    )


def _link(section: str) -> Element:
    return element("a", f"see {dict(_CONTENTS)[section]}", href=f"#{section}")


def _tiles(plan: Plan) -> Element:
    tiles = [
        _changes_tile(plan),
        _exposed_tile(plan),
        _personal_tile(plan),
        _controls_tile(plan),
        _costs_tile(plan),
    ]
    return element("ul", tiles, class_="tiles", aria_label="in short")


def _tile(to: str, what: str, value: str, note: str, bad: bool = False) -> Element:
    link = element(
        "a",
        element("span", what, class_="what"),
        element("strong", value),
        element("span", note, class_="what"),
        href=f"#{to}",
    )
    return element("li", link, class_="bad" if bad else None)


def _changes_tile(plan: Plan) -> Element:
    found = plan.comparison
    if found.against == "nothing":
        return _tile("changes", "changes", "not known", "compared with nothing")
    lost = len([one for one in found.changes if one.dangerous])
    counts = [f"{len(found.of(action))} {word}" for action, word in _CALM if found.of(action)]
    gone = len(found.of("destroy", "replace"))
    note = ", ".join(counts) or "nothing else"
    if not gone:
        return _tile("changes", "destroyed or replaced", "none", note)
    value = f"{gone}, {lost} with data" if lost < gone else f"{gone} with data"
    value = value if lost else str(gone)
    return _tile("changes", "destroyed or replaced", value, note, bad=lost > 0)


def _exposed_tile(plan: Plan) -> Element:
    open_ = sorted({f"{one.destination} {one.ports}" for one in plan.exposed})
    bad = any(plan.network.nodes[one.destination].kind != "balancer" for one in plan.exposed)
    what = "reached from outside"
    if not open_:
        return _tile("reach", what, "nothing", "no service takes connections")
    return _tile("reach", what, "; ".join(open_), "everything else is inside", bad=bad)


def _personal_tile(plan: Plan) -> Element:
    wrong = len([one for one in plan.places if one.problems])
    longest = personal_data.longest(plan.places)
    value = f"{len(plan.places)} places"
    note = f"{wrong} with a problem" if wrong else f"backups and logs end after {longest} days"
    return _tile("personal-data", "personal data", value, note, bad=wrong > 0)


def _controls_tile(plan: Plan) -> Element:
    failed = len(broken(plan.findings))
    excused = len([one for one in plan.findings if one.problem and one.excuse])
    rules = len({one.rule.id for one in plan.findings})
    value = f"{failed} broken" if failed else f"{rules} rules kept"
    return _tile("controls", "controls", value, f"{excused} exceptions", bad=failed > 0)


def _costs_tile(plan: Plan) -> Element:
    fixed = plan.estimate.total(assumed=False)
    used = plan.estimate.total(assumed=True)
    currency = plan.estimate.prices.currency
    least = "at least " if plan.estimate.unpriced else ""
    if plan.estimate.prices.as_of is None:
        return _tile("costs", "costs", cost_section.NOT_PRICED, "no prices for this region")
    note = f"and {used:,.0f} for use, as assumed"
    return _tile("costs", "costs a month", f"{least}{fixed:,.0f} {currency}", note)


def _footer() -> Element:
    return element(
        "footer",
        element("p", "What this page cannot know:"),
        element(
            "ul",
            [
                element("li", words)
                for words in (
                    "what exists in the account, made by hand or by another program",
                    "whether AWS accepts it: quotas, names that are taken, services a region lacks",
                    "what an application does with data once it may reach something",
                    "whether people follow the runbooks",
                )
            ],
        ),
    )
