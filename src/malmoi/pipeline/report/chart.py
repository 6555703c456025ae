"""Line charts as geometry in percent of the plot, which the template draws as an SVG that stretches with the page.

Text stands beside the SVG, in HTML, so that it keeps its size on a phone.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

POINTS = 400
"""Most points drawn for a series; more are averaged in groups."""

LABEL_GAP = 6.5
"""Least distance of two labels in the right margin, in percent of the height."""


@dataclass(frozen=True)
class Series:
    """A named curve of (x, y) points; `style` is "line", "faint" or "dots".

    Attributes:
        intervals: (low, high) around each of the points, where they are few and finite; none for long curves.
    """

    name: str
    points: Sequence[tuple[float, float]]
    style: str = "line"
    intervals: Sequence[tuple[float, float]] = ()


@dataclass(frozen=True)
class Level:
    """A named horizontal line."""

    name: str
    value: float


@dataclass(frozen=True)
class Tick:
    """A grid line at `place` percent, with its text."""

    place: float
    text: str


@dataclass(frozen=True)
class Curve:
    """A series as drawn.

    Attributes:
        path: SVG path in percent of the plot.
        values: (x percent, x text, y text) of each point, for the pointer.
        marks: path of the points themselves, where they have intervals.
        whiskers: path of the intervals.
    """

    name: str
    style: str
    path: str
    values: list[tuple[float, str, str]]
    marks: str = ""
    whiskers: str = ""


@dataclass(frozen=True)
class Rule:
    """A level as drawn; `label` is where its text stands, pushed away from its neighbours."""

    name: str
    text: str
    place: float
    label: float


@dataclass(frozen=True)
class LineChart:
    """Everything the template needs to draw a chart."""

    title: str
    x_title: str
    curves: list[Curve]
    rules: list[Rule]
    x_ticks: list[Tick]
    y_ticks: list[Tick]


def line_chart(
    title: str,
    x_title: str,
    series: Sequence[Series],
    levels: Sequence[Level] = (),
    x_names: Sequence[str] = (),
    logarithmic: bool = False,
) -> LineChart | None:
    """Lay out curves and horizontal lines over common axes; None when there is nothing to draw.

    Args:
        x_names: what x = 0, 1, 2 and so on stand for, where x only counts cases.
        logarithmic: whether equal distances along x are equal factors; every x is above 0 then.
    """
    series = [one if one.intervals else Series(one.name, thin_out(one.points), one.style) for one in series]
    series = [one for one in series if one.points]
    levels = [level for level in levels if math.isfinite(level.value)]
    if not series:
        return None
    xs = [x for one in series for x, _ in one.points]
    ys = [y for one in series for _, y in one.points] + [level.value for level in levels]
    ys += [end for one in series for interval in one.intervals for end in interval]
    right = max(max(xs), min(xs) * (1 + 1e-9) if logarithmic else min(xs) + 1e-9)
    counts = all(x == int(x) for x in xs)
    axes = _Axes(min(xs), right, nice_ticks(min(ys), max(ys)), x_names, logarithmic, counts)
    ordered = sorted(levels, key=lambda level: -level.value)
    labels = push_apart([axes.down(level.value) for level in ordered], LABEL_GAP)
    rules = [
        Rule(level.name, tidy(level.value), axes.down(level.value), label)
        for level, label in zip(ordered, labels, strict=True)
    ]
    y_texts = zip(axes.y_marks, tick_texts(axes.y_marks), strict=True)
    y_ticks = [Tick(axes.down(y), text) for y, text in y_texts]
    return LineChart(title, x_title, [axes.curve(one) for one in series], rules, axes.x_ticks(), y_ticks)


@dataclass(frozen=True)
class _Axes:
    """Where a value stands in the plot."""

    left: float
    right: float
    y_marks: list[float]
    x_names: Sequence[str]
    logarithmic: bool = False
    counts: bool = False

    def across(self, x: float) -> float:
        if self.logarithmic:
            return round(100 * math.log(x / self.left) / math.log(self.right / self.left), 2)
        return round(100 * (x - self.left) / (self.right - self.left), 2)

    def down(self, y: float) -> float:
        bottom, top = self.y_marks[0], self.y_marks[-1]
        return round(100 * (top - y) / (top - bottom), 2)

    def x_ticks(self) -> list[Tick]:
        if self.x_names:
            return [Tick(self.across(x), name) for x, name in enumerate(self.x_names)]
        if self.logarithmic:
            return [Tick(self.across(x), tidy(x)) for x in log_ticks(self.left, self.right)]
        marks = nice_ticks(self.left, self.right, whole=self.counts)
        texts = zip(marks, tick_texts(marks), strict=True)
        return [Tick(self.across(x), text) for x, text in texts if self.left <= x <= self.right]

    def curve(self, series: Series) -> Curve:
        places = [(self.across(x), self.down(y)) for x, y in series.points]
        marks = " ".join(f"M{x} {y}h0" for x, y in places)
        path = marks if series.style == "dots" else "M" + "L".join(f"{x} {y}" for x, y in places)
        x_texts = [self.x_names[int(x)] if self.x_names else tidy(x) for x, _ in series.points]
        y_texts = [tidy(y) for _, y in series.points]
        values = [(place, x, y) for (place, _), x, y in zip(places, x_texts, y_texts, strict=True)]
        if not series.intervals:
            return Curve(series.name, series.style, path, values)
        ends = zip(places, series.intervals, strict=True)
        whiskers = " ".join(f"M{x} {self.down(high)}V{self.down(low)}" for (x, _), (low, high) in ends)
        values = [
            (place, x, f"{y} ({tidy(low)} – {tidy(high)})")
            for (place, x, y), (low, high) in zip(values, series.intervals, strict=True)
        ]
        return Curve(series.name, series.style, path, values, marks, whiskers)


def thin_out(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most `POINTS` finite points, each the mean of its neighbours."""
    finite = [(float(x), float(y)) for x, y in points if math.isfinite(x) and math.isfinite(y)]
    size = math.ceil(len(finite) / POINTS) or 1
    groups = [finite[start : start + size] for start in range(0, len(finite), size)]
    return [(group[-1][0], sum(y for _, y in group) / len(group)) for group in groups]


