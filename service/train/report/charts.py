"""Series of points -> the geometry of a chart, which the report's template draws as SVG."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

Kind = Literal["line", "faint", "dots"]
Range = tuple[float, float]

WIDTH, HEIGHT = 420, 250
LEFT, RIGHT, TOP, BOTTOM = 50, 12, 20, 42  # margins


@dataclass(frozen=True)
class Series:
    """Points (x, y), and how they are drawn."""

    name: str  # in the legend; empty: not in it
    points: Sequence[tuple[float, float]]
    kind: Kind = "line"
    colour: int = 0  # index into the template's three colours


@dataclass(frozen=True)
class Curve:
    """A series in the units of the drawing."""

    name: str
    kind: Kind
    colour: int
    dots: tuple[tuple[float, float], ...]

    @property
    def polyline(self) -> str:
        """The dots in the form of SVG's `points`."""
        return " ".join(f"{x:g},{y:g}" for x, y in self.dots)


@dataclass(frozen=True)
class Tick:
    """A place on an axis, with its number."""

    at: float
    text: str


@dataclass(frozen=True)
class Chart:
    """Everything that the template draws."""

    title: str
    x_title: str
    curves: tuple[Curve, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    mark: Tick | None  # a vertical line with a text
    diagonal: tuple[float, float, float, float] | None  # x1, y1, x2, y2 of the line y = x
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    top: int = TOP
    right: int = WIDTH - RIGHT
    bottom: int = HEIGHT - BOTTOM


def make_chart(
    title: str,
    x_title: str,
    series: Sequence[Series],
    *,
    x_range: Range | None = None,
    y_range: Range | None = None,
    mark: tuple[float, str] | None = None,
    diagonal: bool = False,
) -> Chart | None:
    """Make a chart of the finite points; None if there are none. By default the axes range over the points."""
    kept = [replace(item, points=[point for point in item.points if all(map(math.isfinite, point))]) for item in series]
    points = [point for item in kept for point in item.points]
    if not points:
        return None
    low_x, high_x = x_range or _range([x for x, _ in points])
    low_y, high_y = y_range or _range([y for _, y in points])

    def at_x(value: float) -> float:
        return round(LEFT + (WIDTH - LEFT - RIGHT) * (value - low_x) / (high_x - low_x), 1)

    def at_y(value: float) -> float:
        return round(HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value - low_y) / (high_y - low_y), 1)

    low, high = max(low_x, low_y), min(high_x, high_y)
    return Chart(
        title=title,
        x_title=x_title,
        curves=tuple(
            Curve(item.name, item.kind, item.colour, tuple((at_x(x), at_y(y)) for x, y in item.points))
            for item in kept
            if item.points
        ),
        x_ticks=tuple(Tick(at_x(value), _number(value)) for value in ticks(low_x, high_x)),
        y_ticks=tuple(Tick(at_y(value), _number(value)) for value in ticks(low_y, high_y)),
        mark=Tick(at_x(mark[0]), mark[1]) if mark and low_x <= mark[0] <= high_x else None,
        diagonal=(at_x(low), at_y(low), at_x(high), at_y(high)) if diagonal and low < high else None,
    )


def ticks(low: float, high: float) -> list[float]:
    """Three to seven round numbers within low..high."""
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = power * min((1, 2, 5, 10), key=lambda factor: abs(math.log(factor * power / rough)))
    return [step * index for index in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def _range(values: Sequence[float]) -> Range:
    """The range of the values with a margin."""
    low, high = min(values), max(values)
    room = 0.05 * (high - low) or 0.5 * abs(low) or 0.5
    return low - room, high + room


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{round(value, 10):g}"
