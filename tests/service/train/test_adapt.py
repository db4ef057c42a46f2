"""Adapting one key of a gated file on a few rows."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from adapters import checkpoint
from adapters.backbone.source import LoadedBackbone
from adapters.config import GATE_KEYS, GATE_MEAN, GATE_TABLE
from adapters.errors import CheckpointError, GateKeyError
from adapters.gates import GatedAdapter
from adapters.serving.inference import predict_logits, to_gated_model
from adapters.serving.verification import verify
from service.train import adapt as adapting
from service.train.adapt import adapt, with_gate
from service.train.errors import TrainingError
from service.train.fit.batches import EncodedRows
from service.train.fit.targets import TargetCodec
from service.train.options import DataOptions
from tests.support.factories import make_adapter_bytes, make_gated, make_gated_bytes
from tests.support.training_data import write

pytestmark = pytest.mark.usefixtures("one_thread")
ROWS = [{"text": text, "label": label} for text, label in [("good film", "positive"), ("dull plot", "negative")] * 4]


def strong(loaded: LoadedBackbone, dtype: torch.dtype = torch.float32) -> GatedAdapter:
    """A gated file whose experts differ so much that its gates matter."""
    gated = make_gated(identity=loaded.identity)
    tensors = {name: 30 * tensor if ".down_" in name else tensor for name, tensor in gated.tensors.items()}
    gates = gated.gates
    own = {GATE_TABLE: gates.table, GATE_MEAN: gates.mean, GATE_KEYS: torch.from_numpy(gates.digests)}
    made = checkpoint.parse(checkpoint.serialize(gated.metadata, {**tensors, **own}, dtype))
    assert isinstance(made, GatedAdapter)
    return made


def file_of(gated: GatedAdapter) -> bytes:
    gates = gated.gates
    own = {GATE_TABLE: gates.table, GATE_MEAN: gates.mean, GATE_KEYS: torch.from_numpy(gates.digests)}
    return checkpoint.serialize(gated.metadata, {**gated.tensors, **own}, gates.table.dtype)


def rows_file(folder: Path, rows: Any = ROWS) -> DataOptions:
    return DataOptions(train=write(folder / "rows.jsonl", rows))


@pytest.mark.parametrize("user", ["u2", "carla"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_only_one_gate_changes(user: str, dtype: torch.dtype, tmp_path: Path, tiny: LoadedBackbone) -> None:
    """A known or a new key gets a gate that fits its rows better; all else stays, bit for bit; the file is valid."""
    before = strong(tiny, dtype)
    adapted = adapt(file_of(before), tiny, ("user", user), rows_file(tmp_path))
    after = checkpoint.parse(adapted.data, tiny.identity)
    assert isinstance(after, GatedAdapter)
    assert adapted.is_new == (user == "carla")
    assert adapted.num_rows == len(ROWS)
    assert adapted.loss[1] < adapted.loss[0]
    assert len(after.gates.digests) == 3 + adapted.is_new
    changed = after.gates.find(after.gates.config.digest(user))
    assert changed is not None
    for key in ("u1", "u2", "u3"):
        old, new = (gated.gates.find(gated.gates.config.digest(key)) for gated in (before, after))
        same = before.gates.table[old].equal(after.gates.table[new])
        assert same == (key != user)
    assert before.gates.mean.equal(after.gates.mean)
    assert all(tensor.equal(after.tensors[name]) for name, tensor in before.tensors.items())
    assert after.metadata.training == {"adapted_keys": 1}
    verify(tiny, after)
    again = adapt(adapted.data, tiny, ("user", user), rows_file(tmp_path))
    assert not again.is_new
    assert checkpoint.parse(again.data).metadata.training == {"adapted_keys": 2}


def test_the_loss_is_that_of_the_merged_adapter(tmp_path: Path, tiny: LoadedBackbone) -> None:
    """The reported loss and accuracy are those that the merged adapter of the key has on the rows."""
    gated = strong(tiny)
    adapted = adapt(file_of(gated), tiny, ("user", "carla"), rows_file(tmp_path))
    for which, at in enumerate((gated, checkpoint.parse(adapted.data))):
        assert isinstance(at, GatedAdapter)
        merged = at.merge(at.gates.find(at.gates.config.digest("carla")))
        logits = torch.from_numpy(predict_logits(tiny, merged, [row["text"] for row in ROWS]))
        labels = torch.tensor([merged.metadata.task.labels.index(row["label"]) for row in ROWS])
        expected = torch.nn.functional.cross_entropy(logits, labels).item()
        assert adapted.loss[which] == pytest.approx(expected, rel=1e-3)
        share = (logits.argmax(1) == labels).float().mean().item()
        assert adapted.scores[which] == pytest.approx(share)


def test_the_penalty_keeps_few_rows_near_the_start(tiny: LoadedBackbone, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stronger penalty, the gate stays nearer to its start."""
    gated = strong(tiny)
    model, codec = to_gated_model(tiny, gated), TargetCodec("single_label", 2)
    encodings = tiny.encoder.encode_for(gated.metadata.task, [row["text"] for row in ROWS])
    rows = EncodedRows(encodings, codec.encode([0, 1] * 4))
    moved = []
    for strength in (0.0, 0.05, 100.0):
        monkeypatch.setattr(adapting, "STRENGTH", strength)
        gate = adapting.fit_gate(model, gated.gates.mean, rows, codec)
        assert torch.allclose(gate.sum(-1), torch.ones(2))
        moved.append((gate - gated.gates.mean).abs().max().item())
    assert moved[2] < 0.05 < moved[1] <= moved[0] + 0.05


