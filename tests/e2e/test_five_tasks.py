"""The main job: one process, the default backbone, five tasks, real sentences."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.support.processes import Server

SENTENCES: list[tuple[str, Any, str]] = [
    ("sst2", "This film is a wonderful, moving and funny masterpiece.", "positive"),
    ("sst2", "A dull, lifeless mess that wastes two hours of your life.", "negative"),
    ("cola", "The boy gave the book to his sister.", "acceptable"),
    ("cola", "boy book the gave to his.", "unacceptable"),
    ("mrpc", ["The firm said profits rose 10 percent.", "Profits rose 10 percent, the firm said."], "equivalent"),
    (
        "mrpc",
        ["The company reported record sales on Monday.", "A storm closed schools across the northern counties."],
        "not_equivalent",
    ),
    ("rte", ["John Smith, who lives in Berlin, won the prize in 1998.", "John Smith won the prize."], "entailment"),
    (
        "rte",
        ["The company opened a new factory in Brazil.", "The president of France resigned."],
        "not_entailment",
    ),
]


def predict(server: Server, task: str, inputs: Any) -> dict[str, Any]:
    response = httpx.post(f"{server.url}/v1/{task}/predict", json={"inputs": inputs}, timeout=60)
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


def test_five_tasks_are_live(server: Server) -> None:
    """A fresh server answers for the five shipped tasks, each with its scores."""
    tasks = httpx.get(f"{server.url}/v1/tasks").json()["tasks"]
    assert [task["task"] for task in tasks] == ["cola", "mrpc", "rte", "sst2", "stsb"]
    assert all(task["metrics"] for task in tasks)


@pytest.mark.parametrize(("task", "text", "label"), SENTENCES)
def test_sentences_are_classified(server: Server, task: str, text: Any, label: str) -> None:
    """Each shipped classifier is right on sentences that stand in no data set."""
    inputs = [text] if isinstance(text, list) else text
    assert predict(server, task, inputs)["predictions"][0]["label"] == label


def test_similarity_orders_pairs(server: Server) -> None:
    """STS-B gives paraphrases a high value, unrelated sentences a low one, on its scale of 0 to 5."""
    pairs = [
        ["A man is playing a guitar on stage.", "A man plays the guitar on a stage."],
        ["A man is playing a guitar on stage.", "Someone is performing music."],
        ["A man is playing a guitar on stage.", "The stock market fell sharply."],
    ]
    same, related, unrelated = (item["value"] for item in predict(server, "stsb", pairs)["predictions"])
    assert 6 > same > 4 > related > unrelated
    assert unrelated < 1.5


def test_five_tasks_at_once(server: Server) -> None:
    """Asked together by many clients, each task answers exactly as it does alone."""
    asks = [(task, [text] if isinstance(text, list) else text) for task, text, _ in SENTENCES] * 6
    alone = [predict(server, *ask)["predictions"][0]["scores"] for ask in asks[: len(SENTENCES)]]
    with ThreadPoolExecutor(16) as pool:
        together = list(pool.map(lambda ask: predict(server, *ask)["predictions"][0]["scores"], asks))
    for index, scores in enumerate(together):
        assert scores == pytest.approx(alone[index % len(SENTENCES)], abs=1e-5)


def test_command_line(server: Server) -> None:
    """`adakron tasks` and `adakron predict` show what the server says."""
    listed = server.adakron("tasks")
    assert listed.returncode == 0, listed.stderr
    assert "sst2" in listed.stdout
    answered = server.adakron("predict", "sst2", "I loved every minute of it.")
    assert '"label": "positive"' in answered.stdout
    refused = server.adakron("predict", "sst", "text")
    assert refused.returncode == 2
    assert "did you mean sst2" in refused.stderr
