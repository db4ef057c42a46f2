"""Snapshot: what is published, at one moment, in memory. A request resolves its task here, without the database."""

import difflib
import re
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from service.core import DEFAULT_WEIGHT, LIVE, ApiKey, PublishedVersion
from service.errors import UnknownTask, UnknownVersion
from service.registry.compatibility import Changes, compare

NUM_COMPARED = 100  # names looked at for a near match: comparing thousands takes 0.2 s, for a request that fails
MAX_SHOWN = 10  # names or numbers listed in an error message
_NUMBER = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)


@dataclass(frozen=True)
class TaskEntry:
    """One task with at least one version."""

    name: str
    versions: Mapping[int, PublishedVersion]  # ascending
    aliases: Mapping[str, int]  # name -> number of a version
    weight: float = DEFAULT_WEIGHT  # of the engine's time, beside other tasks
    rollback_to: int | None = None  # the version that a rollback makes live; None where there is none

    @property
    def live(self) -> PublishedVersion | None:
        """What clients get who name only the task; None where there is none, or this release cannot read it."""
        return self.versions.get(self.aliases.get(LIVE, 0))

    def changes(self, version: PublishedVersion) -> Changes | None:
        """What clients would meet if `version` became live; None where nothing changes for them, or nothing is live."""
        live = self.live
        return None if live is None else compare(live.version, live.spec, version.spec)

    def version(self, number: int) -> PublishedVersion:
        """Raises UnknownVersion, saying what there is."""
        if number not in self.versions:
            raise UnknownVersion(f"task {self.name!r} has no version {str(number)[:20]}; {self._offer()}")
        return self.versions[number]

    def select(self, selector: str) -> PublishedVersion:
        """The version of that number or alias. Raises UnknownVersion."""
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
        """The version that `sst2` (its live one), `sst2@7` or `sst2@canary` means.

        Raises UnknownTask or UnknownVersion.
        """
        name, at, selector = reference.partition("@")
        entry = self.tasks.get(name)
        if entry is None:
            raise UnknownTask(name)
        return entry.select(selector if at else LIVE)

    def weight(self, task: str) -> float:
        """That of `task`; the default where there is none of that name (any more)."""
        entry = self.tasks.get(task)
        return DEFAULT_WEIGHT if entry is None else entry.weight

    def live(self) -> list[PublishedVersion]:
        """The live version of each task that has one, in the order of the tasks' names."""
        return [version for entry in self.tasks.values() if (version := entry.live) is not None]


# Older than any: what there is before the first was read.
NOTHING = Snapshot(-1, MappingProxyType({}), MappingProxyType({}))


def unknown_task(name: str, names: Sequence[str]) -> UnknownTask:
    """The error for a name that is none of `names` (sorted), with those that it may have meant."""
    name = name[:64]  # so much of it matters
    first = max(0, bisect_left(names, name) - NUM_COMPARED // 2)
    near = difflib.get_close_matches(name, names[first : first + NUM_COMPARED])
    return UnknownTask(name, tuple(near))
