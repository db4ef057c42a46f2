"""The effect of uploads on predictions: latency and throughput with and without files being checked all the time.

A server of its own with the shipped tasks; four clients predict one sentence at a time, each with a pause as long as an
answer takes. Windows alternate: no uploads, two good files a second (each a new version, made live), and twenty refused
ones a second.

    python -m benchmarks.serving.uploads

Writes benchmarks/results/uploads.json.
"""

import json
import multiprocessing
import statistics
import sys
import tempfile
import threading
import time
from datetime import date
from multiprocessing.connection import Connection
from pathlib import Path

import httpx

from benchmarks.adapters import SHIPPED, shipped_files
from benchmarks.report import RESULTS
from benchmarks.sentences import glue_inputs
from tests.support.processes import Server, server_process

CLIENTS, WINDOW_S, ROUNDS = 4, 8.0, 6
EVERY_S = {"good": 0.5, "refused": 0.05}


def predict_for(server: Server, seconds: float, pause_s: float) -> list[float]:
    """Latencies of CLIENTS clients, each with a pause between an answer and the next request."""
    sentences = [text for text in glue_inputs(500) if isinstance(text, str)]
    latencies: list[float] = []

    def run(number: int) -> None:
        with httpx.Client(base_url=server.url) as client:
            end, at = time.perf_counter() + seconds, number
            while time.perf_counter() < end:
                started = time.perf_counter()
                response = client.post("/v1/sst2/predict", json={"inputs": sentences[at % len(sentences)]})
                latencies.append(time.perf_counter() - started)
                assert response.status_code == 200
                at += CLIENTS
                time.sleep(pause_s)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return latencies


def upload(url: str, headers: dict[str, str], files: list[bytes], every_s: float, seconds: Connection) -> None:
    """Upload one file every `every_s` seconds; in a process of its own, whose work is not the server's."""
    taken = []
    with httpx.Client(base_url=url, headers=headers, timeout=60) as client:
        for data in files:
            started = time.perf_counter()
            client.post("/admin/v1/tasks/uploaded/versions", content=data)
            taken.append(time.perf_counter() - started)
            time.sleep(max(0.0, every_s - taken[-1]))
    seconds.send(taken)


def main() -> None:
    """Measure, print, write."""
    per_round = {"good": int(WINDOW_S / EVERY_S["good"]), "refused": int(WINDOW_S / EVERY_S["refused"])}
    good = shipped_files(per_round["good"] * ROUNDS)
    files = {"good": good, "refused": [SHIPPED.read_bytes()[:-1]] * (per_round["refused"] * ROUNDS)}
    latencies: dict[str, list[float]] = {name: [] for name in ("none", *files)}
    counts: dict[str, list[int]] = {name: [] for name in latencies}
    uploads: dict[str, list[float]] = {name: [] for name in latencies}
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder, server_process(Path(folder)) as server:
        headers = server.headers | {"Content-Type": "application/octet-stream"}
        alone = statistics.median(predict_for(server, WINDOW_S, pause_s=0))
        for round_number in range(ROUNDS):
            for name in latencies:
                if name in files:
                    first = round_number * per_round[name]
                    receiver, sender = context.Pipe(duplex=False)
                    some = files[name][first : first + per_round[name]]
                    uploader = context.Process(target=upload, args=(server.url, headers, some, EVERY_S[name], sender))
                    uploader.start()
                    time.sleep(1)  # it imports
                found = predict_for(server, WINDOW_S, pause_s=alone)
                if name in files:
                    uploads[name] += receiver.recv()
                    uploader.join()
                latencies[name] += found
                counts[name].append(len(found))
    result: dict[str, object] = {"date": date.today().isoformat(), "clients": CLIENTS, "rounds": ROUNDS}
    for name in latencies:
        percentiles = statistics.quantiles(latencies[name], n=100)
        result[name] = {
            "predictions_per_s": round(statistics.median(counts[name]) / WINDOW_S, 1),
            "p50_ms": round(percentiles[49] * 1000, 1),
            "p95_ms": round(percentiles[94] * 1000, 1),
            "p99_ms": round(percentiles[98] * 1000, 1),
            "uploads_per_s": round(1 / EVERY_S[name]) if name in files else 0,
            "upload_p50_ms": round(statistics.median(uploads[name]) * 1000, 1) if uploads[name] else None,
        }
    json.dump(result, sys.stdout, indent=2)
    (RESULTS / "uploads.json").write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
