"""The handover as a diagram: the position of each component and seam in pixels. The page's template draws it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trivet.model.report import ConformanceReport, ContractResult
from trivet.model.stack import COMPONENTS
from trivet.render.wording import NAMES, OutcomeWording, by_seam, printable, seam_name, tally, worst

_WIDTH, _HEIGHT = 132, 54
_ACROSS, _DOWN = 148, 62
"""The gap between neighbouring components, in a row and in a column."""


@dataclass(frozen=True, kw_only=True)
class Node:
    """A component, with the upper left corner of its box."""

    name: str
    version: str
    x: int
    y: int


@dataclass(frozen=True, kw_only=True)
class Edge:
    """A seam: an SVG path with its arrow head, and the position of its label (``anchor`` as in SVG)."""

    seam: str
    outcome: OutcomeWording
    label: str
    path: str
    head: str
    x: int
    y: int
    anchor: str


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One orientation of the diagram. Boxes are :data:`width` by :data:`height`, the diagram is ``extent``."""

    nodes: Sequence[Node]
    edges: Sequence[Edge]
    extent: tuple[int, int]
    width: int = _WIDTH
    height: int = _HEIGHT


def picture(report: ConformanceReport, *, upright: bool) -> Picture:
    """Components in a row (or, if ``upright``, in a column for narrow screens), with an arrow per seam.

    A straight arrow joins neighbours, a curve other components; a seam within one component is a label at its box.
    """
    seams = by_seam(report)
    present = dict.fromkeys(component for seam in seams for component in seam)
    order = [name for name in COMPONENTS if name in present] + [name for name in present if name not in COMPONENTS]
    step = (0, _HEIGHT + _DOWN) if upright else (_WIDTH + _ACROSS, 0)
    corners = {name: (index * step[0] + 1, index * step[1] + 1) for index, name in enumerate(order)}
    edges: list[Edge] = []
    curves = 0
    for seam, results in seams.items():
        (x, y), (to_x, to_y) = corners[seam[0]], corners[seam[1]]
        neighbours = order.index(seam[1]) == order.index(seam[0]) + 1
        if not neighbours:
            curves += 1
        if upright:
            drawn = _down(x, y, to_y) if neighbours else _beside(x, y, to_y, curves)
        else:
            drawn = _right(x, y, to_x) if neighbours else _below(x, to_x, y, curves)
        edges.append(_edge(seam, results, *drawn))
    long = len(order) * (step[1] if upright else step[0]) - (_DOWN if upright else _ACROSS) + 2
    extent = (340, long) if upright else (long, _HEIGHT + 8 + (40 + 30 * curves if curves else 0))
    nodes = [
        Node(name=printable(NAMES.get(name, name)), version=report.stack.components.get(name, ""), x=x, y=y)
        for name, (x, y) in corners.items()
    ]
    return Picture(nodes=nodes, edges=edges, extent=(max(0, extent[0]), max(0, extent[1])))


_Drawn = tuple[str, str, int, int, str]


def _right(x: int, y: int, to_x: int) -> _Drawn:
    middle, begin, end = y + _HEIGHT // 2, x + _WIDTH + 4, to_x - 3
    head = f"M{end} {middle}l-10 -6v12z"
    return f"M{begin} {middle}H{end - 9}", head, (begin + end) // 2, middle - 10, "middle"


def _down(x: int, y: int, to_y: int) -> _Drawn:
    middle, begin, end = x + _WIDTH // 2, y + _HEIGHT + 4, to_y - 3
    head = f"M{middle} {end}l-6 -10h12z"
    return f"M{middle} {begin}V{end - 9}", head, middle + 14, (begin + end) // 2 + 4, "start"


def _below(x: int, to_x: int, y: int, number: int) -> _Drawn:
    shift = 12 * number
    begin, end, top = x + _WIDTH // 2 + shift, to_x + _WIDTH // 2 - shift, y + _HEIGHT + 4
    depth = top + 28 + 40 * number
    path = f"M{begin} {top}C{begin} {depth} {end} {depth} {end} {top + 8}"
    return path, f"M{end} {top - 1}l-6 10h12z", (begin + end) // 2, top + (depth - top) * 3 // 4 + 17, "middle"


def _beside(x: int, y: int, to_y: int, number: int) -> _Drawn:
    shift = 10 * number
    begin, end, edge = y + _HEIGHT // 2 + shift, to_y + _HEIGHT // 2 - shift, x + _WIDTH + 4
    depth = edge + 66 + 44 * number
    path = f"M{edge} {begin}C{depth} {begin} {depth} {end} {edge + 8} {end}"
    return path, f"M{edge - 1} {end}l10 -6v12z", edge + (depth - edge) * 3 // 4 + 8, (begin + end) // 2 + 4, "start"


def _edge(
    seam: tuple[str, str], results: Sequence[ContractResult], path: str, head: str, x: int, y: int, anchor: str
) -> Edge:
    bad = worst(results)
    number, total = tally(results)[bad], len(results)
    of = f"{number}" if number == total else f"{number} of {total}"
    word = "unclear" if bad.word == "inconclusive" else bad.word  # what fits between two boxes
    return Edge(
        seam=printable(seam_name(seam)),
        outcome=bad,
        label=f"{bad.symbol} {of} {word}",
        path=path,
        head=head,
        x=x,
        y=y,
        anchor=anchor,
    )
