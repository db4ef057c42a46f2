"""From a CSV to a live task: train, push, predict, roll back, with the commands of the README."""

import csv
import random
import time
from pathlib import Path

import httpx

from tests.support.processes import Server

TOPICS = {
    "billing": ("invoice", "refund", "charged twice", "credit card", "payment", "subscription price"),
    "delivery": ("parcel", "courier", "shipment", "tracking number", "arrived late", "delivery address"),
    "technical": (
        "app crashes",
        "error message",
        "cannot log in",
        "password reset",
        "screen is black",
        "update failed",
    ),
}
FRAMES = (
    "Hello, I have a question about the {}.",
    "My problem: {} since yesterday.",
    "Please help me with the {}, it is urgent!",
    "Why is there something wrong with the {}?",
    "I wrote to you last week about the {} and nobody answered.",
)


def write_tickets(path: Path, number: int) -> None:
    """A CSV of made-up support tickets with their team."""
    generator = random.Random(0)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        for _ in range(number):
            label = generator.choice(list(TOPICS))
            writer.writerow([generator.choice(FRAMES).format(generator.choice(TOPICS[label])), label])


def test_csv_to_live_task(server: Server, tmp_path: Path) -> None:
    """A classifier trained on a 500-row CSV answers within a second of its push, and right."""
    write_tickets(tmp_path / "tickets.csv", 500)
    trained = server.adakron(
        "train", "--task", "tickets", "--train", str(tmp_path / "tickets.csv"), "--epochs", "2",
        "--output", str(tmp_path / "run"),
    )  # fmt: skip
    assert trained.returncode == 0, trained.stderr
    pushed = server.adakron("push", "tickets", str(tmp_path / "run" / "adapter.safetensors"))
    assert pushed.returncode == 0, pushed.stderr
    published = time.monotonic()
    body = {
        "inputs": ["The courier lost my shipment.", "I was charged twice.", "The app crashes with an error message."]
    }
    response = httpx.post(f"{server.url}/v1/tickets/predict", json=body)
    assert time.monotonic() - published < 1
    labels = [prediction["label"] for prediction in response.json()["predictions"]]
    assert labels == ["delivery", "billing", "technical"]

    again = server.adakron("push", "tickets", str(tmp_path / "run" / "adapter.safetensors"))
    assert "tickets@1 is live" in again.stdout
    inspected = server.adakron("inspect", str(tmp_path / "run" / "adapter.safetensors"))
    assert "billing, delivery, technical" in inspected.stdout


def test_activate_and_roll_back(server: Server) -> None:
    """`adakron activate` and `adakron rollback` move the live version; to other labels only where that is allowed."""
    source = server.folder / "sst2.safetensors"
    headers = {"Authorization": f"Bearer {server.key}"}
    url = f"{server.url}/admin/v1/tasks/sst2/versions/1/adapter"
    source.write_bytes(httpx.get(url, headers=headers).content)
    cola = httpx.get(url.replace("sst2", "cola"), headers=headers).content
    (server.folder / "cola.safetensors").write_bytes(cola)
    server.adakron("push", "demo", str(source))
    refused = server.adakron("push", "demo", str(server.folder / "cola.safetensors"))
    assert refused.returncode == 2
    assert "demo@2 is published but not live" in refused.stderr
    allowed = "--allow-incompatible"
    assert "live is version 2" in server.adakron("activate", "demo", "2", allowed).stdout
    assert "would break the clients" in server.adakron("rollback", "demo").stderr
    assert "live is version 1" in server.adakron("rollback", "demo", allowed).stdout
