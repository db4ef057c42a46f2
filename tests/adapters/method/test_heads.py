"""Pooling and the decoding of logits."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from transformers import BertModel

from adapters.backbone.source import LoadedBackbone
from adapters.config import MAX_TEMPERATURE, MIN_TEMPERATURE, TaskSpec
from adapters.method.heads import MultiLabelOutput, RegressionOutput, SingleLabelOutput, decode, to_probabilities
from adapters.serving.inference import predict_logits
from tests.support.factories import make_adapter
from tests.support.reference import reference_logits


def task(type: str, *labels: str) -> TaskSpec:
    return TaskSpec(type=type, labels=labels, pair=False, pooling="mean", max_length=64)  # type: ignore[arg-type]


@pytest.mark.parametrize("pooling", ["cls", "mean", "pooler"])
def test_logits_equal_the_reference(tiny: LoadedBackbone, pooling: str) -> None:
    """Under each pooling the logits are those of BertModel, the equation and a head written out."""
    bert = BertModel.from_pretrained(tiny.identity.name).eval()
    adapter = make_adapter(identity=tiny.identity, pooling=pooling)
    texts = ["a good film", "the plot is dull and the actor is bad", "?"]
    got = predict_logits(tiny, adapter, texts, max_tokens=8)
    for text, logits in zip(texts, got, strict=True):
        (encoding,) = tiny.encoder.encode([text], max_length=64)
        assert np.abs(logits - reference_logits(bert, encoding, adapter)).max() < 1e-5


def test_single_label() -> None:
    """Softmax over the labels, the best one named; raw scores are the logits, and choose the same label."""
    logits = np.array([[1.0, 3.0, 2.0]])
    (output,) = decode(logits, task("single_label", "a", "b", "c"))
    assert isinstance(output, SingleLabelOutput)
    assert output.label == "b"
    assert output.score == output.scores["b"] == pytest.approx(0.665241, abs=1e-6)
    assert sum(output.scores.values()) == pytest.approx(1)
    (raw,) = decode(logits, task("single_label", "a", "b", "c"), raw_scores=True)
    assert raw == SingleLabelOutput("b", 3.0, {"a": 1.0, "b": 3.0, "c": 2.0})


def test_multi_label() -> None:
    """Each label has its own sigmoid, and those of one half and more are named: none, some or all of them."""
    some, none = decode(np.array([[0.0, -2.0, 5.0], [-1.0, -2.0, -3.0]]), task("multi_label", "x", "y", "z"))
    assert isinstance(some, MultiLabelOutput)
    assert isinstance(none, MultiLabelOutput)
    assert some.labels == ("x", "z")
    assert some.scores["z"] == pytest.approx(1 / (1 + np.exp(-5)))
    assert none.labels == ()


def test_multi_label_threshold_holds_for_raw_scores() -> None:
    """Raw scores show logits but choose by probability."""
    (output,) = decode(np.array([[0.4, -0.4]]), task("multi_label", "x", "y"), raw_scores=True)
    assert output == MultiLabelOutput(("x",), {"x": 0.4, "y": -0.4})


def test_temperature_divides_the_logits() -> None:
    """Under temperature 2 the scores are those of half the logits; raw scores stay the logits."""
    logits = np.array([[2.0, -1.0, 0.5]])
    for kind in ("single_label", "multi_label"):
        plain = task(kind, "a", "b", "c")
        warm = plain.model_copy(update={"temperature": 2.0})
        (output,), (half,) = decode(logits, warm), decode(logits / 2, plain)
        assert output == half != decode(logits, plain)[0]
        assert decode(logits, warm, raw_scores=True) == decode(logits, plain, raw_scores=True)


@given(arrays(np.float32, (4, 3), elements=st.floats(-1e4, 1e4, width=32)), st.floats(MIN_TEMPERATURE, MAX_TEMPERATURE))
def test_no_temperature_changes_the_labels(logits: np.ndarray, temperature: float) -> None:
    """Neither the best label nor the labels of one half and more, however small the difference between two logits."""
    for kind in ("single_label", "multi_label"):
        plain = task(kind, "a", "b", "c")
        warm = plain.model_copy(update={"temperature": temperature})
        for output, other in zip(decode(logits, plain), decode(logits, warm), strict=True):
            if isinstance(output, SingleLabelOutput) and isinstance(other, SingleLabelOutput):
                assert output.label == other.label
                assert other.score == max(other.scores.values())
            else:
                assert isinstance(output, MultiLabelOutput)
                assert isinstance(other, MultiLabelOutput)
                assert output.labels == other.labels
            assert np.isfinite(list(other.scores.values())).all()


def test_regression() -> None:
    """The value is the logit itself."""
    assert decode(np.array([[4.25]]), task("regression")) == [RegressionOutput(4.25)]


def test_extreme_logits_do_not_overflow() -> None:
    """Logits of thousands give probabilities of 0 and 1, without a warning."""
    (single,) = decode(np.array([[-9e3, 9e3]]), task("single_label", "a", "b"))
    (multi,) = decode(np.array([[-9e3, 9e3]]), task("multi_label", "a", "b"))
    assert single.scores == multi.scores == {"a": 0.0, "b": 1.0}  # type: ignore[union-attr]


def test_segment_mean_has_a_gradient() -> None:
    """Mean pooling is differentiable: each token of a text of n gets 1/n."""
    hidden = torch.randn(5, 4, requires_grad=True)
    torch.segment_reduce(hidden, "mean", lengths=torch.tensor([2, 3]), axis=0).sum().backward()
    assert hidden.grad is not None
    assert torch.allclose(hidden.grad[:, 0], torch.tensor([0.5, 0.5, 1 / 3, 1 / 3, 1 / 3]))


@pytest.mark.parametrize("kind", ["single_label", "multi_label"])
@given(
    logits=st.integers(2, 12).flatmap(
        lambda width: arrays(np.float32, (3, width), elements=st.floats(-1e4, 1e4, width=32))
    ),
    temperature=st.floats(MIN_TEMPERATURE, MAX_TEMPERATURE),
)
def test_outputs_of_few_and_of_many_labels_are_those_of_numpy(
    kind: str, logits: np.ndarray, temperature: float
) -> None:
    """Labels, and probabilities but for the last bits, are those that numpy computes for all inputs at once."""
    labels = [f"label {number}" for number in range(logits.shape[1])]
    spec = task(kind, *labels).model_copy(update={"temperature": temperature})
    expected = to_probabilities(logits.astype(np.float64) / temperature, spec.type)
    for output, chances, row in zip(decode(logits, spec), expected, logits, strict=True):
        assert not isinstance(output, RegressionOutput)
        assert list(output.scores) == labels
        assert np.allclose(list(output.scores.values()), chances, rtol=1e-13, atol=1e-15)
        if isinstance(output, SingleLabelOutput):
            assert output.label == labels[int(row.argmax())]
            assert output.score == output.scores[output.label]
        else:
            assert output.labels == tuple(labels[index] for index in np.flatnonzero(row >= 0))


@pytest.mark.parametrize("kind", ["single_label", "multi_label"])
def test_logits_that_are_not_finite_do_not_fail(kind: str) -> None:
    """Their probabilities are numpy's, with NaN where there is no other value."""
    logits = np.array([[np.inf, 0.0], [np.nan, 1.0], [-np.inf, 2.0]], dtype=np.float32)
    with np.errstate(invalid="ignore"):
        outputs = decode(logits, task(kind, "a", "b"))
        expected = to_probabilities(logits, outputs[0].type)  # type: ignore[arg-type]
    found = [list(output.scores.values()) for output in outputs if not isinstance(output, RegressionOutput)]
    assert np.array_equal(found, expected, equal_nan=True)
