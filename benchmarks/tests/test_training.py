"""benchmarks.engine.training: tokens are counted as they are, and ratios are those of the same round."""

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from benchmarks.engine.training import FIXED, OURS, USUAL, draw, ratios, rows_of, targets_of, turns
from benchmarks.engine.training_run import (
    BatchSize,
    Clock,
    CountingCollator,
    Finished,
    Memory,
    Setup,
    measured,
    size_of,
    train,
)


def found(tokens_per_s: float, own_bytes: float) -> dict[str, float]:
    """A training of 2 seconds."""
    return {
        "texts": 10,
        "tokens": 2 * tokens_per_s,
        "positions": 4 * tokens_per_s,
        "seconds": 2.0,
        "cpu_s": 4.0,
        "bytes_before": 500e6,
        "bytes_peak": 500e6 + own_bytes,
    }


def test_padding_is_not_counted_as_tokens() -> None:
    """A padded batch has its mask's tokens; a packed one has no other."""
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
    assert size_of({"attention_mask": mask}) == BatchSize(texts=2, tokens=6, positions=8)
    assert size_of({"lengths": (2, 4)}) == BatchSize(texts=2, tokens=6, positions=6)


def test_batches_are_counted_in_order_and_left_as_they_are() -> None:
    """The batches of the other collator pass through."""
    counting = CountingCollator(lambda rows: {"lengths": tuple(rows)})
    assert [counting([3]), counting([4, 5])] == [{"lengths": (3,)}, {"lengths": (4, 5)}]
    assert [size.tokens for size in counting.sizes] == [3, 9]


def test_the_steps_after_the_warm_up_are_counted() -> None:
    """Only steps after the warm-up are measured, and the training ends with the last step."""
    sizes = [BatchSize(texts=1, tokens=number, positions=2 * number) for number in (100, 2, 3, 1000)]
    clock = Clock(1, Memory("cpu"))
    for step in (1, 2):
        clock.on_step_end(None, SimpleNamespace(global_step=step, max_steps=3), None)
    with pytest.raises(Finished):
        clock.on_step_end(None, SimpleNamespace(global_step=3, max_steps=3), None)
    result = measured(sizes, 1, clock, before=7, parameters=8)
    assert 0 < result.seconds < 10
    assert (result.steps, result.texts, result.tokens, result.positions) == (2, 2, 5, 10)


def test_ratios_are_medians_of_rounds() -> None:
    """Within a round the machine's mood is the same; of rounds that one has more of, the common ones count."""
    ours = [found(300, 100e6), found(100, 100e6), found(900, 100e6)]
    theirs = [found(100, 200e6), found(50, 400e6), found(300, 200e6)]
    assert ratios(ours, theirs) == pytest.approx((3.0, 0.5))
    assert ratios(ours, theirs[1:2]) == pytest.approx((6.0, 0.25))


def test_the_hardest_case_decides() -> None:
    """A target is reached if every row reaches it against the best padded way."""
    easy = {OURS: [found(400, 100e6)], USUAL: [found(100, 300e6)], FIXED: [found(50, 400e6)]}
    hard = {OURS: [found(400, 100e6)], USUAL: [found(190, 190e6)], FIXED: [found(250, 160e6)]}
    rows = [*rows_of("sst2", 16, easy), *rows_of("sst2", 32, hard)]
    assert [row["padding"] for row in rows] == [0.5] * 6
    assert [round(target.value, 3) for target in targets_of(rows)] == [2.105, 0.526, 1.6, 0.625]
    assert [target.reached for target in targets_of(rows)] == [True, False, False, False]


def test_contestants_take_turns() -> None:
    """There and back, and what is padded to 128 once."""
    assert turns(["a", FIXED, "b"], 3) == ["a", FIXED, "b", "b", "a", "a", "b"]


@pytest.mark.real_data
@pytest.mark.usefixtures("glue")
@pytest.mark.parametrize(("task", "labels"), [("sst2", 2), ("mrpc", 2), ("mix", 5)])
def test_texts_are_of_all_the_file(task: str, labels: int) -> None:
    """About as many words as asked for, a multiple of the batch, every label."""
    rows = draw(task, 5000, 8)
    num_words = sum(len(row[name].split()) for row in rows for name in row if name.startswith("sentence"))
    assert 4500 < num_words < 5100
    assert len(rows) % 8 == 0
    assert len({row["label"] for row in rows}) == labels


def rows_of_lengths(lengths: Sequence[int]) -> str:
    """JSON Lines of texts of so many words, labels in turn."""
    rows = [{"sentence": "good " * length, "label": ("no", "yes")[place % 2]} for place, length in enumerate(lengths)]
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(
    ("choice", "positions"),
    [
        ({"method": "adakron"}, 12 * 8),
        ({"method": "full"}, 12 * 8),
        ({"method": "padded"}, 12 * 8),
        ({"method": "padded", "padding": "max_length"}, 12 * 128),
        ({"method": "padded", "sampling": "group_by_length"}, 12 * 8),
    ],
)
def test_each_contestant_trains(tmp_path: Path, tiny_folder: Path, choice: dict[str, Any], positions: int) -> None:
    """Three of four batches of 4 are timed, all weights or the adapter's learn, and memory is seen to grow."""
    for name in ("train", "validation"):
        (tmp_path / f"{name}.jsonl").write_text(rows_of_lengths([6] * 16))
    result = train(Setup(str(tmp_path), str(tiny_folder), batch_size=4, warmup=1, **choice), tmp_path / "run")
    assert (result.steps, result.texts, result.tokens, result.positions) == (3, 12, 12 * 8, positions)
    assert result.seconds > 0
    assert result.bytes_peak >= result.bytes_before > 0
    assert (result.parameters > 20000) == (choice["method"] != "adakron")
