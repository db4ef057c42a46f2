"""Hand a finished adapter file over: to a running server, or straight into its registry."""

from dataclasses import dataclass
from pathlib import Path

from adapters.errors import AdapterError
from service.client import Client, ClientError
from service.errors import ServiceError
from service.registry import Registry
from service.train.errors import PublishError
from service.train.options import Target


@dataclass(frozen=True)
class Publication:
    """The version that the adapter became."""

    task: str
    version: int
    where: str  # for people: holds no password
    activated: bool


def publish(target: Target, task: str, data: bytes, path: Path) -> Publication | None:
    """Publish `data` as the next version of `task`; None where the target is nowhere.

    Raises PublishError, which says how to make up for it: the training is not lost.
    """
    try:
        if target.url:
            with Client(target.url, target.key) as client:
                answer = client.upload(task, data, activate=target.activate)
            return Publication(task, int(answer["version"]), target.url, target.activate)
        if target.registry:
            registry = Registry.open(target.registry)
            try:
                version, _ = registry.publish(task, data, activate=target.activate, actor="train", source="train")
            finally:
                registry.close()
            return Publication(task, version.version, "the registry", target.activate)
    except (ClientError, ServiceError, AdapterError) as error:
        raise PublishError(
            f"{path} is complete, but could not be published: {error}. The same command with --resume tries again "
            "without training"
        ) from error
    return None
