"""The peers: how each is started, tuned, asked and read."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from adapters.backbone.files import locate
from adapters.config import DEFAULT_BACKBONE
from benchmarks.peers.contestant import TOLERANCE, TOLERANCE_16_BITS, Asked, Contestant, Running
from benchmarks.peers.environments import ENVIRONMENTS, PEERS, python_of, versions
from benchmarks.peers.processes import peer_process
from benchmarks.peers.shared.served import NUM_TASKS, TASKS
from benchmarks.peers.shared.settings import PeerSettings
from benchmarks.serving.load import http_request

PROBE = "a probe"
SAVED = ENVIRONMENTS / "infinity" / "model"


@dataclass(frozen=True)
class Peer:
    """One peer: its server, settings and requests."""

    title: str
    settings: PeerSettings
    packages: tuple[str, ...]  # whose versions are worth a word
    request: Callable[[PeerSettings, str, str], bytes]
    read: Callable[[Any], tuple[str, float]]
    num_tasks: int = NUM_TASKS
    command: Callable[[PeerSettings], list[str]] = lambda settings: ["server.py"]  # after the interpreter
    direct: str = "direct.py"
    environment: dict[str, str] = field(default_factory=dict)
    prepare: str | None = None  # a script that runs once, before
    others: tuple[dict[str, Any], ...] = ()  # what was tried and lost: changes to `settings`
    dtypes: tuple[str, ...] = ("float32",)  # that are compared


def _json(path: str, body: object, headers: dict[str, str] | None = None) -> bytes:
    return http_request(path, json.dumps(body).encode(), headers)


def _answer(found: Any) -> tuple[str, float]:
    return found["label"], found["score"]


def _of_ray(settings: PeerSettings, task: str, text: str) -> bytes:
    """Make a request with the header for multiplexing, or without it if tasks may share a batch."""
    headers = {} if settings.variant == "mixed" else {"serve_multiplexed_model_id": task}
    return _json("/", {"task": task, "text": text}, headers)


def _of_infinity(found: Any) -> tuple[str, float]:
    best = max(found["data"][0], key=lambda item: item["score"])
    return best["label"], best["score"]


def _infinity(settings: PeerSettings) -> list[str]:
    options = ["--model-id", str(SAVED), "--served-model-name", "single"]
    options += ["--host", "127.0.0.1", "--port", str(settings.port), "--device", "cpu", "--dtype", "float32"]
    options += ["--batch-size", str(settings.max_batch), "--no-vector-disk-cache", "--log-level", "warning"]
    options += ["--no-compile", f"--{settings.variant or 'no-bettertransformer'}", "--no-lengths-via-tokenize"]
    return ["-c", "from infinity_emb.cli import cli; cli()", "v2", *options]


PEERS_BY_NAME = {
    "litserve": Peer(
        title="LitServe, PEFT LoRA, mixed batches",
        settings=PeerSettings(num_workers=2, max_batch=32, batch_wait_s=0.005),
        others=(
            {"num_workers": 1, "max_batch": 64},
            {"num_workers": 1, "max_batch": 64, "num_threads": 2, "batch_wait_s": 0.01},
            {"variant": "fast_queue"},
        ),
        dtypes=("float32", "bfloat16"),
        packages=("litserve", "peft", "transformers", "torch"),
        request=lambda settings, task, text: _json("/predict", {"task": task, "text": text}),
        read=_answer,
        direct="../shared/lora_direct.py",
    ),
    "ray_serve": Peer(
        title="Ray Serve, PEFT LoRA",
        settings=PeerSettings(num_workers=2, max_batch=32, batch_wait_s=0.02, variant="mixed"),
        others=({"num_workers": 1, "max_batch": 64}, {"num_workers": 1, "max_batch": 64, "variant": ""}),
        packages=("ray", "peft", "transformers", "torch"),
        request=_of_ray,
        read=_answer,
        direct="../shared/lora_direct.py",
        environment={
            "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",  # 5 by default: too short where all imports share 2 cores
        },
    ),
    "adapterhub": Peer(
        title="FastAPI, AdapterHub BatchSplit",
        settings=PeerSettings(num_workers=2, max_batch=32),
        others=({"num_workers": 1, "max_batch": 64}, {"num_workers": 1, "num_threads": 2}, {"padded_rows": 32}),
        dtypes=("float32", "bfloat16"),
        packages=("adapters", "fastapi", "uvicorn", "transformers", "torch"),
        request=lambda settings, task, text: _json("/predict", {"task": task, "text": text}),
        read=_answer,
    ),
    "bentoml": Peer(
        title="BentoML, one full model a task",
        settings=PeerSettings(num_workers=2, max_batch=32),
        others=({"num_workers": 1, "max_batch": 64}, {"num_workers": 1, "max_batch": 64, "num_threads": 2}),
        packages=("bentoml", "transformers", "torch"),
        request=lambda settings, task, text: _json("/predict", {"inputs": [{"task": task, "text": text}]}),
        read=lambda found: _answer(found[0]),
        command=lambda settings: [
            *("-m", "bentoml", "serve", "server:FullModels"),
            *("--host", "127.0.0.1", "--port", str(settings.port)),
        ],
        environment={"BENTOML_DO_NOT_TRACK": "1"},
    ),
    "infinity": Peer(
        title="infinity-emb, one fixed model",
        settings=PeerSettings(num_threads=2),
        others=({"num_threads": 1}, {"max_batch": 16}),
        packages=("infinity_emb", "transformers", "torch"),
        request=lambda settings, task, text: _json("/classify", {"model": "single", "input": [text]}),
        read=_of_infinity,
        num_tasks=1,
        command=_infinity,
        prepare="prepare.py",
        environment={"PEER_MODEL_SAVED": str(SAVED), "DO_NOT_TRACK": "1"},
    ),
}


def peer_contestant(name: str, settings: PeerSettings | None = None) -> Contestant:
    """The peer `name`, tuned as in the catalogue or with `settings`."""
    peer = PEERS_BY_NAME[name]
    tuned = settings or peer.settings

    def start() -> AbstractContextManager[Running]:
        if peer.prepare is not None:
            subprocess.run([python_of(name), peer.prepare], cwd=PEERS / name, env=_environment(peer, tuned), check=True)
        return peer_process(
            lambda port: [python_of(name), *peer.command(replace(tuned, port=port))],
            lambda port: _environment(peer, replace(tuned, port=port)),
            PEERS / name,
            peer.request(tuned, TASKS[0], PROBE),
        )

    def direct(asked: Sequence[Asked]) -> list[list[float]]:
        told = json.dumps([[TASKS[task], text] for task, text in asked])
        command = [python_of(name), peer.direct]
        done = subprocess.run(
            command, cwd=PEERS / name, env=_environment(peer, tuned), input=told, stdout=subprocess.PIPE, text=True
        )
        if done.returncode:
            sys.exit(f"{name}: {peer.direct} failed")
        found: list[list[float]] = json.loads(done.stdout)
        return found

    is_float32 = tuned.dtype == "float32"
    return Contestant(
        name=name if is_float32 else f"{name} {tuned.dtype}",
        title=peer.title if is_float32 else f"{peer.title}, {tuned.dtype}",
        tolerance=TOLERANCE if is_float32 else TOLERANCE_16_BITS,
        num_tasks=peer.num_tasks,
        settings={key: value for key, value in asdict(tuned).items() if key != "port"},
        start=start,
        request=lambda task, text: peer.request(tuned, TASKS[task], text),
        read=peer.read,
        direct=direct,
        versions=lambda: {key: value for key, value in versions(name).items() if key in peer.packages},
    )


def compared(name: str) -> list[Contestant]:
    """The peer `name`, once for each of its types."""
    peer = PEERS_BY_NAME[name]
    return [peer_contestant(name, replace(peer.settings, dtype=dtype)) for dtype in peer.dtypes]


def trials(name: str) -> list[Contestant]:
    """The peer `name` with its settings, and with each of those that lost."""
    peer = PEERS_BY_NAME[name]
    tried = [peer.settings, *(replace(peer.settings, **change) for change in peer.others)]
    return [replace(peer_contestant(name, settings), name=f"{name} {number}") for number, settings in enumerate(tried)]


def _environment(peer: Peer, settings: PeerSettings) -> dict[str, str]:
    """Nothing of this project on the path: AdapterHub's distribution is called `adapters`, too."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return kept | {
        "PYTHONPATH": str(PEERS / "shared"),
        "PEER_MODEL": str(locate(DEFAULT_BACKBONE)),
        "PEER_SETTINGS": json.dumps(asdict(settings)),
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "TRANSFORMERS_VERBOSITY": "error",
        "OMP_NUM_THREADS": str(settings.num_threads),
        **peer.environment,
    }
