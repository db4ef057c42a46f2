"""Concurrent publications and activations: incompatible versions never replace each other unasked."""

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest

from service.errors import Incompatible
from service.registry import Registry
from tests.support.versions import publish

OTHER = {"labels": ("bad", "good"), "seed": 1}


def test_two_processes_at_once(registry: Registry, url: str) -> None:
    """If two incompatible versions are activated at once while nothing is live, one of them becomes live."""
    publish(registry, activate=False)
    publish(registry, activate=False, **OTHER)
    together = threading.Barrier(2)
    with closing(Registry.open(url)) as other:

        def attempt(process: Registry, version: int) -> bool:
            together.wait()
            try:
                process.set_alias("sst2", "live", version)
            except Incompatible:
                return False
            return True

        for _ in range(5):
            with ThreadPoolExecutor(2) as threads:
                won = list(threads.map(attempt, (registry, other), (1, 2)))
            assert sorted(won) == [False, True]
            assert registry.snapshot().resolve("sst2").version == (1 if won[0] else 2)
            registry.delete_alias("sst2", "live")


def test_an_old_snapshot_does_not_pass_it(registry: Registry, url: str) -> None:
    """The check uses the live version at the time of the write, not the one this process saw last."""
    publish(registry)
    publish(registry, activate=False, seed=2)
    publish(registry, activate=False, **OTHER)
    with closing(Registry.open(url)) as other:
        before = other.snapshot().tasks["sst2"]
        assert before.changes(before.version(2)) is None
        registry.set_alias("sst2", "live", 3, allow_incompatible=True)
        with pytest.raises(Incompatible, match="version 3: labels removed: 'bad', 'good'"):
            other.set_alias("sst2", "live", 2)


def test_two_publications_at_once(registry: Registry, url: str) -> None:
    """Two incompatible versions published at once are both stored; one becomes live, the other is refused."""
    together = threading.Barrier(2)
    with closing(Registry.open(url)) as other, ThreadPoolExecutor(2) as threads:

        def attempt(process: Registry, options: dict[str, Any]) -> bool:
            together.wait()
            try:
                publish(process, **options)
            except Incompatible:
                return False
            return True

        won = list(threads.map(attempt, (registry, other), ({}, OTHER)))
    assert sorted(won) == [False, True]
    entry = registry.snapshot().tasks["sst2"]
    assert list(entry.versions) == [1, 2]
    assert entry.aliases == {"live": 1}


def test_an_activation_beside_a_publication(registry: Registry, url: str) -> None:
    """An activation and a publication at once: the version compatible only with the former live one is refused."""
    publish(registry)
    publish(registry, activate=False, seed=2)  # fit for version 1
    together = threading.Barrier(2)
    with closing(Registry.open(url)) as other:

        def let_in() -> None:
            together.wait()
            publish(registry, allow_incompatible=True, **OTHER)

        def activate_the_second() -> None:
            together.wait()
            with contextlib.suppress(Incompatible):
                other.set_alias("sst2", "live", 2)

        for _ in range(5):
            with ThreadPoolExecutor(2) as threads:
                for done in (threads.submit(let_in), threads.submit(activate_the_second)):
                    done.result()
            assert registry.snapshot().resolve("sst2").version == 3
            registry.set_alias("sst2", "live", 1, allow_incompatible=True)
