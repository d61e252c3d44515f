"""Where everything stands in the picture of a network: pure geometry.

Rows are services, bands are tiers, columns are zones. Arrows run through a gutter on the right: one
*trunk* for each destination and set of ports, in a lane of its own, which every sender joins. So
no arrow ever crosses a box, and a busy network stays readable. Narrow pictures, for telephones,
have one column and name the zones instead.
"""

from __future__ import annotations

from collections.abc import Mapping

from infra.plan.diagram import Bar, Diagram, Trunk

_SLOT = 19
_GAP = 8
_HEADER = 46
_LEGEND = 26
_PAD = 10
_MARGIN = 12


def place(layout: Diagram, *, wide: bool) -> None:
    """Give everything in a diagram its place, in units of the view box."""
    layout.wide = wide
    columns = len(layout.zones) if layout.wide else 1
    column = {1: 430, 2: 300, 3: 220}.get(columns, 200) if layout.wide else 172
    left = _MARGIN + _PAD
    area = columns * column + (columns - 1) * _GAP
    layout.edge = left + area + _PAD
    if layout.wide:
        layout.columns = {
            zone: (left + place * (column + _GAP), column)
            for place, zone in enumerate(layout.zones)
        }
    _lanes(layout)
    lanes = max((one.lane for one in layout.trunks), default=0) + 1
    label = 46  # room for the ports before the first lane
    pitch = 28 if layout.wide else min(22, max(13, (400 - layout.edge - label - 12) / lanes))
    least = 860 if layout.wide else 400  # the legend needs so much
    layout.width = max(layout.edge + label + lanes * pitch + _MARGIN, least)
    for trunk in layout.trunks:
        trunk.x = layout.edge + label + (trunk.lane + 0.5) * pitch
    slots = _slots(layout)
    lines = 46 if layout.wide else 60
    y = float(_MARGIN)
    for bar in layout.above:
        y = _stand(bar, slots, left, y, area, lines) + _GAP
    top = y
    y += 26
    for band in layout.bands:
        band.x, band.y, band.width = _MARGIN, y, area + 2 * _PAD
        y += _HEADER
        for bar in band.bars:
            y = _stand(bar, slots, left, y, area, lines, layout.columns) + _GAP
        band.height = y - band.y + 2
        y += _GAP + 2
    layout.frame = (4, top, layout.edge - 4 + 8, y - top)
    y += _GAP
    for bar in layout.below:
        y = _stand(bar, slots, left, y, area, 46) + _GAP
    layout.height = y + (_LEGEND if layout.wide else 2.2 * _LEGEND)
    _join(layout, slots)


def _stand(
    bar: Bar,
    slots: Mapping[str, list[Trunk]],
    left: float,
    y: float,
    area: float,
    lowest: float,
    columns: Mapping[str, tuple[float, float]] | None = None,
) -> float:
    """Put a bar at a height; return where it ends."""
    bar.x, bar.y, bar.width = left, y, area
    if columns and bar.zones:
        bar.x = columns[bar.zones[0]][0]
        last, width = columns[bar.zones[-1]]
        bar.width = last + width - bar.x
    bar.height = max(lowest, len(slots[bar.name]) * _SLOT + 8)
    return bar.y + bar.height


def _lanes(layout: Diagram) -> None:
    """Give each trunk the innermost lane that is free between its ends; short ones first."""
    rows = {bar.name: place for place, bar in enumerate(layout.bars)}
    taken: dict[int, list[tuple[int, int]]] = {}

    def ends(trunk: Trunk) -> tuple[int, int]:
        places = [rows[name] for name in (trunk.destination, *trunk.sources)]
        return min(places), max(places)

    layout.trunks.sort(key=lambda one: (ends(one)[1] - ends(one)[0], ends(one), one.ports))
    for trunk in layout.trunks:
        first, last = ends(trunk)
        lane = 0
        while any(a <= last and first <= b for a, b in taken.get(lane, ())):
            lane += 1
        taken.setdefault(lane, []).append((first, last))
        trunk.lane = lane


def _slots(layout: Diagram) -> dict[str, list[Trunk]]:
    """Return which trunks touch a bar, from top to bottom, so that few lines cross.

    What goes up leaves at the top, the nearest lane first; what goes down at the bottom, the
    nearest lane last.
    """
    rows = {bar.name: place for place, bar in enumerate(layout.bars)}
    slots: dict[str, list[Trunk]] = {name: [] for name in rows}
    for name, row in rows.items():
        touching = [one for one in layout.trunks if name in (one.destination, *one.sources)]

        def up(trunk: Trunk, row: int = row) -> bool:
            others = [rows[each] for each in (trunk.destination, *trunk.sources)]
            return min(others) < row

        slots[name] = sorted((one for one in touching if up(one)), key=lambda one: one.lane)
        slots[name] += sorted((one for one in touching if not up(one)), key=lambda one: -one.lane)
    return slots


def _join(layout: Diagram, slots: Mapping[str, list[Trunk]]) -> None:
    for bar in layout.bars:
        trunks = slots[bar.name]
        start = bar.y + (bar.height - (len(trunks) - 1) * _SLOT) / 2
        for place, trunk in enumerate(trunks):
            y = start + place * _SLOT
            if trunk.destination == bar.name:
                trunk.y = y
            if bar.name in trunk.sources:
                trunk.joins[bar.name] = y
