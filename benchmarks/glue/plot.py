"""Score against parameters, as an SVG that a README can show."""

import math
from collections.abc import Sequence
from xml.sax.saxutils import escape

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 360, 60, 30, 24, 48


def scatter(points: Sequence[tuple[str, int, float]], title: str) -> str:
    """Points (name, parameters, score); parameters by their logarithm, none counts as 1,000."""
    xs = [math.log10(max(parameters, 1_000)) for _, parameters, _ in points]
    ys = [score for _, _, score in points]
    low_x, high_x = math.floor(min(xs)), math.ceil(max(xs))
    margin = max(0.01, 0.1 * (max(ys) - min(ys)))
    low_y, high_y = min(ys) - margin, max(ys) + margin

    def at_x(x: float) -> float:
        return LEFT + (x - low_x) / (high_x - low_x) * (WIDTH - LEFT - RIGHT)

    def at_y(y: float) -> float:
        return HEIGHT - BOTTOM - (y - low_y) / (high_y - low_y) * (HEIGHT - TOP - BOTTOM)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-size="12">',
        "<style>text { font-family: sans-serif }</style>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        f'<text x="{LEFT}" y="16" fill="#222">{escape(title)}</text>',
    ]
    for power in range(low_x, high_x + 1):
        x = at_x(power)
        label = f"{10**power:,}" if power > 3 else "none"
        parts.append(f'<path d="M{x:.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="#ddd"/>')
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle" fill="#555">{label}</text>')
    step = 10 ** math.floor(math.log10(high_y - low_y))
    step = step if (high_y - low_y) / step > 3 else step / 5
    for index in range(math.ceil(low_y / step), math.floor(high_y / step) + 1):
        y = at_y(index * step)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#eee"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end" fill="#555">{index * step:.3g}</text>')
    parts.append(
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 8}" text-anchor="middle" fill="#555">'
        "parameters that learn, without the head</text>"
    )
    taken: list[tuple[float, float]] = []
    for (name, _, score), x in sorted(zip(points, xs, strict=True), key=lambda item: -item[0][2]):
        px, py = at_x(x), at_y(score)
        label_y = py + 4
        while any(abs(px - other_x) < 130 and abs(label_y - other_y) < 14 for other_x, other_y in taken):
            label_y += 14
        taken.append((px, label_y))
        anchor, shift = ("end", -8) if px > WIDTH - 140 else ("start", 8)
        parts.append(f'<circle cx="{px:.1f}" cy="{py:.1f}" r="4" fill="#1f6fd0"/>')
        parts.append(
            f'<text x="{px + shift:.1f}" y="{label_y:.1f}" text-anchor="{anchor}" fill="#222">{escape(name)}</text>'
        )
    return "\n".join([*parts, "</svg>", ""])
