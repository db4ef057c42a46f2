"""Publish a finished adapter file: to a running server, or directly into its registry."""

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from adapters.errors import AdapterError
from service import client, errors
from service.publishing.checks import check_upload
from service.registry import Changes, Registry
from service.train.errors import PublishError
from service.train.options import PublishOptions

TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Publication:
    """The version that the adapter became."""

    task: str
    version: int
    where: str  # the server's address, without a password
    activated: bool  # live at once
    changes: tuple[str, ...] = ()  # in words, compared with the version that was live before


def publish(options: PublishOptions, task: str, data: bytes, path: Path) -> Publication | None:
    """Publish `data` as the next version of `task`; returns None if the options name no server and no registry.

    Raises PublishError with the command that publishes the finished training again.
    """
    activate, allowed = options.activate, options.allow_incompatible
    try:
        if options.url:
            with client.AdaKronClient(options.url, options.key, timeout_s=TIMEOUT_S) as server:
                made = server.admin.upload(task, data, activate=activate, allow_incompatible=allowed)
            return Publication(task, made.version, options.url, made.live, _words(made.changes))
        if options.registry:
            with closing(Registry.open(options.registry)) as registry:
                published = registry.publish(
                    task,
                    check_upload(data),
                    activate=activate,
                    allow_incompatible=allowed,
                    actor="train",
                    source="train",
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
