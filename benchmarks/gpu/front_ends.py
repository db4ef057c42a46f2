"""Requests a second through HTTP: a server with many front ends, one text a request and 32, few tasks and 4,096.

Load from several processes in a closed loop. Every task is asked once beforehand, so that its adapter is loaded.
"""

from contextlib import closing

import numpy as np

from adapters.backbone.files import find_backbone
from benchmarks.gpu.findings import Recorder
from benchmarks.gpu.load import describe_refusals, join, load_all, predict_requests, start_loads
from benchmarks.gpu.scale import Scale, Surroundings, front_end_settings
from benchmarks.gpu.texts import random_sentences
from benchmarks.report import Target
from benchmarks.serving.server import publish_random, task_name
from service.registry import Registry
from tests.support.processes import server_process

WANTED_PER_S = 20_000
NUM_TEXTS = 4096
TEXTS_A_REQUEST = (1, 32)


def publish(surroundings: Surroundings, record: Recorder) -> None:
    """Publish random adapters for all tasks of the servers' registry; a step of its own, because two steps need it."""
    surroundings.data_folder.mkdir(parents=True, exist_ok=True)
    url = f"sqlite:///{surroundings.data_folder / 'registry.sqlite3'}"
    num_tasks = surroundings.scale.num_tasks
    publish_random(url, find_backbone(surroundings.backbone).identity, num_tasks)
    with closing(Registry.open(url)) as registry:
        num_published = len(registry.snapshot().tasks)
    record.target(Target("tasks published", num_published, "at least", num_tasks), required=True)


def run(surroundings: Surroundings, record: Recorder) -> None:
    """Measure each number of front ends."""
    scale = surroundings.scale
    source = find_backbone(surroundings.backbone)
    texts = random_sentences(source, NUM_TEXTS)
    num_tokens = np.array([len(one) for one in source.encoder.encode(texts, max_length=128)])
    numbers = scale.front_ends if front_end_settings(1) else (1,)
    if numbers == (1,):
        record.note("The service has one HTTP process: it lacks the setting http_workers.")
    best = not_200 = 0.0
    for number in numbers:
        with server_process(
            surroundings.data_folder, **surroundings.server_settings, **front_end_settings(number)
        ) as server:
            port = int(server.url.rpartition(":")[2])
            num_loaded = 0
            for num_tasks, texts_a_request in cases(scale, number == numbers[-1]):
                tasks = [task_name(task) for task in range(num_tasks)]
                if num_tasks > num_loaded:
                    load_all(port, tasks, scale.load_processes, scale.seconds / 2)
                    num_loaded = num_tasks
                asked = [tasks[place % num_tasks] for place in range(max(num_tasks, NUM_TEXTS // texts_a_request))]
                clients = max(scale.load_processes, scale.clients // texts_a_request)
                requests = predict_requests(asked, texts, texts_a_request)
                found = join(
                    start_loads(port, requests, clients, scale.load_processes, scale.seconds, scale.seconds / 4)
                )
                rate, failed = found.throughput(), len(found) - len(found.of(200))
                not_200 += failed
                best = max(best, rate if texts_a_request == 1 else 0.0)
                if failed:
                    record.note(describe_refusals(found))
                record.row(
                    front_ends=number,
                    tasks=num_tasks,
                    texts_a_request=texts_a_request,
                    clients=clients,
                    requests_s=rate,
                    tokens_s=rate * texts_a_request * float(num_tokens.mean()),
                    p50_ms=found.percentile_ms(50),
                    p99_ms=found.percentile_ms(99),
                    not_200=failed,
                    load_us=1e6 * found.cpu_s / len(found) if len(found) else None,
                )
    record.target(Target("requests a second through HTTP, one text each", best, "at least", WANTED_PER_S))
    record.target(Target("requests not answered with 200", not_200, "at most", 0), required=True)


def cases(scale: Scale, is_last: bool) -> list[tuple[int, int]]:
    """Return (tasks, texts a request); all tasks only with the last number of front ends, because they take a while."""
    few = [(scale.few_tasks, texts) for texts in TEXTS_A_REQUEST]
    return [*few, (scale.num_tasks, 1)] if is_last else few
