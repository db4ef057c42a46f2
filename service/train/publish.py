"""Hand a finished adapter file over: to a running server, or straight into its registry."""

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from adapters.errors import AdapterError
from service.client import Client, ClientError
from service.errors import Incompatible, ServiceError
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
    changes: tuple[str, ...] = ()  # in words, against the version that was live before


def publish(target: Target, task: str, data: bytes, path: Path) -> Publication | None:
    """Publish `data` as the next version of `task`; None where the target is nowhere.

    Raises PublishError, which says how to make up for it: the training is not lost.
    """
    activate, allowed = target.activate, target.allow_incompatible
    try:
        if target.url:
            with Client(target.url, target.key) as client:
                answer = client.upload(task, data, activate=activate, allow_incompatible=allowed)
            changes = answer["changes"] or {"breaking": (), "notes": ()}
            words = (*changes["breaking"], *changes["notes"])
            return Publication(task, int(answer["version"]), target.url, bool(answer["live"]), words)
        if target.registry:
            with closing(Registry.open(target.registry)) as registry:
                published = registry.publish(
                    task, data, activate=activate, allow_incompatible=allowed, actor="train", source="train"
                )
            found = published.changes
            words = () if found is None else (*found.breaking, *found.notes)
            return Publication(task, published.version.version, "the registry", activate, words)
    except (ServiceError, AdapterError) as error:
        if isinstance(error, Incompatible) or (isinstance(error, ClientError) and error.error_type == "incompatible"):
            raise PublishError(
                f"{path} is complete and published, but not live: {error}. The same command with --resume "
                "--allow-incompatible makes it live without training"
            ) from error
        raise PublishError(
            f"{path} is complete, but could not be published: {error}. The same command with --resume tries again "
            "without training"
        ) from error
    return None