def smooth(points: Sequence[tuple[float, float]], reach: int) -> list[tuple[float, float]]:
    """The mean of each point and of up to `reach` points on either side, as many before as after."""
    finite = [(x, y) for x, y in points if math.isfinite(y)]
    sums = list(itertools.accumulate((y for _, y in finite), initial=0.0))
    result = []
    for place, (x, _) in enumerate(finite):
        near = min(reach, place, len(finite) - 1 - place)
        result.append((x, (sums[place + near + 1] - sums[place - near]) / (2 * near + 1)))
    return result


def nice_ticks(low: float, high: float, count: int = 5, whole: bool = False) -> list[float]:
    """About `count` round numbers whose first and last enclose [low, high]; where things are counted, whole ones."""
    if high - low < 1e-12 * max(1.0, abs(high)):
        low, high = low - 0.5, high + 0.5
    rough = max((high - low) / count, 1.0 if whole else 0.0)
    unit: float = 10.0 ** math.floor(math.log10(rough))
    step = unit * next((factor for factor in ((1, 2, 5) if whole else (1, 2, 2.5, 5)) if factor * unit >= rough), 10)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 12) for number in range(first, max(last, first + 1) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Round numbers between two, about equally many times apart: powers of ten, and 2 and 5 times these if few."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1,), (1, 3), (1, 2, 5)):
        marks = [float(f"{factor}e{power}") for power in powers for factor in factors]
        inside = [mark for mark in marks if low <= mark <= high]
        if len(inside) > 2:
            return inside[:: math.ceil(len(inside) / 7)]
    return inside or [low, high]


def tick_texts(marks: Sequence[float]) -> list[str]:
    """The marks of an axis with as many decimals as their distance needs, the same for all."""
    step = marks[1] - marks[0]
    decimals = next(count for count in range(13) if abs(round(step, count) - step) < step * 1e-6)
    return [f"{mark:,.{decimals}f}" for mark in marks]


def push_apart(places: Sequence[float], gap: float) -> list[float]:
    """Places in rising order, moved by as little as it takes for all to be `gap` apart and within 0 to 100."""
    result: list[float] = []
    for place in places:
        result.append(max(place, result[-1] + gap) if result else place)
    limit = 100.0
    for number in range(len(result) - 1, -1, -1):
        result[number] = min(result[number], limit)
        limit = result[number] - gap
    return [round(place, 2) for place in result]


def tidy(value: float) -> str:
    """A number as people write it: 12,500, 3.14, 0.00052."""
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 1 else f"{value:.2f}"
