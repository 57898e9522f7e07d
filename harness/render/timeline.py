"""A variant over time as an SVG: requests per second by outcome, latency, gauges and marks.

The SVG works as a file and inside a page, whose CSS colours it uses if they have the report's names.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape

from trivet.model.scenario import Gauge, Timeline
from trivet.render.wording import printable

WIDTH = 900
LEFT, RIGHT = 128, 18
TALL, LOW, GAP = 96, 76, 34
MARKS = 20
"""Height of one row of names of marks, in pixels."""

_COLOURS = ("#2f6fb3", "#3a9a78", "#b07aa1", "#e0a030", "#76848f", "#8a5a2b")
_STYLE = """
text{font:12px system-ui,sans-serif;fill:var(--ink,#1b2330)}.quiet{fill:var(--quiet,#566072)}.name{font-weight:600}
.grid{stroke:var(--rule,#dde1e8)}.lost{fill:var(--failed,#b3261e)}.band{fill:var(--failed,#b3261e);opacity:.1}
.outage{fill:var(--failed,#b3261e);font-weight:650}.mark{stroke:var(--ink,#1b2330);stroke-dasharray:3 3;opacity:.65}
.slow{fill:none;stroke:var(--failed,#b3261e);stroke-width:1.6}.typical{fill:none;stroke:var(--accent,#2f5fb3);stroke-width:1.6}
.patience{stroke:var(--failed,#b3261e);stroke-dasharray:6 4;opacity:.7}.step{fill:none;stroke-width:2}
"""


def svg(timeline: Timeline, title: str) -> str:
    """The chart of a timeline; ``title`` is its text for screen readers. Text is escaped."""
    span = _span(timeline)
    rows = _rows(timeline, span)
    top = 6 + MARKS * (max((row for _, _, row in rows), default=0) + 1 if rows else 0) + 8
    parts: list[str] = []
    bottom = top
    if timeline.buckets:
        # A separate row for the number of lost requests, because columns may fill the whole panel.
        bottom += 18 if any(bucket.lost for bucket in timeline.buckets) else 0
        parts += _requests(timeline, span, bottom)
        bottom += TALL + GAP
        parts += _latency(timeline, span, bottom)
        bottom += LOW + GAP
    for gauge in timeline.gauges:
        if gauge.points:
            parts += _gauge(gauge, span, bottom)
            bottom += LOW + GAP
    bottom = max(bottom - GAP, top)
    parts += _marks(rows, span, top, bottom)
    parts += _axis(span, bottom)
    height = bottom + 52
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'style="max-width:100%;height:auto" role="img"><title>{_text(title)}</title><style>{_STYLE}</style>'
        f"{''.join(parts)}</svg>"
    )


def _span(timeline: Timeline) -> float:
    ends = [bucket.at + 1.0 for bucket in timeline.buckets[-1:]]
    ends += [mark.at + 1 for mark in timeline.marks]
    ends += [at for gauge in timeline.gauges for at, _ in gauge.points[-1:]]
    return max([*ends, 1.0])


def _x(at: float, span: float) -> float:
    return round(LEFT + (WIDTH - LEFT - RIGHT) * min(max(at, 0.0), span) / span, 1)


def _requests(timeline: Timeline, span: float, top: int) -> Iterator[str]:
    """A column per bucket: correct answers by model, and lost requests on top."""
    most = max([bucket.requests for bucket in timeline.buckets] + [1])
    # In the order of the models, not of their first answers, as in the gauges, so that both use the same colours.
    named = dict.fromkeys(name for bucket in timeline.buckets for name in bucket.answers)
    models = [name for name in named if any(bucket.answers.get(name) for bucket in timeline.buckets)]
    yield from _frame("requests/s", most, top, TALL)
    lost = [bucket for bucket in timeline.buckets if bucket.lost]
    if lost:
        begin, end = _x(lost[0].at, span), _x(lost[-1].at + 1, span)
        yield f'<rect class="band" x="{begin}" y="{top}" width="{round(end - begin, 1)}" height="{TALL}"/>'
        number = sum(bucket.lost for bucket in timeline.buckets)
        total = sum(bucket.requests for bucket in timeline.buckets)
        text = f"{number} of {total} requests lost, over {lost[-1].at + 1 - lost[0].at} s"
        middle = min(max((begin + end) / 2, LEFT + 3.5 * len(text)), WIDTH - RIGHT - 3.5 * len(text))
        yield _label(middle, top - 6, text, "outage", "middle")
    width = max(1.0, round((WIDTH - LEFT - RIGHT) / span - 0.6, 2))
    for bucket in timeline.buckets:
        x, y = _x(bucket.at, span), float(top + TALL)
        for name, count in [*((model, bucket.answers.get(model, 0)) for model in models), ("lost", bucket.lost)]:
            if not count:
                continue
            height = round(TALL * count / most, 1)
            y = round(y - height, 1)
            look = 'class="lost"' if name == "lost" else f'fill="{_COLOURS[models.index(name) % len(_COLOURS)]}"'
            yield f'<rect {look} x="{x}" y="{y}" width="{width}" height="{height}"/>'
    legend = [(model, _COLOURS[number % len(_COLOURS)]) for number, model in enumerate(models)]
    yield from _legend([*legend, *([("lost", "var(--failed,#b3261e)")] if lost else [])], top + TALL)


def _latency(timeline: Timeline, span: float, top: int) -> Iterator[str]:
    most = max([bucket.max_seconds for bucket in timeline.buckets] + [0.1])
    yield from _frame("answer after, s", most, top, LOW)
    if timeline.client_timeout and timeline.client_timeout <= most:
        y = _y(timeline.client_timeout, most, top, LOW)
        yield f'<line class="patience" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>'
        yield _label(WIDTH - RIGHT, y - 3, f"lost after {timeline.client_timeout:g} s", "outage", "end")
    for look in ("slow", "typical"):
        points = [
            (
                _x(bucket.at + 0.5, span),
                _y(bucket.max_seconds if look == "slow" else bucket.median_seconds, most, top, LOW),
            )
            for bucket in timeline.buckets
            if bucket.requests
        ]
        yield f'<polyline class="{look}" points="{" ".join(f"{x},{y}" for x, y in points)}"/>'
    yield from _legend([("slowest", "var(--failed,#b3261e)"), ("typical", "var(--accent,#2f5fb3)")], top + LOW)


def _gauge(gauge: Gauge, span: float, top: int) -> Iterator[str]:
    """A step chart: a value holds until the next sample."""
    series = list(dict.fromkeys(name for _, values in gauge.points for name in values))
    most = max([value for _, values in gauge.points for value in values.values()] + [1.0])
    yield from _frame(gauge.name, most, top, LOW)
    for number, name in enumerate(series):
        path, before = "", None
        for at, values in gauge.points:
            x, y = _x(at, span), _y(values.get(name, 0.0), most, top, LOW)
            # Shifted, because lines of equal height would cover each other.
            y = round(y - 2.5 * number, 1)
            path += f"M{x} {y}" if before is None else f"H{x}" + (f"V{y}" if y != before else "")
            before = y
        yield f'<path class="step" stroke="{_COLOURS[number % len(_COLOURS)]}" d="{path}"/>'
    yield from _legend([(name, _COLOURS[number % len(_COLOURS)]) for number, name in enumerate(series)], top + LOW)


def _rows(timeline: Timeline, span: float) -> list[tuple[float, str, int]]:
    """The marks, each with the row of its name, so that names do not overlap."""
    ends: list[float] = []
    rows = []
    for mark in sorted(timeline.marks, key=lambda mark: mark.at):
        x = _x(mark.at, span)
        name = f"{mark.name} {mark.at:.0f} s"
        wide = 7.0 * len(name) + 10
        begin = min(x, WIDTH - wide)
        row = next((number for number, end in enumerate(ends) if end <= begin), len(ends))
        ends[row : row + 1] = [begin + wide]
        rows.append((mark.at, name, row))
    return rows


def _marks(rows: Sequence[tuple[float, str, int]], span: float, top: int, bottom: int) -> Iterator[str]:
    for at, name, row in rows:
        x, y = _x(at, span), 14 + MARKS * row
        yield f'<line class="mark" x1="{x}" x2="{x}" y1="{y + 4}" y2="{bottom}"/>'
        wide = 7.0 * len(name) + 10
        yield _label(min(x, WIDTH - wide) + 3, y, name, "name", "start")


def _axis(span: float, bottom: int) -> Iterator[str]:
    step = next((one for one in (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200) if span / one <= 12), 3600)
    for at in range(0, math.floor(span) + 1, step):
        x = _x(at, span)
        yield f'<line class="grid" x1="{x}" x2="{x}" y1="{bottom + 24}" y2="{bottom + 30}"/>'
        yield _label(x, bottom + 45, f"{at} s", "quiet", "middle")


def _frame(name: str, most: float, top: int, height: int) -> Iterator[str]:
    yield _label(0, top + 10, name.split(",")[0], "name", "start")
    if unit := name.partition(",")[2].strip():
        yield _label(0, top + 26, unit, "quiet", "start")
    for value, y in ((most, top), (0, top + height)):
        yield f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>'
        yield _label(LEFT - 6, y + 4, f"{value:.3g}", "quiet", "end")


def _legend(entries: Sequence[tuple[str, str]], y: int) -> Iterator[str]:
    x = float(LEFT)
    for name, colour in entries:
        shown = name if len(name) <= 44 else f"{name[:20]}…{name[-22:]}"
        yield f'<rect x="{x}" y="{y + 8}" width="10" height="10" style="fill:{colour}"/>'
        yield _label(x + 15, y + 17, shown, "quiet", "start")
        x += 15 + 7.0 * len(shown) + 18


def _y(value: float, most: float, top: int, height: int) -> float:
    return round(top + height - height * min(value, most) / most, 1)


def _label(x: float, y: float, text: str, look: str, anchor: str) -> str:
    return f'<text class="{look}" x="{round(x, 1)}" y="{round(y, 1)}" text-anchor="{anchor}">{_text(text)}</text>'


def _text(text: str) -> str:
    return escape(printable(text))
