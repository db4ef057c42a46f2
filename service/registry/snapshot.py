"""Snapshot: all published versions and keys at one moment, in memory. Requests resolve their task here, not in SQL."""

import difflib
import re
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from service.core import DEFAULT_WEIGHT, LIVE, ApiKey, PublishedVersion
from service.errors import UnknownTask, UnknownVersion
from service.registry.compatibility import Changes, compare

NUM_COMPARED = 100  # names compared to find a near match: thousands would take 0.2 s, for a request that fails
MAX_SHOWN = 10  # names or numbers listed in an error message
_NUMBER = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)


@dataclass(frozen=True)
class TaskEntry:
    """One task that has at least one version."""

    name: str
    versions: Mapping[int, PublishedVersion]  # ascending
    aliases: Mapping[str, int]  # name -> number of a version
    weight: float = DEFAULT_WEIGHT  # share of the engine's time, relative to other tasks
    rollback_to: int | None = None  # the version that a rollback would make live; None if there is none

    @property
    def live(self) -> PublishedVersion | None:
        """The version that clients get by the task's name alone; None if there is none, or it cannot be read."""
        return self.versions.get(self.aliases.get(LIVE, 0))

    def changes(self, version: PublishedVersion) -> Changes | None:
        """Compare `version` with the live one; None if nothing changes for clients, or nothing is live."""
        live = self.live
        return (
            None
            if live is None
            else compare(live.version, live.spec, version.spec, (live.context_field, version.context_field))
        )

    def version(self, number: int) -> PublishedVersion:
        """Return version `number`. Raises UnknownVersion, which lists the existing ones."""
        if number not in self.versions:
            raise UnknownVersion(f"task {self.name!r} has no version {str(number)[:20]}; {self._offer()}")
        return self.versions[number]

    def select(self, selector: str) -> PublishedVersion:
        """Return the version that `selector`, a number or an alias, names. Raises UnknownVersion."""
        if _NUMBER.fullmatch(selector):
            return self.version(int(selector))
        number = self.aliases.get(selector)
        if number is None:
            raise UnknownVersion(f"task {self.name!r} has no {selector[:63]!r}; {self._offer()}")
        return self.version(number)

    def _offer(self) -> str:
        newest = ", ".join(str(number) for number in list(self.versions)[-MAX_SHOWN:])
        aliases = ", ".join(f"{alias} -> {number}" for alias, number in list(self.aliases.items())[:MAX_SHOWN])
        more = "... " if len(self.versions) > MAX_SHOWN else ""
        return f"versions: {more}{newest}; aliases: {aliases or 'none'}"


@dataclass(frozen=True)
class Snapshot:
    """Every task and key as it stood at `revision`."""

    revision: int
    tasks: Mapping[str, TaskEntry]  # in the order of their names
    keys: Mapping[str, ApiKey]  # by id, revoked ones included

    def resolve(self, reference: str) -> PublishedVersion:
        """Return the version that `sst2` (its live one), `sst2@7` or `sst2@canary` names.

        Raises UnknownTask or UnknownVersion.
        """
        name, at, selector = reference.partition("@")
        entry = self.tasks.get(name)
        if entry is None:
            raise UnknownTask(name)
        return entry.select(selector if at else LIVE)

    def weight(self, task: str) -> float:
        """Return the weight of `task`; the default if the task does not exist."""
        entry = self.tasks.get(task)
        return DEFAULT_WEIGHT if entry is None else entry.weight

    def live(self) -> list[PublishedVersion]:
        """Return the live version of each task that has one, ordered by task name."""
        return [version for entry in self.tasks.values() if (version := entry.live) is not None]


# Held before the first snapshot is read; its revision is older than any other.
EMPTY = Snapshot(-1, MappingProxyType({}), MappingProxyType({}))


def unknown_task(name: str, names: Sequence[str]) -> UnknownTask:
    """Return the error for a task `name` that is not in `names` (sorted), with the most similar names."""
    name = name[:64]  # the rest does not affect the comparison
    first = max(0, bisect_left(names, name) - NUM_COMPARED // 2)
    near = difflib.get_close_matches(name, names[first : first + NUM_COMPARED])
    return UnknownTask(name, tuple(near))
