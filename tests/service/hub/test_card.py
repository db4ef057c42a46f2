"""The model card of an adapter."""

import re

import pytest
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt

from adapters import checkpoint
from adapters.adapter import Adapter, AdapterMetadata, GoldenExample
from adapters.config import BackboneIdentity, TaskType
from service.hub.card import ADAPTER_FILE, literal, make_card, stated_digest
from tests.support.factories import make_adapter, tiny_identity

NASTY = [
    "<img src=x onerror=alert(1)>",
    "| a |",
    "[a](javascript:alert)",
    "![a](http://b)",
    "`code`",
    "**bold** _it_ ~~no~~",
    "# head",
    "---",
    "&lt;b&gt; &#60;",
    "www.example.org http://example.org a@example.org @user",
    "\\| \\",
    "$x$ :smile: a_b",
    "{{ x }} {% y %}",
]


def with_metadata(adapter: Adapter, **changes: object) -> Adapter:
    values = dict(adapter.metadata) | changes
    return checkpoint.parse(checkpoint.serialize(AdapterMetadata.model_validate(values), adapter.tensors))


def rendered(card: str) -> str:
    return MarkdownIt("commonmark").enable("table").render(ModelCard(card).text)


@pytest.fixture(scope="module")
def trained() -> Adapter:
    """An adapter as the trainer writes it, with every part."""
    return with_metadata(
        make_adapter(temperature=1.5),
        training={
            "data": {"train": {"name": "tickets.csv", "rows": 900}, "validation": {"name": "glue/sst2:validation"}},
            "hyper_parameters": {"learning_rate": 0.0007, "pooling": None},
            "seed": 42,
        },
        metrics={"accuracy": 0.875, "ece": 0.02, "ece_uncalibrated": 0.04, "nll": 0.3, "nll_uncalibrated": 0.4},
        examples=(GoldenExample(inputs="a secret text", logits=(0.0, 1.0)),),
    )


def test_metadata_for_the_hub(trained: Adapter) -> None:
    """The front matter has the fields that the Hub reads: base model, library, tags, licence, and every metric."""
    data = ModelCard(make_card(trained, "tickets", "a/tickets", licence="mit")).data
    assert (data.library_name, data.pipeline_tag, data.license) == ("adakron", "text-classification", "mit")
    assert data.base_model == "tiny"
    assert {"adakron", "adapter", "bert", "single-label"} == set(data.tags)
    assert {result.metric_type: result.metric_value for result in data.eval_results} == trained.metadata.metrics
    assert {(result.dataset_type, result.dataset_name) for result in data.eval_results} == {
        ("glue/sst2", "glue/sst2:validation")
    }
    assert data["adakron"] == {"task": "tickets", "file": ADAPTER_FILE, "sha256": trained.digest}


def test_text_for_people(trained: Adapter) -> None:
    """The page has labels, metrics, calibration, training, use, and the requirements on the file."""
    page = rendered(make_card(trained, "tickets", "a/tickets"))
    for part in (
        "<td>negative</td>",
        "<td>accuracy</td>\n<td>0.8750</td>",
        "<td>ece</td>\n<td>0.0400</td>\n<td>0.0200</td>",
        "temperature 1.5",
        "<td>hyper_parameters.learning_rate</td>\n<td>0.0007</td>",
        "adakron pull a/tickets --task tickets",
        f"<td>{trained.digest}</td>",
        "0" * 64,
        "holds 1 texts of the validation data",
    ):
        assert part in page, part
    assert "a secret text" not in page
    assert "ece_uncalibrated" not in page


@pytest.mark.parametrize("type", ["multi_label", "regression"])
def test_other_tasks(type: TaskType) -> None:
    """A task without labels has no such section, a pair is shown as one, and a file without metrics has no table."""
    labels = () if type == "regression" else ("a",)
    page = rendered(make_card(make_adapter(type=type, labels=labels, pair=True), "stsb", "a/stsb"))
    assert ("<h2>Labels</h2>" in page) == bool(labels)
    assert "a pair of texts" in page
    assert "[[&quot;one text&quot;, &quot;another text&quot;]]" in page
    assert "<h2>Metrics</h2>" not in page
    assert "<h2>Calibration</h2>" not in page


def test_labels_are_shown_as_they_are() -> None:
    """HTML, Markdown and pipes in labels stay text: the table has one row for each label."""
    page = rendered(make_card(make_adapter(labels=NASTY), "nasty", "a/nasty"))
    cells = re.findall(r"<td>\d+</td>\n<td>(.*)</td>", page)
    escaped = [label.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") for label in NASTY]
    assert cells == escaped
    assert "<img" not in page
    assert page.count("<a ") == 1  # the paper


def test_names_of_files_are_shown_as_they_are() -> None:
    """The trainer's names and values stay text, in the front matter too."""
    training = {"data": {"validation": {"name": "x: |\n---\n<script>"}}, "<b>": ["|", {"a": "`"}], "long": "x" * 999}
    card = make_card(with_metadata(make_adapter(), training=training, metrics={"f1 | <i>": 1.0}), "t", "a/t")
    page = rendered(card)
    assert "<script>" not in page
    assert "<b>" not in page
    assert "<i>" not in page
    assert "x" * 201 not in page
    assert ModelCard(card).data.eval_results[0].dataset_name == "x: |\n---\n<script>"


def test_a_folder_is_not_a_base_model(tmp_path: object) -> None:
    """A backbone from a local folder has no name for the Hub."""
    identity = BackboneIdentity(**dict(tiny_identity()) | {"name": str(tmp_path)})
    assert ModelCard(make_card(make_adapter(identity=identity), "t", "a/t")).data.base_model is None


def test_the_digest_is_read_back() -> None:
    """`pull` finds the digest in the card, and none in a page of another kind."""
    assert stated_digest(make_card(make_adapter(), "t", "a/t")) == make_adapter().digest
    for other in ("", "# title", "---\nadakron: 1\n---\n", "---\nadakron: {sha256: 1}\n---\n", "---\n{\n---\n"):
        assert stated_digest(other) is None


def test_plain_words_stay_readable() -> None:
    """Characters that cannot begin markup are not escaped."""
    for text in ("not_equal", "train.jsonl", "2.13.0+cpu", "Müller, 48 = 4 x 12", "owner/name"):
        assert literal(text) == text
