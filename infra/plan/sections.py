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
from infra.policies import Finding

EMPTY = "\N{EN DASH}"


def code(text: str) -> Element:
    """Return a name or a place in the program."""
    return element("code", text)


def joined(texts: Sequence[str]) -> list[object]:
    """Return places in the program, one after the other."""
    return [part for text in texts for part in (", ", code(text))][1:]


def marked(sentence: str) -> list[object]:
    """Return a sentence with what stands in backticks set as code."""
    parts = sentence.split("`")
    return [code(part) if place % 2 else part for place, part in enumerate(parts) if part]


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
        element("p", f"Compared with {found.against}. {found.unchanged} resources stay as they are.")
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
            "shield is a firewall: a security group at a service, a network ACL at a tier. What can "
            "reach the internet can reach what the internet reaches: these arrows are left out, ",
            element("a", "the table", href="#reach"),
            " has them.",
        ),
        element("div", drawn, class_="picture"),
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
                f"{len(plan.reachability.blocked)} rules without effect",
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
                f"{len(plan.network.policies)} policies",
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


def personal_data(plan: Plan) -> Element:
    """Every place that keeps personal data, for how long, and what ends it."""
    rows = []
    for one in plan.places:
        problems = [element("div", words, class_="bad-text") for words in one.problems]
        rows.append(
            Row(
                [
                    one.what,
                    [str(one.resource).replace("`", ""), problems],
                    one.keeps,
                    one.ended_by,
                    one.encrypted,
                    code(one.resource.source),
                ],
                "bad" if problems else "",
            )
        )
    region = plan.facts.get("region", "")
    longest = max((one.days or 0 for one in plan.places), default=0)
    return section(
        "personal-data",
        "What holds personal data, and for how long",
        element(
            "p",
            f"All of it is kept in {region or 'the region of the stack'}, at AWS as a processor"
            f"{_elsewhere(plan)}. When a person's data is erased from the live data, the last copy "
            f"in backups and logs is gone {longest} days later at most; a restore replays the "
            "erasures. What the application itself sends elsewhere, this page cannot see.",
        ),
        table(
            "live data first, then by how long it is kept",
            ("what", "where", "kept", "ended by", "encrypted with", "made at"),
            rows,
        ),
    )


def _elsewhere(plan: Plan) -> str:
    others = {
        str(one.get("region"))
        for one in plan.graph.resources
        if one.get("region") and one.get("region") != plan.facts.get("region")
    }
    return f", and in {', '.join(sorted(others))}" if others else ""


def controls(plan: Plan) -> Element:
    """What the rules say: broken ones, exceptions with their reasons, then all that is kept."""
    failed = [one for one in plan.findings if one.failed]
    excused = [one for one in plan.findings if one.problem and one.excuse]
    kept: dict[str, list[Finding]] = {}
    for one in plan.findings:
        kept.setdefault(one.rule.id, []).append(one)
    parts: list[object] = []
    if failed:
        parts.append(
            table(
                f"{len(failed)} broken",
                ("resource", "problem", "rule", "serves", "made at"),
                [
                    Row([str(f.resource).replace("`", ""), f.problem, f.rule.title, _serves(f),
                         code(f.resource.source)], "bad")
                    for f in failed
                ],
            )
        )
    else:
        parts.append(element("p", "No rule is broken.", class_="good-text"))
    if excused:
        parts.append(
            table(
                f"{len(excused)} exceptions, each with its reason",
                ("resource", "rule", "what is not kept", "reason", "serves"),
                [
                    Row([str(f.resource).replace("`", ""), f.rule.title, f.problem, f.excuse,
                         _serves(f)])
                    for f in excused
                ],
            )
        )
    held = {name: found for name, found in kept.items() if not any(f.problem for f in found)}
    parts.append(
        fold(
            f"{len(held)} rules kept",
            f"by {sum(len(found) for found in held.values())} resources",
            table(
                "rules without a finding, and at how many resources they looked",
                ("rule", "serves", "resources"),
                [Row([f[0].rule.title, _serves(f[0]), len(f)]) for f in held.values()],
                numbers=(2,),
            ),
        )
    )
    parts.append(
        element(
            "p",
            "A rule kept is no proof of compliance: it shows what the design asks AWS for. ",
            "COMPLIANCE.md has the whole matrix.",
            class_="note",
        )
    )
    return section("controls", "Controls", *parts)


def _serves(one: Finding) -> str:
    words = [f"GDPR {' '.join(one.rule.gdpr)}"] if one.rule.gdpr else []
    words += [f"FSBP {' '.join(one.rule.fsbp)}"] if one.rule.fsbp else []
    words += [f"CIS {' '.join(one.rule.cis)}"] if one.rule.cis else []
    return "; ".join(words)
