"""Where `live` pointed before: what a rollback goes back to."""

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, func, select

from service.core import LIVE, PublishedVersion
from service.registry.models import AliasHistory


def read_past(connection: Connection, tasks: Sequence[str]) -> dict[str, list[int]]:
    """By task, every version that `live` pointed to before, each once, the latest first."""
    query = (
        select(AliasHistory.task, AliasHistory.version)
        .where(AliasHistory.task.in_(tasks), AliasHistory.alias == LIVE)
        .group_by(AliasHistory.task, AliasHistory.version)
        .order_by(func.max(AliasHistory.id).desc())
    )
    past: dict[str, list[int]] = {}
    for task, version in connection.execute(query):
        past.setdefault(task, []).append(version)
    return past


def rollback_target(past: Sequence[int], versions: Mapping[int, PublishedVersion], live: int | None) -> int | None:
    """The first of `past` that is not live, not quarantined and readable; None where nothing is live."""
    if live is None:
        return None
    return next((number for number in past if number != live and _good(versions.get(number))), None)


def _good(version: PublishedVersion | None) -> bool:
    return version is not None and not version.quarantined
