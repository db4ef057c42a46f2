"""Inputs that are longer than --max-length: how many, by how much, and what a longer setting costs."""

import io
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from adapters.backbone.source import LoadedBackbone, load_backbone
from adapters.config import TaskSpec
from service.train import pipeline
from service.train.data.split import Split
from service.train.fit import lengths as lengths_module
from service.train.fit.lengths import Lengths, describe_lengths, measure_lengths, work
from service.train.options import TrainOptions


@pytest.fixture(scope="module")
def loaded(tiny_folder: Path) -> LoadedBackbone:
    """The tiny backbone: hidden size 32, 128 positions, one token a word."""
    return load_backbone(str(tiny_folder))


def measure(loaded: LoadedBackbone, counts: list[int], max_length: int) -> Lengths:
    """The lengths of texts with so many tokens, two of them special."""
    split = Split(
        "a.csv", ["good " * (count - 2) for count in counts], [0] * len(counts), [*range(len(counts))], "line", ""
    )
    task = TaskSpec(type="single_label", labels=("a", "b"), pair=False, pooling="mean", max_length=max_length)
    return measure_lengths(split, loaded.encoder.encode_for(task, split.inputs), loaded.encoder, task)


def test_lengths_are_those_of_whole_inputs(loaded: LoadedBackbone) -> None:
    """Inputs that were cut are counted to their end."""
    counts = [3, 16, 17, 200, 8]
    lengths = measure(loaded, counts, 16)
    assert lengths.tokens.tolist() == counts
    assert lengths.num_cut == 2


def test_many_long_inputs_are_sampled(loaded: LoadedBackbone, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sample of more than MAX_SAMPLED over-long inputs is counted, and the others are assumed to be like it."""
    monkeypatch.setattr(lengths_module, "MAX_SAMPLED", 50)
    drawn = random.Random(0)
    counts = [drawn.randint(20, 60) for _ in range(400)] + [5] * 100
    lengths = measure(loaded, counts, 16)
    assert lengths.num_cut == 400
    assert lengths.tokens[400:].tolist() == [5] * 100
    assert np.median(lengths.tokens[:400]) == pytest.approx(np.median(counts[:400]), rel=0.15)
    assert "about" in describe_lengths(lengths, 32, 512)[0]


def test_nothing_is_said_where_nothing_is_cut(loaded: LoadedBackbone) -> None:
    """An input of exactly --max-length tokens is whole."""
    assert describe_lengths(measure(loaded, [16, 3], 16), 32, 512) == []


def test_the_cost_grows_with_the_square_in_the_end() -> None:
    """Twice the length is twice the matrices and four times the attention."""
    assert work([10, 10], 1000) == 2 * work([10], 1000)
    assert work([2], 1000) / work([1], 1000) == pytest.approx(2, rel=0.01)
    assert work([2_000_000], 1) / work([1_000_000], 1) == pytest.approx(4, rel=0.01)


def test_a_longer_setting_is_proposed_with_its_cost() -> None:
    """The smallest doubling that cuts at most one input in twenty, and the ratio of the work."""
    lengths = Lengths("a.csv", np.array([100] * 60 + [200] * 30 + [300] * 8 + [900] * 2), 128)
    (told,) = describe_lengths(lengths, 384, 512)
    times = lengths.work(512, 384) / lengths.work(128, 384)
    assert times == pytest.approx(1.5, abs=0.1)
    assert told == (
        "a.csv: 40 of 100 inputs (40.0%) have more tokens than --max-length 128 keeps, 200 in the median, 900 at most; "
        "the end is cut off (--truncation left or head-tail cuts elsewhere); "
        f"--max-length 512 would cut 2.0% and take about {times:.1f} times as long"
    )
    assert "--max-length 200 would cut 10.0%" in describe_lengths(lengths, 384, 200)[0]
    assert describe_lengths(lengths, 384, 128)[0].endswith("and the backbone takes no more; split long texts")
    middle = describe_lengths(replace(lengths, truncation="head-tail"), 384, 512)[0]
    assert "900 at most; the middle is cut out; --max-length 512" in middle
    endless = replace(lengths, tokens=np.array([9000, 8192, 3]))
    assert "8,192 or more at most" in describe_lengths(endless, 384, 512)[0]


@pytest.mark.usefixtures("one_thread")
def test_a_training_tells_before_its_first_step(tmp_path: Path, tiny_folder: Path) -> None:
    """The warning is printed before the first evaluation."""
    (tmp_path / "a.csv").write_text(
        "text,label\n" + "".join(f"{'good ' * (i % 40)}{i},{'xy'[i % 2]}\n" for i in range(40))
    )
    screen = io.StringIO()
    options = TrainOptions.of(
        task="t",
        train=str(tmp_path / "a.csv"),
        output=tmp_path / "run",
        epochs=1,
        max_length=16,
        device="cpu",
        backbone=str(tiny_folder),
    )
    pipeline.train(options, Console(file=screen))
    lines = screen.getvalue().splitlines()
    told = next(i for i, line in enumerate(lines) if "have more tokens than --max-length 16 keeps" in line)
    assert told < next(i for i, line in enumerate(lines) if line.startswith("epoch"))
