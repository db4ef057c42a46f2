"""Versions that would break clients of the live version: the changes that count, and how they are refused."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from adapters.config import TaskSpec
from service.errors import Incompatible
from service.publishing.checks import check_upload
from service.registry import Changes, Registry
from service.registry.backup import export_registry, restore_backup, verified_backup
from service.registry.compatibility import compare
from tests.support.factories import make_adapter_bytes, make_gated_bytes
from tests.support.versions import publish

OTHER = {"labels": ("bad", "good"), "seed": 1}


def spec(type: str = "single_label", labels: tuple[str, ...] = ("a", "b"), **more: Any) -> TaskSpec:
    given = {"type": type, "labels": labels, "pair": False, "pooling": "mean", "max_length": 64}
    return TaskSpec.model_validate(given | more)


REGRESSION = spec("regression", ())


@pytest.mark.parametrize(
    ("before", "after", "breaking", "notes"),
    [
        (spec(), spec(pooling="cls", temperature=2.5), [], []),
        (spec(), spec("multi_label"), ["type: single_label -> multi_label"], []),
        (REGRESSION, spec(), ["type: regression -> single_label"], ["labels added: 'a', 'b'"]),
        (spec(), REGRESSION, ["type: single_label -> regression", "labels removed: 'a', 'b'"], []),
        (spec(), spec(pair=True), ["inputs: single texts -> pairs of texts"], []),
        (spec(pair=True), spec(), ["inputs: pairs of texts -> single texts"], []),
        (spec(labels=("a", "b", "c")), spec(labels=("a", "c")), ["labels removed: 'b'"], ["labels in another order"]),
        (spec(), spec(labels=("a", "B")), ["labels removed: 'b'"], ["labels added: 'B'"]),
        (spec(), spec(labels=("a", "b", "c")), [], ["labels added: 'c'"]),
        (spec(), spec(labels=("c", "a", "b")), [], ["labels added: 'c'", "labels in another order"]),
        (spec(), spec(labels=("b", "a")), [], ["labels in another order"]),
        (spec(), spec(max_length=32), [], ["max_length: 64 -> 32 tokens"]),
        (
            spec(pair=True),
            spec("multi_label", ("x",)),
            ["type: single_label -> multi_label", "inputs: pairs of texts -> single texts", "labels removed: 'a', 'b'"],
            ["labels added: 'x'"],
        ),
    ],
)
def test_changes_for_clients(before: TaskSpec, after: TaskSpec, breaking: list[str], notes: list[str]) -> None:
    """Type, pairs and removed labels are breaking; order, added labels and length are notes; other differences do not
    count."""
    changes = compare(7, before, after)
    if not breaking and not notes:
        assert changes is None
        return
    assert changes is not None
    assert (changes.live, changes.breaking, changes.notes) == (7, breaking, notes)
    told = changes.as_json()
    assert told["compatible"] is (not breaking)
    assert (told["type"] is None, told["pair"] is None) == (before.type == after.type, before.pair == after.pair)
    assert set(told["labels_removed"]) == set(before.labels) - set(after.labels)
    assert set(told["labels_added"]) == set(after.labels) - set(before.labels)


@pytest.mark.parametrize(
    ("fields", "breaking", "notes"),
    [
        ((None, None), [], []),
        (("user", "user"), [], []),
        (("user", None), ["context: user -> none"], []),
        (("user", "language"), ["context: user -> language"], []),
        ((None, "user"), [], ["takes the context user"]),
    ],
)
def test_changes_of_the_context(fields: tuple[str | None, str | None], breaking: list[str], notes: list[str]) -> None:
    """A field that clients may send and that would be refused is breaking; a new one is a note."""
    changes = compare(7, spec(), spec(), fields)
    if not breaking and not notes:
        assert changes is None
        return
    assert changes is not None
    assert (changes.breaking, changes.notes) == (breaking, notes)
    assert changes.as_json()["context"] == {"before": fields[0], "after": fields[1]}


def test_a_version_without_gates_is_not_made_live(registry: Registry) -> None:
    """Clients of a task with gates send a context, which a plain version would refuse."""
    registry.publish("sst2", check_upload(make_gated_bytes()))
    with pytest.raises(Incompatible, match="context: user -> none"):
        publish(registry)
    assert registry.snapshot().resolve("sst2").context_field == "user"
    assert publish(registry, allow_incompatible=True) == 2
    assert registry.snapshot().resolve("sst2").context_field is None


def test_many_labels_are_cut_in_words_only() -> None:
    """A message names ten labels, each cut to 40 characters, and the number of the others; the lists have all of
    them."""
    labels = tuple(f"{number} " + "x" * 100 for number in range(1000))
    changes = compare(1, spec(labels=labels), REGRESSION)
    assert changes is not None
    (_, words) = changes.breaking
    assert len(words) < 600
    assert words.endswith(" and 990 more")
    assert changes.as_json()["labels_removed"] == list(labels)


def activate(registry: Registry, allowed: bool) -> Changes | None:
    return registry.set_alias("sst2", "live", 2, allow_incompatible=allowed).changes


def publish_again(registry: Registry, allowed: bool) -> Changes | None:
    return registry.publish("sst2", check_upload(make_adapter_bytes(**OTHER)), allow_incompatible=allowed).changes


def roll_back(registry: Registry, allowed: bool) -> Changes | None:
    return registry.rollback("sst2", allow_incompatible=allowed).changes


@pytest.mark.parametrize("way", [activate, publish_again, roll_back])
def test_every_way_to_become_live(registry: Registry, way: Callable[[Registry, bool], Changes | None]) -> None:
    """A version with removed labels becomes live only if that is allowed, and the audit log says so."""
    publish(registry)
    publish(registry, activate=False, **OTHER)
    if way is roll_back:  # from 1 to 2, which was live before
        registry.set_alias("sst2", "live", 2, allow_incompatible=True)
        registry.set_alias("sst2", "live", 1, allow_incompatible=True)
    revision = registry.revision()
    with pytest.raises(
        Incompatible, match=r"sst2@2 was not made live.*version 1: labels removed: 'negative', 'positive'"
    ):
        way(registry, False)
    entry = registry.snapshot().tasks["sst2"]
    assert (entry.aliases["live"], registry.revision()) == (1, revision)
    changes = way(registry, True)
    assert changes is not None
    assert changes == entry.changes(entry.version(2))
    assert registry.snapshot().resolve("sst2").version == 2
    assert registry.audit(1)[0].detail.endswith(
        "was 1; incompatible, as allowed: labels removed: 'negative', 'positive'"
    )


def test_a_publication_is_stored_and_not_live(registry: Registry) -> None:
    """The error has the number and the digest of the stored version."""
    publish(registry)
    with pytest.raises(Incompatible) as refused:
        publish(registry, type="regression", labels=())
    snapshot = registry.snapshot()
    assert snapshot.resolve("sst2").version == 1
    stored = snapshot.resolve("sst2@2")
    assert refused.value.details["version"] == 2
    assert refused.value.details["digest"] == stored.digest
    assert [row.action for row in registry.audit(2)] == ["publish", "set_alias"]


def test_versions_that_may_become_live(registry: Registry) -> None:
    """Added labels, another order, a version while nothing is live, and other aliases than `live` are allowed."""
    publish(registry)
    moved = registry.publish("sst2", check_upload(make_adapter_bytes(labels=("positive", "maybe", "negative"))))
    assert moved.changes is not None
    assert moved.changes.notes == ["labels added: 'maybe'", "labels in another order"]
    publish(registry, activate=False, **OTHER)
    told = registry.set_alias("sst2", "canary", 3).changes
    assert told is not None
    assert told.breaking == ["labels removed: 'positive', 'maybe', 'negative'"]
    assert "incompatible" not in registry.audit(1)[0].detail
    registry.delete_alias("sst2", "live")
    assert registry.set_alias("sst2", "live", 3).changes is None


def test_where_a_rollback_leads(registry: Registry, url: str) -> None:
    """The snapshot has the version that a rollback would make live, without deleted and damaged ones; None at the
    end."""

    def target() -> int | None:
        return registry.snapshot().tasks["sst2"].rollback_to

    for seed in range(4):
        publish(registry, seed=seed)
        assert target() == (seed or None)
    registry.delete_version("sst2", 3)
    assert target() == 2
    with closing(Registry.open(url)) as other:
        assert other.snapshot().tasks["sst2"].rollback_to == 2
        assert other.rollback("sst2").version.version == 2
    assert target() == 1
    registry.set_alias("sst2", "live", 1)
    assert target() == 2  # live was 1, 2, 1
    registry.delete_alias("sst2", "live")
    assert target() is None


def test_a_restore_is_exempt(registry: Registry, url: str, tmp_path: Path) -> None:
    """A restore makes the backup's live version live, whatever is live now."""
    publish(registry)
    export_registry(url, tmp_path / "backup")
    publish(registry, allow_incompatible=True, **OTHER)
    with verified_backup(tmp_path / "backup") as backup:
        restore_backup(url, backup, grace_s=0)
    assert registry.snapshot().resolve("sst2").spec.labels == ("negative", "positive")
