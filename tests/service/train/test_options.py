"""The options of a training: each is declared once, and the command line has all of them."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

from service.train import pipeline
from service.train.command import Mode, app
from service.train.errors import TrainingError
from service.train.options import PARTS, FitOptions, TrainOptions

GROUPS = (TrainOptions, *PARTS.values(), Mode)


def test_each_option_is_declared_once() -> None:
    """No two groups have an option of the same name, and a field without a flag is a group itself."""
    counts = Counter(name for group in GROUPS for name in group.model_fields)
    assert set(counts.values()) == {1}
    assert {name for group in GROUPS for name in group.model_fields if name not in group.flags()} == set(PARTS)


def test_the_command_line_has_every_option() -> None:
    """The flags of `adakron train` are those of the declarations, with their help."""
    command = typer.main.get_command(app)
    shown = {item.opts[0]: item.help for item in command.params if item.param_type_name == "option"}
    declared = {
        "--" + (flag.name or name).replace("_", "-"): flag.help
        for group in GROUPS
        for name, (_, flag) in group.flags().items()
    }
    assert {name: text for name, text in shown.items() if name != "--help"} == declared
    assert all(text.endswith(".") for text in declared.values())


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("--validation b.csv --text-column t --pair-column p --label-column l", {"pair_column": "p"}),
        ("--label-columns a,b,a --drop-duplicates", {"label_columns": ("a", "b"), "drop_duplicates": True}),
        ("--label-names a,b --merge-spellings --encoding cp1252", {"label_names": ("a", "b"), "encoding": "cp1252"}),
        ("--type regression --method head --experts 2 --bottleneck 8 --q 2", {"type": "regression", "q": 2}),
        ("--layers 0,1 --pooling cls --init identity --recipe paper", {"initialisation": "identity", "layers": "0,1"}),
        ("--epochs 1 --patience 2 --learning-rate 0.5 --weight-decay 0 --batch-size 3", {"weight_decay": 0.0}),
        ("--dropout 0.5 --max-length 9 --truncation left --label-smoothing 0.5", {"truncation": "left"}),
        ("--class-weights balanced --metric f1 --evaluate-every 7 --seed 0", {"evaluate_every": 7, "seed": 0}),
        ("--mixed-precision bf16 --device cpu --backbone b", {"device": "cpu", "backbone": "b"}),
        ("--output o --resume --dtype float16", {"output": Path("o"), "resume": True, "overwrite": False}),
        ("--overwrite --url http://x --key k --no-activate", {"overwrite": True, "key": "k", "activate": False}),
        ("--registry sqlite:// --allow-incompatible", {"registry": "sqlite://", "allow_incompatible": True}),
    ],
)
def test_a_flag_sets_its_option(
    arguments: str, expected: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the command line to the training, options keep their values."""
    given: list[TrainOptions] = []
    monkeypatch.setattr(pipeline, "train", lambda options, console: given.append(options))
    monkeypatch.chdir(tmp_path)
    for name in ("a.csv", "b.csv"):
        Path(name).write_text("text,label\na,x\n")
    result = CliRunner().invoke(app, ["--task", "t", "--train", "a.csv", *arguments.split()])
    assert result.exit_code == 0, result.output
    (options,) = given
    flat = {name: value for part in PARTS for name, value in getattr(options, part)}
    words = dict(zip(arguments.split(), [*arguments.split()[1:], ""], strict=True))
    for flag, value in words.items():
        if flag.startswith("--") and value and not value.startswith("--"):
            name = "initialisation" if flag == "--init" else flag[2:].replace("-", "_")
            assert str(flat[name]) in (value, f"{value}.0", str(tuple(dict.fromkeys(value.split(",")))))
    assert flat.items() >= expected.items()


def test_the_default_folder_is_named_as_the_task() -> None:
    """Without --output, files go to runs/TASK."""
    assert TrainOptions.of(task="t", train="a.csv").folder == Path("runs/t")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epochs": 0}, "--epochs 0: it must be greater than 0"),
        ({"initialisation": "warm"}, "--init warm: it must be 'published', 'identity', 'scaled' or 'unit'"),
        ({"max_length": 3}, "--max-length 3: it must be greater than or equal to 4"),
        ({"seed": -1}, "--seed -1: it must be greater than or equal to 0"),
        ({"q": 0}, "--q 0: it must be greater than 0"),
    ],
)
def test_a_value_out_of_bounds_is_refused(values: dict[str, Any], message: str) -> None:
    """The message names the flag, the value and the bound, in one line."""
    with pytest.raises(TrainingError) as error:
        FitOptions(**values)
    assert str(error.value) == message
    with pytest.raises(TrainingError):
        TrainOptions.of(task="t", train="a.csv", **values)


def test_changed_options_are_checked_again() -> None:
    """A copy with a wrong value is refused like new options; the original stays as it is."""
    options = TrainOptions.of(task="t", train="a.csv", key="secret")
    assert options.change(seed=7, url="http://x").fit.seed == 7
    assert options.fit.seed == 42
    assert "secret" not in repr(options)
    with pytest.raises(TrainingError, match="--nowhere"):
        options.change(nowhere=1)
