"""The cost of the access log: two servers side by side, one of which logs every request, asked in turns.

    ADAKRON_GLUE_DIR=... python -m benchmarks.serving.access_log [--seconds 5] [--rounds 9]

Writes benchmarks/results/access_log.json.
"""

import argparse

import numpy as np
import psutil

from benchmarks.report import report
from benchmarks.sentences import single_texts
from benchmarks.serving.http_cost import Contestant
from benchmarks.serving.server import serving

CLIENTS = 8
LOGS = {
    "off": {},
    "text": {"access_log": "true"},
    "json": {"access_log": "true", "log_format": "json"},
}


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=9)
    given = parser.parse_args()
    texts = single_texts(640)
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in LOGS}
    with serving(64, **LOGS["off"]) as off, serving(64, **LOGS["text"]) as text, serving(64, **LOGS["json"]) as json:
        requests = off.requests(texts)
        servers = {
            name: Contestant(name, psutil.Process(one.server.process.pid), one.port)
            for name, one in zip(LOGS, (off, text, json), strict=True)
        }
        for server in servers.values():
            server.measure(requests, 2, CLIENTS)
        for number in range(given.rounds):
            names = list(LOGS)[number % len(LOGS) :] + list(LOGS)[: number % len(LOGS)]
            for name in names:
                found[name].append(servers[name].measure(requests, given.seconds, CLIENTS)[:3])
    every = {name: np.array(values) for name, values in found.items()}  # [rounds, 3]
    rows: list[dict[str, object]] = [
        {
            "access log": name,
            "requests/s": float(np.median(values[:, 0])),
            "p50 ms": float(np.median(values[:, 1])),
            "HTTP process us/request": float(np.median(values[:, 2])),
            "requests/s over off": float(np.median(values[:, 0] / every["off"][:, 0])),
            "HTTP process over off": float(np.median(values[:, 2] / every["off"][:, 2])),
        }
        for name, values in every.items()
    ]
    report("access_log", {"clients": CLIENTS, "seconds": given.seconds, "rounds": given.rounds}, rows, [])


if __name__ == "__main__":
    main()
