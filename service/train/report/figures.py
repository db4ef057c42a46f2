"""The result of a training on a terminal: scores by class, confusion, or predicted against true values."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from service.train.evaluation.analysis import Analysis, ClassScore

MAX_CLASSES = 20  # with more, only the worst are shown
NUM_WORST = 10
MAX_NAME = 30  # characters
SCATTER_WIDTH, SCATTER_HEIGHT = 48, 14
DENSITIES = " .:+#"  # for 0, 1, 2 to 3, 4 to 7, and more points


def print_figures(console: Console, analysis: Analysis) -> None:
    """Print the tables or the scatter plot for the type of the task."""
    if analysis.type == "regression":
        console.print("Predicted (up) against true (right), on one scale; / marks equal values")
        for line in scatter([(float(truth), float(predicted)) for truth, predicted in analysis.points]):
            console.print(line, markup=False, highlight=False)
        return
    _print(console, _classes(analysis))
    if analysis.type == "single_label":
        matrix = _matrix(analysis)
        needed = console.measure(matrix, options=console.options.update_width(10_000)).maximum  # without a limit
        fits = len(analysis.classes) <= MAX_CLASSES and needed <= console.width
        if fits or analysis.num_mistakes:  # without mistakes there are no pairs to list
            _print(console, matrix if fits else _confused(analysis))


def scatter(points: list[tuple[float, float]]) -> list[str]:
    """Draw points (x, y) as lines of characters, both axes on one scale; denser characters stand for more points."""
    values = [value for point in points for value in point]
    low, high = min(values), max(values)
    room = high - low or 1.0

    def cell(value: float, size: int) -> int:
        return min(size - 1, int(size * (value - low) / room))

    counts = [[0] * SCATTER_WIDTH for _ in range(SCATTER_HEIGHT)]
    for x, y in points:
        counts[cell(y, SCATTER_HEIGHT)][cell(x, SCATTER_WIDTH)] += 1
    lines = []
    for row in reversed(range(SCATTER_HEIGHT)):
        equal = int((row + 0.5) * SCATTER_WIDTH / SCATTER_HEIGHT)
        marks = [_density(count) for count in counts[row]]
        if not counts[row][equal]:
            marks[equal] = "/"
        edge = {SCATTER_HEIGHT - 1: f"{high:.4g}", 0: f"{low:.4g}"}.get(row, "")
        lines.append(f"{edge:>9} |{''.join(marks)}".rstrip())
    lines.append(f"{'':>9} +{'-' * SCATTER_WIDTH}")
    ends = f"{low:.4g}", f"{high:.4g}"
    lines.append(f"{'':>11}{ends[0]}{ends[1]:>{SCATTER_WIDTH - len(ends[0])}}")
    return lines


def _density(count: int) -> str:
    return DENSITIES[min(count.bit_length(), len(DENSITIES) - 1)]


def _print(console: Console, table: Table) -> None:
    """Print a table with its title on one line; rich would wrap the title to the width of the table."""
    title, table.title = table.title, None
    console.print(title, style="italic", highlight=False)
    console.print(table)


def _classes(analysis: Analysis) -> Table:
    shown: tuple[ClassScore, ...] = analysis.classes
    kind = "class" if analysis.type == "single_label" else "label"
    title = f"By {kind}"
    if len(shown) > MAX_CLASSES:
        worst = sorted((item for item in shown if item.support), key=lambda item: item.f1 or 0.0)
        shown = tuple(worst[:NUM_WORST])
        title = f"The {len(shown)} worst of {len(analysis.classes)}; the report has all"
    table = Table(title=title)
    table.add_column(kind)
    for name in ("precision", "recall", "F1", "rows"):
        table.add_column(name, justify="right", no_wrap=True)
    for item in shown:
        figures = ["-" if value is None else f"{value:.3f}" for value in (item.precision, item.recall, item.f1)]
        table.add_row(_name(item.name), *figures, f"{item.support:,}")
    return table


def _matrix(analysis: Analysis) -> Table:
    table = Table(title="Confusion: truth down, predicted across")
    table.add_column("")
    names = [_name(item.name) for item in analysis.classes]
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    for i, (name, row) in enumerate(zip(names, analysis.confusion.tolist(), strict=True)):
        cells = [
            Text(f"{count:,}", "bold green" if i == j else "red" if count else "dim") for j, count in enumerate(row)
        ]
        table.add_row(name, *cells)
    return table


def _confused(analysis: Analysis) -> Table:
    table = Table(title="Most often confused")
    table.add_column("truth")
    table.add_column("predicted")
    table.add_column("rows", justify="right")
    for truth, predicted, count, share in analysis.most_confused(NUM_WORST):
        table.add_row(_name(truth), _name(predicted), f"{count:,} ({100 * share:.0f} %)")
    return table


def _name(name: str) -> Text:
    """The name as text: brackets are not markup."""
    return Text(name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 3]}...")
