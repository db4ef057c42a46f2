"""A server process as a user starts it, with as many random adapters as a benchmark needs, and requests for it."""

import itertools
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from adapters.backbone.source import load_backbone
from adapters.config import BackboneIdentity
from benchmarks.adapters import random_file
from benchmarks.serving.load import predict_request
from service.publishing.checks import check_upload
from service.registry import Registry
from tests.support.processes import Server, server_process

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Serving:
    """A server with tasks of random adapters; it does nothing that it is not asked for."""

    server: Server
    identity: BackboneIdentity
    tasks: list[str]

    @property
    def port(self) -> int:
        """Return the port for predictions, on HOST."""
        return urlsplit(self.server.url).port or 80

    @property
    def rss_bytes(self) -> int:
        """Resident memory of the server and of the processes that it has started."""
        process = psutil.Process(self.server.process.pid)
        return sum(one.memory_info().rss for one in (process, *process.children(recursive=True)))

    def requests(self, texts: Sequence[str], headers: Mapping[str, str] | None = None) -> list[bytes]:
        """One text each, dealt out over the tasks."""
        tasks = itertools.cycle(self.tasks)
        return [predict_request(next(tasks), text, headers) for text in texts]


def task_name(number: int) -> str:
    """Return the name of the task with that number."""
    return f"task-{number:04}"


def publish_random(url: str, identity: BackboneIdentity, number: int) -> None:
    """Into the registry at `url`: a random adapter (float16) as the live version of each of `number` tasks."""
    with closing(Registry.open(url)) as registry:
        for task in range(number):
            registry.publish(task_name(task), check_upload(random_file(identity, seed=task)))


@contextmanager
def serving(num_tasks: int = 64, **settings: str) -> Iterator[Serving]:
    """A server with `num_tasks` tasks, live and loaded, with `settings` such as `adapter_memory_bytes="64MiB"`."""
    identity = load_backbone().identity
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        publish_random(f"sqlite:///{folder / 'registry.sqlite3'}", identity, num_tasks)
        with server_process(folder, **{"publish_shipped_adapters": "false", **settings}) as server:
            yield Serving(server, identity, [task_name(task) for task in range(num_tasks)])
