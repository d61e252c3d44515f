"""The sections of the page: each takes a plan and returns one element."""

from __future__ import annotations

from collections.abc import Sequence

from infra.plan.comparison import ACTIONS, Change
from infra.plan.markup import Element, element
from infra.plan.network import Network
from infra.plan.picture import draw
from infra.plan.plan import Plan
from infra.plan.reachability import Flow
from infra.plan.tables import Row, fold, scroll, section, table

EMPTY = "\N{EN DASH}"


def code(text: str) -> Element:
    """Return a name or a place in the program, which may be broken after a slash."""
    parts = text.split("/")
    spaced = [part for one in parts[:-1] for part in (f"{one}/", element("wbr"))]
    return element("code", spaced, parts[-1])


def joined(texts: Sequence[str]) -> list[object]:
    """Return places in the program, one after the other."""
    found: list[object] = []
    for text in texts:
        found += [", ", code(text)] if found else [code(text)]
    return found


def marked(sentence: str) -> list[object]:
    """Return a sentence with what stands in backticks set as code."""
    parts = sentence.split("`")
    found: list[object] = []
    for place, part in enumerate(parts):
        found.append(code(part) if place % 2 else part)
    return found


def kind_words(kind: str) -> str:
    """Return a kind as people say it: `aws:rds:Instance` is `rds Instance`."""
    return kind.removeprefix("aws:").replace(":", " ")


def changes(plan: Plan) -> Element:
    """What would happen to what is there."""
    found = plan.comparison
    if found.against == "nothing":
        return section(
            "changes",
            "What would change",
            element(
                "p",
                element("strong", "Compared with nothing. "),
                "The design alone does not know what exists, so this page cannot say what would be "
                "replaced or destroyed. Give it the design that was applied, or the engine's own "
                "preview:",
            ),
            element(
                "p",
                code(f"pulumi preview --stack {plan.graph.stack} --json >preview.json"),
                element("br"),
                code(f"make plan STACK={plan.graph.stack} AGAINST=preview.json"),
            ),
        )
    parts: list[object] = [
        element(
            "p",
            marked(f"Compared with {found.against}. {found.unchanged} resources stay as they are."),
        )
    ]
    parts += [element("p", remark, class_="warn-text") for remark in found.remarks]
    if not found.changes:
        parts.append(element("p", "Nothing would change.", class_="good-text"))
    for action, words in ACTIONS.items():
        group = found.of(action)
        if not group:
            continue
        title = f"{len(group)} {words}"
        shown = table(
            title,
            ("resource", "kind", "because of", "data"),
            [Row(_change_cells(one), "bad" if one.dangerous else "") for one in group],
        )
        calm = action in ("create", "update") and len(group) > 12
        parts.append(fold(title, "", shown) if calm else shown)
    return section("changes", "What would change", *parts)


def _change_cells(one: Change) -> list[object]:
    data = "holds data" if one.data else ""
    if one.refused:
        data = f"{data}; protected, so Pulumi refuses".removeprefix("; ")
    kind = "bad-text" if one.dangerous else ""
    return [
        one.name,
        kind_words(one.kind),
        ", ".join(one.properties),
        element("span", data, class_=kind or None) if data else "",
    ]


def picture(plan: Plan) -> Element:
    """The network as a picture, for screens and for telephones."""
    title = f"Network of stack {plan.graph.stack}"
    drawn = [
        draw(plan.network, plan.reachability, title=title, wide=wide) for wide in (True, False)
    ]
    return section(
        "picture",
        "The network",
        element(
            "p",
            "Every arrow is a connection that can be opened, with its ports; answers need none. A "
            "shield is a firewall: a security group of a service, an ACL of a tier. What can "
            "reach the internet can reach what the internet reaches: these arrows are left out, ",
            element("a", "the table", href="#reach"),
            " has them.",
        ),
        element(
            "div", drawn, class_="picture", tabindex=0, role="region", aria_label="the picture"
        ),
    )


def reach(plan: Plan) -> Element:
    """Who can reach whom: a matrix, then every connection with the rules that open it."""
    flows = plan.reachability.flows
    parts: list[object] = [
        element(
            "p",
            "Worked out from security groups, network ACLs in both directions, routes, NAT and "
            "endpoints. Everything else is refused. AWS filters neither its own DNS and time "
            "servers nor a machine's metadata service; these are not shown.",
        ),
        _matrix(plan.network, flows),
        fold(
            "Every connection",
            f"{len(flows)}, with its way and the rules that open it",
            table(
                "from, to, ports, way, and where the program opens it",
                ("from", "to", "ports", "way", "opened at"),
                [
                    Row([one.source, one.destination, str(one.ports), _way(one), joined(one.rules)])
                    for one in sorted(flows, key=lambda one: (one.destination, one.source))
                ],
            ),
        ),
    ]
    if plan.reachability.blocked:
        parts.append(
            fold(
                "Opened and yet closed",
                "rules without effect",
                table(
                    "a rule without effect is a mistake or superfluous",
                    ("from", "to", "ports", "because"),
                    [
                        Row([one.source, one.destination, str(one.ports), one.reason])
                        for one in plan.reachability.blocked
                    ],
                ),
            )
        )
    if plan.network.policies:
        parts.append(
            fold(
                "What may pass through the endpoints",
                "by the endpoints' own policies",
                table(
                    "endpoint policies: what is allowed, and the conditions",
                    ("endpoint", "policy"),
                    [Row([name, words]) for name, words in sorted(plan.network.policies.items())],
                ),
            )
        )
    if plan.network.unread:
        names = "; ".join(plan.network.unread)
        words = f"Not judged here, although it has a place in the network: {names}."
        parts.append(element("p", words, class_="bad-text"))
    return section("reach", "Who can reach whom", *parts)


def _way(flow: Flow) -> str:
    words = {"inside": "inside", "gateway endpoint": "gateway endpoint"}.get(flow.way, flow.way)
    if flow.implied:
        words += ", as anyone on the internet may"
    return f"{words}, from some zones only" if flow.partly else words


def _matrix(network: Network, flows: Sequence[Flow]) -> Element:
    ports = {(one.source, one.destination): one for one in flows}
    outside = {name for pair in ports for name in pair} - set(network.nodes)
    order = sorted(outside - set(network.gateways)) + sorted(network.nodes)
    order += sorted(network.gateways)
    sources = [name for name in order if any(pair[0] == name for pair in ports)]
    targets = [name for name in order if any(pair[1] == name for pair in ports)]
    head = element(
        "tr",
        element("th", "from \N{RIGHTWARDS ARROW} to", scope="col"),
        [element("th", name, scope="col") for name in targets],
    )
    rows = []
    for source in sources:
        cells = []
        for target in targets:
            flow = ports.get((source, target))
            if source == target:
                cells.append(element("td", "", class_="self"))
            elif flow is None:
                cells.append(element("td", EMPTY, class_="no", aria_label="no"))
            else:
                kind = "open" if source in outside else "yes"
                cells.append(element("td", str(flow.ports), class_=kind))
        rows.append(element("tr", element("th", source, scope="row"), cells))
    caption = "TCP ports that the row may open to the column; a dash is a refusal"
    made = element(
        "table",
        element("caption", caption),
        element("thead", head),
        element("tbody", rows),
        class_="matrix",
    )
    return scroll(made, "Who can reach whom, as a matrix")
