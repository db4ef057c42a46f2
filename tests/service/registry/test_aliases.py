"""Aliases in the registry: setting, compare-and-set and rollback, on SQLite and on PostgreSQL."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from service.errors import (
    AliasConflict,
    InvalidInput,
    PreconditionFailed,
    UnknownTask,
    UnknownVersion,
)
from service.registry import Registry
from tests.support.versions import live, publish


def test_set_alias(registry: Registry) -> None:
    """An alias points to the version that it was last set to."""
    publish(registry, seed=1)
    publish(registry, seed=2)
    assert registry.set_alias("sst2", "canary", 1).version.version == 1
    registry.set_alias("sst2", "canary", 2)
    registry.set_alias("sst2", "live", 1)
    assert registry.snapshot().tasks["sst2"].aliases == {"canary": 2, "live": 1}


def test_bad_alias_names_are_refused(registry: Registry) -> None:
    """An alias has the form of a task's name, and cannot look like a version's number."""
    publish(registry)
    for alias in ("7", "Canary", "", "a b", "live\n"):
        with pytest.raises(InvalidInput, match="alias"):
            registry.set_alias("sst2", alias, 1)


def test_compare_and_set(registry: Registry) -> None:
    """With `expected`, an alias moves only from there; None expects that it does not exist."""
    publish(registry, seed=1)
    publish(registry, seed=2)
    with pytest.raises(PreconditionFailed, match="points to version 2"):
        registry.set_alias("sst2", "live", 1, expected=1)
    with pytest.raises(PreconditionFailed, match="points to version 2"):
        registry.set_alias("sst2", "live", 1, expected=None)
    with pytest.raises(PreconditionFailed, match="does not exist"):
        registry.set_alias("sst2", "canary", 1, expected=2)
    registry.set_alias("sst2", "live", 1, expected=2)
    registry.set_alias("sst2", "canary", 2, expected=None)
    assert registry.snapshot().tasks["sst2"].aliases == {"canary": 2, "live": 1}


def test_one_of_two_compare_and_sets_wins(registry: Registry) -> None:
    """If two writers expect the same version, one moves the alias and the other gets PreconditionFailed."""
    for seed in range(3):
        publish(registry, seed=seed)
    together = threading.Barrier(2)

    def attempt(version: int) -> bool:
        together.wait()
        try:
            registry.set_alias("sst2", "live", version, expected=3)
        except PreconditionFailed:
            return False
        return True

    with ThreadPoolExecutor(2) as threads:
        won = list(threads.map(attempt, (1, 2)))
    assert sorted(won) == [False, True]
    assert live(registry) == (1 if won[0] else 2)


def test_unknown_versions_are_named(registry: Registry) -> None:
    """An alias cannot point to a missing version, however large the number."""
    publish(registry)
    for number in (2, 0, -1, 10**30):
        with pytest.raises(UnknownVersion, match="versions: 1"):
            registry.set_alias("sst2", "live", number)
    with pytest.raises(UnknownTask, match="no task 'sst3'"):
        registry.set_alias("sst3", "live", 1)


def test_rollback_walks_back(registry: Registry) -> None:
    """Each rollback goes one step back until none is left; a later move starts from there."""
    for seed in range(3):
        publish(registry, seed=seed)
    assert registry.rollback("sst2").version.version == 2
    assert registry.rollback("sst2").version.version == 1
    with pytest.raises(AliasConflict, match="nothing to roll back to"):
        registry.rollback("sst2")
    assert live(registry) == 1
    registry.set_alias("sst2", "live", 3)
    assert registry.rollback("sst2").version.version == 1


def test_rollback_skips_deleted_versions(registry: Registry) -> None:
    """A rollback skips deleted versions."""
    publish(registry, seed=1)
    publish(registry, seed=2)
    registry.set_alias("sst2", "live", 1)
    publish(registry, seed=3)
    publish(registry, seed=4)  # live was 1, 2, 1, 3, 4
    registry.delete_version("sst2", 3)
    assert registry.rollback("sst2").version.version == 1
    registry.delete_version("sst2", 2)
    with pytest.raises(AliasConflict):
        registry.rollback("sst2")


def test_an_aliased_version_cannot_be_deleted(registry: Registry) -> None:
    """A version with aliases cannot be deleted, and the error names them; a missing one has another error."""
    publish(registry, seed=1)
    publish(registry, seed=2)
    registry.set_alias("sst2", "canary", 1)
    with pytest.raises(AliasConflict, match="in use as canary"):
        registry.delete_version("sst2", 1)
    with pytest.raises(UnknownVersion):
        registry.delete_version("sst2", 3)
    with pytest.raises(UnknownTask):
        registry.delete_version("nothing", 1)
