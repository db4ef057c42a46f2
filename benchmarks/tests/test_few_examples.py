"""benchmarks.few_examples: the made sets, the draws, the contenders on a tiny backbone, and the table."""

from collections import Counter
from pathlib import Path

import pytest

from benchmarks.few_examples.__main__ import KEY, main, read
from benchmarks.few_examples.contenders import DEFAULTS, Setting, measure
from benchmarks.few_examples.phrases import INTENTS, TICKETS
from benchmarks.few_examples.sets import SIZES, DataSet, Row, draw, load_set, make_rows
from benchmarks.few_examples.table import make_table

WORDS = {"good": ("the film is great", "a lovely story"), "bad": ("the film is awful", "a dull story")}


def tiny_set(_: str = "") -> DataSet:
    """Two easy classes."""
    rows = make_rows(WORDS, 60)
    return DataSet("tickets", "2 classes, made", rows[20:], rows[:20])


@pytest.mark.parametrize(("name", "phrases"), [("tickets", TICKETS), ("intents", INTENTS)])
def test_made_sets(name: str, phrases: dict[str, tuple[str, ...]]) -> None:
    """Different texts without an open slot, classes of equal size, no text both trained and tested, always the same."""
    data = load_set(name)
    texts = [row.text for row in (*data.pool, *data.test)]
    assert len(set(texts)) == len(texts) == 4600
    assert not any("{" in text for text in texts)
    assert set(Counter(row.label for row in data.test)) == set(phrases)
    counts = Counter(row.label for row in data.pool).values()
    assert max(counts) - min(counts) <= 1
    assert data == load_set(name)
    assert "made" in data.origin


@pytest.mark.parametrize("size", SIZES)
def test_draws(size: str) -> None:
    """A draw has the wanted number of rows; another draw has other rows, and the same seed the same ones."""
    data = load_set("intents")
    rows = draw(data, size, 1)
    number = int(size.split()[0])
    assert len(rows) == (number if size.endswith("rows") else 30 * number)
    if size.endswith("a class"):
        assert set(Counter(row.label for row in rows).values()) == {number}
    assert rows == draw(data, size, 1) != draw(data, size, 2)


@pytest.mark.parametrize("size", ["200 a class", "5000 rows"])
def test_a_set_that_is_too_small(size: str) -> None:
    """The error says how many rows there are."""
    with pytest.raises(ValueError, match=r"intents has (a class of 133|4000) rows, not"):
        draw(load_set("intents"), size, 0)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("contender", [*DEFAULTS, "full"])
def test_each_contender_learns(contender: str, tiny_folder: Path) -> None:
    """Each contender runs and is timed; on random weights only TF-IDF must be better than chance."""
    data = tiny_set()
    score, seconds = measure(contender, draw(data, "16 a class", 0), data.test, 0, Setting(str(tiny_folder), "cpu"))
    assert score > (0.6 if contender == "tfidf" else 0.2)
    assert seconds > 0


def test_setfit_needs_its_environment() -> None:
    """The message names the option."""
    with pytest.raises(ValueError, match="--setfit-python"):
        measure("setfit", [], [], 0, Setting("x", "cpu"))


def test_a_run_continues(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Each training has one line; a second run trains only the missing ones; the report prints the table."""
    monkeypatch.setattr("benchmarks.few_examples.__main__.load_set", tiny_set)
    trained: list[str] = []

    def fake(contender: str, train: list[Row], *_: object) -> tuple[float, float]:
        trained.append(contender)
        return 0.5, 1.0

    monkeypatch.setattr("benchmarks.few_examples.__main__.measure", fake)
    results = tmp_path / "few.jsonl"
    for draws in ("1", "2"):
        options = ("--sets", "tickets", "--sizes", "8 a class", "--contenders", "tfidf,probe", "--draws", draws)
        main(["run", *options, "--results", str(results)])
    lines = read(results)
    assert trained == ["tfidf", "probe"] * 2
    assert len({tuple(line[name] for name in KEY) for line in lines}) == len(lines) == 4
    capsys.readouterr()
    main(["report", "--results", str(results)])
    assert "| 2 classes, made | 8 a class | 2 |" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["run", "--sets", "sst3"])
    assert "sst3: not one of sst2, tickets, intents" in capsys.readouterr().err


def test_the_table_marks_scores_that_may_be_the_best() -> None:
    """Bold within one standard error of the best; a missing cell is a dash."""
    scores = {"a": (0.8, 0.9), "b": (0.79, 0.82), "c": (0.5, 0.6)}
    lines = [
        {"origin": "x", "size": "8 a class", "contender": name, "score": score, "seconds": 2.0}
        for name, both in scores.items()
        for score in both
    ]
    lines.append({"origin": "y", "size": "8 a class", "contender": "a", "score": 0.7, "seconds": 1.0})
    assert make_table(lines).splitlines()[2:] == [
        "| x | 8 a class | 2 | **0.850 ± 0.050**, 2.0 s | **0.805 ± 0.015**, 2.0 s | 0.550 ± 0.050, 2.0 s |",
        "| y | 8 a class | 1 | **0.700 ± 0.000**, 1.0 s | - | - |",
    ]
