"""report.html: whole, safe, of one file, for every type of task."""

import re
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from adapters.adapter import AdapterMetadata
from adapters.config import TaskSpec, TaskType
from service.train.data.split import Split
from service.train.evaluation.analysis import analyse
from service.train.evaluation.comparison import Comparison
from service.train.report.curves import read_curves
from service.train.report.page import MAX_MATRIX, render_report
from tests.support.factories import tiny_identity

EVIL = "<img src=x onerror=alert(1)>"
EVIL_TEXT = f"</p><script src='https://evil.example/x.js'></script> {EVIL} {{{{ 7 * 7 }}}} \"quoted\" &amp;"
VOID = {"meta", "line", "circle", "polyline", "br", "hr", "img", "link"}
ADDRESSES = {"src", "href", "xlink:href", "action", "data", "srcset", "poster", "background"}


class Page(HTMLParser):
    """Elements, texts and attributes; fails where an element is not closed in its turn."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []  # tag, name, value
        self.words: list[str] = []
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Called by the parser."""
        self.tags.append(tag)
        self.attributes.extend((tag, name, value) for name, value in attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Called by the parser, after void elements that end with a slash too."""
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Called by the parser."""
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        """The visible text of the page."""
        return " ".join(" ".join(self.words).split())


def log(metric: str, evaluations: int = 3) -> list[dict[str, Any]]:
    """The log of a training."""
    entries: list[dict[str, Any]] = []
    for index in range(1, evaluations + 1):
        entries.append({"loss": 1 / index, "epoch": index - 0.5, "step": 10 * index - 5})
        scores = {f"eval_{metric}": 1 - 0.5 / index, "eval_loss": 0.8 / index, "eval_runtime": 1.0}
        entries.append({**scores, "epoch": float(index), "step": 10 * index})
    return entries


def make_report(
    type: TaskType = "single_label",
    labels: Sequence[str] = ("good", EVIL),
    *,
    texts: Sequence[Any] | None = None,
    evaluations: int = 3,
    perfect: bool = False,
    comparison: Comparison | None = None,
) -> Page:
    """The page of 40 random rows."""
    drawn = np.random.default_rng(0)
    width = len(labels) or 1
    logits = drawn.normal(size=(40, width))
    targets = {
        "single_label": logits.argmax(axis=1) if perfect else drawn.integers(0, width, 40),
        "multi_label": drawn.integers(0, 2, (40, width)),
        "regression": drawn.normal(size=40),
    }[type]
    metric = {"single_label": "accuracy", "multi_label": "micro_f1", "regression": "pearson"}[type]
    inputs = list(texts or [EVIL_TEXT] * 40)
    pair = not isinstance(inputs[0], str)
    split = Split(f"dev{EVIL}.csv", inputs, [0] * 40, [2 * row for row in range(1, 41)], "line", "ab" * 32)
    metadata = AdapterMetadata(
        backbone=tiny_identity(),
        p=3,
        q=4,
        layers=(0, 1),
        task=TaskSpec(type=type, labels=tuple(labels), pair=pair, pooling="mean", max_length=64),
        training={
            "seed": 42,
            "recipe": "default",
            "hyper_parameters": {"learning_rate": 0.001, "pooling": None, "new_option": "new value"},
            "data": {"train": {"name": EVIL, "rows": 1234, "sha256": "cd" * 32}, "validation": split.provenance},
            "versions": {"torch": "2.13.0"},
            "epochs": 3.0,
            "duration_s": 12.5,
        },
        metrics={"f1": 0.25, metric: 0.75},
    )
    curves = read_curves(log(metric, evaluations), 10 * min(2, evaluations))
    return Page(
        render_report(
            "tickets", metric, metadata, 12_345, split, curves, analyse(logits, targets, type, labels), comparison
        )
    )


CASES = [
    ("single_label", ("good", EVIL)),
    ("single_label", tuple(f"class {i}" for i in range(MAX_MATRIX + 5))),
    ("multi_label", ("red", EVIL, "blue")),
    ("multi_label", (EVIL,)),
    ("regression", ()),
]


@pytest.mark.parametrize(("type", "labels"), CASES)
@pytest.mark.parametrize("evaluations", [0, 1, 3])
def test_the_page_is_well_formed_and_needs_nothing_else(
    type: TaskType, labels: Sequence[str], evaluations: int
) -> None:
    """No script, no image, no link, no address in an attribute or in the style, for every type of task."""
    page = make_report(type, labels, evaluations=evaluations)
    assert not {"script", "img", "link", "iframe", "object", "a", "form"} & set(page.tags)
    assert not [item for item in page.attributes if item[1] in ADDRESSES or item[1].startswith("on")]
    assert not [value for _, _, value in page.attributes if value and re.search(r"https?:|url\(|//", value)]
    assert ("meta", "content", "default-src 'none'; style-src 'unsafe-inline'") in page.attributes


def test_the_style_needs_nothing_else() -> None:
    """No import and no address."""
    style = re.search(r"<style>(.*)</style>", _html(), re.DOTALL)
    assert style
    assert not re.search(r"@import|url\(|//|expression", style[1])
    assert "prefers-color-scheme: dark" in style[1]


def _html() -> str:
    curves = read_curves([], None)
    metadata = AdapterMetadata(
        backbone=tiny_identity(),
        p=3,
        q=4,
        layers=(0, 1),
        task=TaskSpec(type="regression", labels=(), pair=False, pooling="mean", max_length=64),
    )
    split = Split("dev.csv", ["a", "b"], [0.0, 1.0], [2, 3], "line", "ab" * 32)
    analysis = analyse(np.array([[0.0], [0.5]]), np.array([0.0, 1.0]), "regression", ())
    return render_report("t", "pearson", metadata, 12_345, split, curves, analysis)


def test_a_training_that_says_nothing_of_itself_has_a_page_too() -> None:
    """No log, no record."""
    assert "t: training report" in Page(_html()).text


@pytest.mark.parametrize(("type", "labels"), CASES)
def test_what_the_data_holds_is_shown_as_text(type: TaskType, labels: Sequence[str]) -> None:
    """Labels, texts and file names, whatever looks like markup or like a template in them."""
    text = make_report(type, labels).text
    assert EVIL_TEXT in text
    assert f"dev{EVIL}.csv" in text
    for label in labels[:3]:
        assert label in text


def test_scores_data_method_and_versions() -> None:
    """The metric that chose comes first; every hyper-parameter is there, known to the page or not."""
    text = make_report().text
    assert text.index("0.7500 accuracy") < text.index("0.2500 f1")
    for fact in ("train, rows 1,234", f"validation, sha256 {'ab' * 32}", "learning rate 0.001", "new option new value"):
        assert fact in text
    for fact in ("torch 2.13.0", "bottleneck 12 = 3 * 4", "seed 42", "duration (s) 12.5"):
        assert fact in text


def test_curves_mark_the_best_checkpoint() -> None:
    """Loss and metrics are drawn by step, with a line where the checkpoint was kept."""
    page = make_report()
    assert "The checkpoint of step 20, epoch 2, was the best." in page.text
    assert page.attributes.count(("line", "class", "best")) == 2
    assert len([item for item in page.attributes if item[:2] == ("polyline", "points")]) == 5
    for name in ("Loss", "Validation metrics", "training", "validation", "best"):
        assert name in page.text


def test_one_evaluation_is_a_point() -> None:
    """Not an empty chart."""
    dots = [item for item in make_report(evaluations=1).attributes if item[:2] == ("circle", "class")]
    assert ("circle", "class", "s1") in dots


def test_a_matrix_of_few_classes_and_pairs_of_many() -> None:
    """Over MAX_MATRIX classes a matrix could not be read."""
    few, many = make_report(), make_report("single_label", CASES[1][1])
    assert "Confusion matrix" in few.text
    assert "Most often confused" in many.text
    assert "Confusion matrix" not in many.text


def test_mistakes_have_texts_place_truth_and_prediction() -> None:
    """Both texts of a pair, and the line that they stand on; a long text is cut."""
    page = make_report(texts=[(f"first {row}", "long " * 1000) for row in range(40)])
    assert re.search(r"first \d+ long long .* \.\.\. truth good \d+ %", page.text)
    assert re.search(r"predicted good \d+ % *loss \d\.\d+ *line \d+", page.text)
    rows = [int(row) for row in re.findall(r"first (\d+)", page.text)]
    lines = [int(line) for line in re.findall(r"line (\d+)", page.text)]
    assert len(rows) > 5
    assert lines == [2 * (row + 1) for row in rows]
    assert "long " * 200 not in page.text


def test_mistakes_of_several_labels_and_of_numbers() -> None:
    """Missed and wrong labels; the error of a number."""
    assert re.search(r"missed (red|none).* wrongly predicted", make_report("multi_label", CASES[2][1]).text)
    assert re.search(r"truth -?\d\.\d+ *predicted -?\d\.\d+ *error \d", make_report("regression", ()).text)


def test_no_mistake_at_all() -> None:
    """It is said."""
    assert "None: every row" in make_report(perfect=True).text


def test_the_score_stands_beside_the_probe() -> None:
    """One line with both scores and the interval; findings follow it, with labels as text."""
    good = Comparison("adapter", "accuracy", 0.784, 0.759, 50, 0.65, 0.88, 0.4, 2)
    assert "adapter 0.784, probe 0.759, n = 50, 95 % interval 0.65 to 0.88" in make_report(comparison=good).text
    text = make_report(comparison=replace(good, score=0.7, unpredicted=(EVIL,))).text
    assert "The adapter is not better than the probe" in text
    assert f"never predicts {EVIL!r} (1 of 2 labels)" in text
    assert "probe" not in make_report().text
