"""The network as a picture: SVG from a layout, readable without colour and without a script."""

from __future__ import annotations

from infra.plan.diagram import Band, Bar, Diagram, Trunk, arrange
from infra.plan.layout import place
from infra.plan.markup import Element, element
from infra.plan.network import Network
from infra.plan.reachability import Reachability

STYLE = """
svg.network{font-family:system-ui,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;--paper:#fff;
--ink:#1b2430;--muted:#55606e;--line:#b6bfca;--band:#f3f5f8;--bar:#fff;--public:#fdf3e4;
--inwards:#b3430a;--inside:#1f5fae;--outwards:#77368f;--service:#1b6e4a}
@media (prefers-color-scheme:dark){svg.network{--paper:#12161c;--ink:#e6eaf0;--muted:#a3aebb;
--line:#4b5664;--band:#1a2028;--bar:#232b35;--public:#2c2519;--inwards:#f2955c;--inside:#7db3f5;
--outwards:#cf9be4;--service:#6fcf9f}}
@media print{svg.network{--paper:#fff;--ink:#1b2430;--muted:#55606e;--line:#b6bfca;--band:#f3f5f8;
--bar:#fff;--public:#fdf3e4;--inwards:#b3430a;--inside:#1f5fae;--outwards:#77368f;
--service:#1b6e4a}}
.network .paper{fill:var(--paper)}.network text{fill:var(--ink);font-size:12px}
.network .name{font-weight:600;font-size:13px}.network .small{fill:var(--muted);font-size:11px}
.network .frame{fill:none;stroke:var(--line);stroke-width:1.5}
.network .band{fill:var(--band);stroke:var(--line);stroke-width:1}
.network .band.public{fill:var(--public)}.network .zone{fill:none;stroke:var(--line);
stroke-dasharray:2 3}
.network .bar{fill:var(--bar);stroke:var(--line);stroke-width:1}
.network .outside{stroke-dasharray:4 3}
.network .shield{fill:none;stroke:var(--muted);stroke-width:1.3}
.network .icon{fill:none;stroke:var(--muted);stroke-width:1.3;stroke-linejoin:round}
.network .line{fill:none;stroke-width:1.7}.network .halo{fill:none;stroke:var(--paper);
stroke-width:5}.network .ports{font-size:11.5px;font-weight:600;paint-order:stroke;
stroke:var(--paper);stroke-width:4px;stroke-linejoin:round}
.network .inwards .line{stroke:var(--inwards)}.network .inside .line{stroke:var(--inside)}
.network .outwards .line{stroke:var(--outwards);stroke-dasharray:6 3}
.network .service .line{stroke:var(--service);stroke-dasharray:2 2.5}
.network .inwards .head,.network .inwards .ports{fill:var(--inwards)}
.network .inside .head,.network .inside .ports{fill:var(--inside)}
.network .outwards .head,.network .outwards .ports{fill:var(--outwards)}
.network .service .head,.network .service .ports{fill:var(--service)}
.network .trunk:hover .line{stroke-width:3.2}
"""

_SHIELD = "M0,-6 L5,-4 V0 C5,3.5 2.5,5.6 0,6.6 C-2.5,5.6 -5,3.5 -5,0 V-4 Z"

_MACHINE = "M1,2 h14 v5 h-14 Z M1,9 h14 v5 h-14 Z M4,4.5 h1 M4,11.5 h1"
_ICONS = {
    "internet": "M8,1 a7,7 0 1 0 .01,0 Z M1,8 h14 M8,1 c-4,4 -4,10 0,14 M8,1 c4,4 4,10 0,14",
    "range": "M8,1 a7,7 0 1 0 .01,0 Z M1,8 h14",
    "balancer": "M1,8 h5 M6,8 l7,-5 M6,8 h8 M6,8 l7,5 M10,3 h3 v3 M10,13 h3 v-3",
    "nat": "M1,4 h8 v8 h-8 Z M9,8 h6 M12,5 l3,3 -3,3",
    "server": _MACHINE,
    "group": _MACHINE,
    "template": _MACHINE,
    "function": "M3,14 L8,6 L5.5,2 M8,6 l4,8 h2",
    "database": "M2,3.5 c0,-3 12,-3 12,0 v9 c0,3 -12,3 -12,0 Z M2,3.5 c0,3 12,3 12,0",
    "endpoint": "M1,8 h4 M5,4 h3 a4,4 0 0 1 0,8 h-3 Z M12,8 h3 M12,8 h-1",
    "service": "M2,3 h12 l-2,11 h-8 Z M2,3 c2,2 10,2 12,0",
}
_LEGEND = (
    ("inwards", "from the internet"),
    ("inside", "inside"),
    ("outwards", "to the internet"),
    ("service", "to AWS services"),
)