def test_gates_are_inserted_in_order(tiny: LoadedBackbone) -> None:
    """The digests stay in ascending order wherever the new one falls."""
    gated = make_gated()
    gate = torch.full((2, 4), 0.25)
    for digest in (bytes(16), b"\x80" + bytes(15), b"\xff" * 16, gated.gates.digests[1].tobytes()):
        made = with_gate(gated, digest, gate)
        rows = [row.tobytes() for row in made.gates.digests]
        assert rows == sorted({digest, *(row.tobytes() for row in gated.gates.digests)})
        found = made.gates.find(digest)
        assert found is not None
        assert made.gates.table[found].equal(gate)
        for row, own in zip(gated.gates.digests, gated.gates.table, strict=True):
            place = made.gates.find(row.tobytes())
            assert row.tobytes() == digest or made.gates.table[place].equal(own)


@pytest.mark.parametrize(
    ("key", "rows", "message"),
    [
        (("lang", "de"), ROWS, "the gates of the task are by user, not by lang"),
        (("user", "u1"), [{"text": "a", "label": "neutral"}], "label 'neutral' never occurs"),
        (("user", "u1"), [{"text": "", "label": "positive"}], "text is empty"),
        (("user", "u1"), [{"premise": "a", "hypothesis": "b", "label": "positive"}], "the task takes single texts"),
        (("user", "u1"), ROWS * 200, "1,600 rows; a gate is fitted on at most 1,000"),
    ],
)
def test_other_rows_are_refused(
    key: tuple[str, str], rows: Any, message: str, tmp_path: Path, tiny: LoadedBackbone
) -> None:
    """Rows of another task, too many rows, and another field than that of the gates end with one line."""
    with pytest.raises(TrainingError) as caught:
        adapt(make_gated_bytes(identity=tiny.identity), tiny, key, rows_file(tmp_path, rows))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_files_and_keys_are_refused(tmp_path: Path, tiny: LoadedBackbone) -> None:
    """A plain file, a file of another backbone, a key that is too long, and one key more than a file can hold."""
    rows = rows_file(tmp_path)
    with pytest.raises(TrainingError, match="no gates"):
        adapt(make_adapter_bytes(identity=tiny.identity), tiny, ("user", "u1"), rows)
    with pytest.raises(CheckpointError, match="made for backbone"):
        adapt(make_gated_bytes(), tiny, ("user", "u1"), rows)
    with pytest.raises(GateKeyError, match="10240 bytes"):
        adapt(make_gated_bytes(identity=tiny.identity), tiny, ("user", "k" * 10_240), rows)


def test_a_full_file_takes_no_new_key(tmp_path: Path, tiny: LoadedBackbone, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the limit a known key can be adapted, and a new one is refused."""
    monkeypatch.setattr(adapting, "MAX_KEYS", 3)
    data, rows = make_gated_bytes(identity=tiny.identity), rows_file(tmp_path)
    assert not adapt(data, tiny, ("user", "u1"), rows).is_new
    with pytest.raises(TrainingError, match="gates for 3 keys, the most"):
        adapt(data, tiny, ("user", "carla"), rows)


def test_one_class_is_enough(tmp_path: Path, tiny: LoadedBackbone) -> None:
    """A user whose few rows have one label is adapted, too; whole numbers and cases are read as in training."""
    rows = rows_file(tmp_path, [{"text": "good film", "label": "positive"}] * 5)
    adapted = adapt(file_of(strong(tiny)), tiny, ("user", "carla"), rows)
    assert np.isfinite(adapted.loss).all()
    assert adapted.loss[1] < adapted.loss[0]
