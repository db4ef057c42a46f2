"""Hand a finished adapter file over: to a running server, or straight into its registry."""

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from adapters.errors import AdapterError
from service import client, errors
from service.registry import Changes, Registry
from service.train.errors import PublishError
from service.train.options import Target

TIMEOUT_S = 60.0


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
            with client.AdaKronClient(target.url, target.key, timeout_s=TIMEOUT_S) as server:
                made = server.admin.upload(task, data, activate=activate, allow_incompatible=allowed)
            return Publication(task, made.version, target.url, made.live, _words(made.changes))
        if target.registry:
            with closing(Registry.open(target.registry)) as registry:
                published = registry.publish(
                    task, data, activate=activate, allow_incompatible=allowed, actor="train", source="train"
                )
            return Publication(task, published.version.version, "the registry", activate, _words(published.changes))
    except (client.Incompatible, errors.Incompatible) as error:
        raise PublishError(
            f"{path} is complete and published, but not live: {error}. The same command with --resume "
            "--allow-incompatible makes it live without training"
        ) from error
    except (client.AdaKronError, errors.ServiceError, AdapterError) as error:
        raise PublishError(
            f"{path} is complete, but could not be published: {error}. The same command with --resume tries again "
            "without training"
        ) from error
    return None


def _words(changes: client.Changes | Changes | None) -> tuple[str, ...]:
    return () if changes is None else (*changes.breaking, *changes.notes)