def draw(
    network: Network, reachability: Reachability, *, title: str, wide: bool, alone: bool = False
) -> Element:
    """Return the picture as an `svg` element; `alone` for a file, which brings its own style.

    `wide` has a column for each zone; without, it fits a telephone held upright.
    """
    layout = arrange(network, reachability)
    place(layout, wide=wide)
    mark = "wide" if wide else "narrow"
    root = element(
        "svg",
        element("title", title, id=f"picture-{mark}-title"),
        element("desc", _description(layout), id=f"picture-{mark}-desc"),
        element("style", STYLE) if alone else None,
        class_=f"network {mark}",
        viewBox=f"0 0 {_n(layout.width)} {_n(layout.height)}",
        width=_n(layout.width),
        height=_n(layout.height),
        role="img",
        aria_labelledby=f"picture-{mark}-title picture-{mark}-desc",
    )
    root.append(element("rect", class_="paper", width="100%", height="100%"))
    _frame(root, layout)
    for band in layout.bands:
        _band(root, layout, band)
    for bar in layout.bars:
        _bar(root, layout, bar)
    for trunk in layout.trunks:
        root.append(_vertical(trunk))
    for trunk in layout.trunks:
        root.append(_trunk(layout, trunk))
    _legend(root, layout)
    return root


def _legend(root: Element, layout: Diagram) -> None:
    """Say what the lines mean: colour alone would not do."""
    columns = 5 if layout.wide else 2
    step = 165 if layout.wide else 185
    bottom = layout.bars[-1].y + layout.bars[-1].height + 18
    for number, (style, words) in enumerate((*_LEGEND, ("", "firewall: group or ACL"))):
        x, y = 22 + step * (number % columns), bottom + 15 * (number // columns)
        if style:
            line = element("path", class_="line", d=f"M{x},{_n(y)} h26")
            head = element("path", class_="head", d=f"M{x + 30},{_n(y)} l-8,-4 v8 Z")
            root.append(element("g", line, head, class_=f"trunk {style}"))
        else:
            root.append(_shield(x + 20, y))
        root.append(element("text", words, class_="small", x=x + 36, y=_n(y + 4)))


def _description(layout: Diagram) -> str:
    arrows = "; ".join(
        f"{', '.join(one.sources)} to {one.destination} on {one.ports}" for one in layout.trunks
    )
    return f"Tiers from top to bottom: {', '.join(one.name for one in layout.bands)}. {arrows}."


def _frame(root: Element, layout: Diagram) -> None:
    x, y, width, height = layout.frame
    root.append(element("rect", class_="frame", x=x, y=y, width=_n(width), height=_n(height), rx=8))
    words = f"VPC {layout.ranges}"
    root.append(element("text", words, class_="small", x=x + 10, y=_n(y + 17)))


def _band(root: Element, layout: Diagram, band: Band) -> None:
    kind = "band public" if "internet gateway" in band.route else "band"
    root.append(
        element(
            "rect",
            class_=kind,
            x=band.x,
            y=_n(band.y),
            width=_n(band.width),
            height=_n(band.height),
            rx=6,
        )
    )
    room = band.width - 16
    head = element("text", x=band.x + 10, y=_n(band.y + 16))
    head.append(element("tspan", band.name, class_="name"))
    if layout.wide:
        head.append(element("tspan", f"  {band.route}", class_="small", dx=6))
    root.append(head)
    root.append(_shield(band.x + band.width - 14, band.y + 13))
    acl = f"ACL {band.acl}"
    root.append(
        element(
            "text",
            acl,
            class_="small",
            x=_n(band.x + band.width - 24),
            y=_n(band.y + 16),
            text_anchor="end",
        )
    )
    second = band.y + 36
    if not layout.wide:
        words = _fit(band.route, room)
        root.append(element("text", words, class_="small", x=band.x + 10, y=_n(second - 2)))
        return
    for zone, (x, width) in layout.columns.items():
        subnet = band.subnets.get(zone)
        if subnet is None:
            continue
        root.append(
            element(
                "rect",
                class_="zone",
                x=_n(x - 4),
                y=_n(band.y + 25),
                width=_n(width + 8),
                height=_n(band.height - 29),
                rx=4,
            )
        )
        words = f"{zone}  {', '.join(str(one) for one in subnet.ranges)}"
        root.append(
            element("text", _fit(words, width), class_="small", x=_n(x + 2), y=_n(second + 1))
        )


def _bar(root: Element, layout: Diagram, bar: Bar) -> None:
    inside = bar.kind not in ("internet", "range", "service")
    made = element("g", element("title", f"{bar.name}: {bar.detail}" if bar.detail else bar.name))
    made.append(
        element(
            "rect",
            class_="bar" if inside else "bar outside",
            x=_n(bar.x),
            y=_n(bar.y),
            width=_n(bar.width),
            height=_n(bar.height),
            rx=5,
        )
    )
    middle = bar.y + bar.height / 2
    words = [bar.detail if layout.wide else bar.detail.split(", ")[0]] if bar.detail else []
    if not layout.wide and bar.zones and len(layout.zones) > 1:
        words.append(f"zones {' '.join(one[-1] for one in bar.zones)}")
    lines = [(bar.name, "name"), *((one, "small") for one in words)]
    top = middle - 15 * (len(lines) - 1) / 2 + 4
    for row, (text, kind) in enumerate(lines):
        made.append(
            element(
                "text",
                _fit(text, bar.width - (42 if row else 90), 7.4 if row == 0 else 5.9),
                class_=kind,
                x=_n(bar.x + 34),
                y=_n(top + 15 * row),
            )
        )
    icon = _ICONS.get(bar.kind, _ICONS["server"])
    where = f"translate({_n(bar.x + 10)},{_n(middle - 8)})"
    made.append(element("path", class_="icon", d=icon, transform=where))
    if bar.groups:
        made.append(_shield(bar.x + bar.width - 12, top - 4))
        text = _fit(", ".join(one for one in bar.groups if one != bar.name), bar.width / 3)
        made.append(
            element(
                "text",
                text,
                class_="small",
                x=_n(bar.x + bar.width - 21),
                y=_n(top),
                text_anchor="end",
            )
        )
    root.append(made)


def _shield(x: float, y: float) -> Element:
    return element("path", class_="shield", d=_SHIELD, transform=f"translate({_n(x)},{_n(y)})")


def _vertical(trunk: Trunk) -> Element:
    """Return a trunk's upright: below all that runs across, so that crossings read as bridges."""
    heights = [trunk.y, *trunk.joins.values()]
    d = f"M{_n(trunk.x)},{_n(min(heights))} V{_n(max(heights))}"
    return element("g", element("path", class_="line", d=d), class_=f"trunk {trunk.style}")


def _trunk(layout: Diagram, trunk: Trunk) -> Element:
    words = f"{', '.join(trunk.sources)} \N{RIGHTWARDS ARROW} {trunk.destination}: {trunk.ports}"
    made = element("g", element("title", words), class_=f"trunk {trunk.style}")
    x, edge = trunk.x, layout.edge - 10
    ends = {bar.name: bar.x + bar.width for bar in layout.bars}
    for name, y in trunk.joins.items():
        made.append(element("path", class_="halo", d=f"M{_n(edge + 2)},{_n(y)} H{_n(x - 4)}"))
        made.append(element("path", class_="line", d=f"M{_n(ends[name])},{_n(y)} H{_n(x)}"))
        made.append(element("circle", class_="head", cx=_n(x), cy=_n(y), r=2.6))
    y, end = trunk.y, ends[trunk.destination]
    made.append(element("path", class_="halo", d=f"M{_n(edge + 2)},{_n(y)} H{_n(x - 4)}"))
    made.append(element("path", class_="line", d=f"M{_n(x)},{_n(y)} H{_n(end + 7)}"))
    head = f"M{_n(end)},{_n(y)} l9,-4.5 v9 Z"
    made.append(element("path", class_="head", d=head))
    made.append(element("text", trunk.ports, class_="ports", x=_n(edge + 13), y=_n(y - 4)))
    return made


def _fit(text: str, width: float, letter: float = 6.1) -> str:
    """Return a text cut to a width; the whole of it stands in the title and in the tables."""
    room = int(width / letter)
    return (
        text if len(text) <= room else text[: max(1, room - 1)].rstrip() + "\N{HORIZONTAL ELLIPSIS}"
    )


def _n(value: float) -> str:
    return f"{round(value, 1):g}"
