"""Score against parameters, as an SVG that a README can show."""

import math
from collections.abc import Sequence
from xml.sax.saxutils import escape

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 340, 60, 230, 28, 48
COLOURS = (
    *("#222222", "#d0661f", "#2f8f4e", "#1f6fd0", "#8a4fd0", "#c0392b", "#117a8b", "#b8860b"),
    *("#e377c2", "#7f7f7f", "#6b8e23", "#00a6a6", "#a0522d", "#4b0082", "#ff8c69"),
)


def scatter(points: Sequence[tuple[str, int, float]], title: str) -> str:
    """Points (name, parameters, score), parameters by their logarithm; one without any is only in the legend."""
    shown = [(parameters, score) for _, parameters, score in points if parameters]
    low_x = math.floor(math.log10(min(parameters for parameters, _ in shown)))
    high_x = math.ceil(math.log10(max(parameters for parameters, _ in shown)))
    scores = [score for _, score in shown]
    margin = max(0.005, 0.15 * (max(scores) - min(scores)))
    low_y, high_y = min(scores) - margin, max(scores) + margin

    def at_x(parameters: int) -> float:
        return LEFT + (math.log10(parameters) - low_x) / (high_x - low_x) * (WIDTH - LEFT - RIGHT)

    def at_y(score: float) -> float:
        return HEIGHT - BOTTOM - (score - low_y) / (high_y - low_y) * (HEIGHT - TOP - BOTTOM)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-size="12">',
        "<style>text { font-family: sans-serif }</style>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        _text(LEFT, 16, title),
        _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, "parameters that learn, without the head", "middle"),
    ]
    for power in range(low_x, high_x + 1):
        x = at_x(10**power)
        parts.append(f'<path d="M{x:.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="#ddd"/>')
        parts.append(_text(x, HEIGHT - BOTTOM + 18, f"{10**power:,}", "middle"))
    step = 10 ** math.floor(math.log10(high_y - low_y))
    step = step if (high_y - low_y) / step > 3 else step / 5
    for index in range(math.ceil(low_y / step), math.floor(high_y / step) + 1):
        y = at_y(index * step)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#eee"/>')
        parts.append(_text(LEFT - 6, y + 4, f"{index * step:.4g}", "end"))
    ranked = sorted(points, key=lambda point: -point[2])
    for index, (name, parameters, score) in enumerate(ranked):
        colour, y = COLOURS[index % len(COLOURS)], TOP + 14 + 20 * index
        if parameters:
            dot = f'r="5" fill="{colour}" fill-opacity="0.85"'
            parts.append(f'<circle cx="{at_x(parameters):.1f}" cy="{at_y(score):.1f}" {dot}/>')
            parts.append(f'<rect x="{WIDTH - RIGHT + 18}" y="{y - 9}" width="10" height="10" fill="{colour}"/>')
        parts.append(_text(WIDTH - RIGHT + 34, y, name))
        parts.append(_text(WIDTH - 14, y, f"{score:.4f}", "end"))
    return "\n".join([*parts, "</svg>", ""])


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="#333">{escape(text)}</text>'
