"""The registry against a model in plain dicts: random calls from two processes, with damage in between."""

import hashlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
import sqlalchemy
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from service.errors import ServiceError
from service.publishing.checks import check_upload
from service.registry import UNSET, Registry
from tests.long.conftest import Record
from tests.long.registry_model import ANY, LIVE, Model
from tests.support.databases import fresh_database
from tests.support.factories import make_adapter_bytes

FILES = {hashlib.sha256(data).hexdigest(): data for data in (make_adapter_bytes(seed=seed) for seed in range(5))}
CHECKED = {digest: check_upload(data) for digest, data in FILES.items()}
TABLES = ("aliases", "alias_history", "versions", "blobs", "tasks", "keys", "audit")
STEPS_PER_RUN = 100
FEW_STEPS = 300
NUM_AUDIT_ROWS = 10  # compared after each step; more than one step can add

tasks = st.sampled_from(["one", "two", "three"])
aliases = st.sampled_from([LIVE, "canary"])
digests = st.sampled_from(sorted(FILES))
processes = st.sampled_from([0, 1])
picks = st.integers(0, 9)

EmptyRegistry = Callable[[], str]  # creates an empty registry and returns its URL


class RegistryMachine(RuleBasedStateMachine):
    """Two Registry objects on one database, as in two processes."""

    empty_registry: EmptyRegistry
    num_steps = 0

    def __init__(self) -> None:
        super().__init__()
        self.url = self.empty_registry()
        self.registries = [Registry.open(self.url) for _ in range(2)]
        self.model = Model()
        type(self).num_steps -= 1  # the invariant is also checked before the first step

    def teardown(self) -> None:
        for registry in self.registries:
            registry.close()

    @rule(process=processes, task=tasks, digest=digests, activate=st.booleans())
    def publish(self, process: int, task: str, digest: str, activate: bool) -> None:
        found, created, _ = self.registries[process].publish(task, CHECKED[digest], activate=activate)
        assert (found.version, created) == self.model.publish(task, digest, activate)
        assert (found.task, found.digest, found.quarantined) == (task, digest, False)

    @rule(process=processes, task=tasks, alias=aliases, pick=picks, expected=st.none() | picks)
    def set_alias(self, process: int, task: str, alias: str, pick: int, expected: int | None) -> None:
        version, wanted = self.pick(task, pick), self.pick_expected(task, alias, expected)
        given = {} if wanted == ANY else {"expected": wanted}
        self.both(
            lambda: self.registries[process].set_alias(task, alias, version, **given),
            lambda: self.model.set_alias(task, alias, version, wanted),
        )

    @rule(process=processes, task=tasks, alias=aliases, expected=picks)
    def delete_alias(self, process: int, task: str, alias: str, expected: int) -> None:
        wanted = self.pick_expected(task, alias, expected) or ANY
        self.both(
            lambda: self.registries[process].delete_alias(task, alias, expected=UNSET if wanted == ANY else wanted),
            lambda: self.model.delete_alias(task, alias, wanted),
        )

    @rule(process=processes, task=tasks)
    def rollback(self, process: int, task: str) -> None:
        self.both(
            lambda: self.registries[process].rollback(task).version.version,
            lambda: self.model.rollback(task),
        )

    @rule(process=processes, task=tasks, pick=picks)
    def delete_version(self, process: int, task: str, pick: int) -> None:
        version = self.pick(task, pick)
        self.both(
            lambda: self.registries[process].delete_version(task, version),
            lambda: self.model.delete_version(task, version),
        )

    @rule(process=processes, digest=digests)
    def read_adapter(self, process: int, digest: str) -> None:
        self.both(
            lambda: hashlib.sha256(self.registries[process].read_adapter(digest)).hexdigest(),
            lambda: self.model.read_adapter(digest),
        )

    @rule(digest=digests, place=st.integers(0, 2**16), bit=st.integers(0, 7))
    def damage(self, digest: str, place: int, bit: int) -> None:
        if self.model.blobs.get(digest) == "good":
            data = bytearray(FILES[digest])
            data[place % len(data)] ^= 1 << bit
            with self.registries[0]._engine.begin() as connection:
                statement = sqlalchemy.text("UPDATE blobs SET data = :data WHERE digest = :digest")
                connection.execute(statement, {"data": bytes(data), "digest": digest})
            self.model.blobs[digest] = "damaged"

    @rule(process=processes, scopes=st.sets(st.sampled_from(["admin", "upload", "predict"]), min_size=1))
    def create_key(self, process: int, scopes: set[str]) -> None:
        key, _ = self.registries[process].create_key("a key", scopes)
        assert key.scopes == scopes
        self.model.create_key(key.id)

    @rule(process=processes, pick=picks)
    def revoke_key(self, process: int, pick: int) -> None:
        known = [*self.model.keys, "0" * 12]
        key_id = known[pick % len(known)]
        self.both(
            lambda: self.registries[process].revoke_key(key_id),
            lambda: self.model.revoke_key(key_id),
        )

    @rule(process=processes)
    def reopen(self, process: int) -> None:
        self.registries[process].close()
        self.registries[process] = Registry.open(self.url)

    @invariant()
    def everything_is_as_in_the_model(self) -> None:
        type(self).num_steps += 1
        for registry in self.registries:
            snapshot = registry.snapshot()
            assert snapshot.revision == self.model.revision
            assert {
                name: ({v.version: (v.digest, v.quarantined) for v in entry.versions.values()}, dict(entry.aliases))
                for name, entry in snapshot.tasks.items()
            } == {
                name: (
                    {n: (digest, self.model.blobs[digest] == "quarantined") for n, digest in entry.versions.items()},
                    entry.aliases,
                )
                for name, entry in self.model.tasks.items()
            }
            assert {key.id: key.revoked_at is not None for key in snapshot.keys.values()} == self.model.keys
        newest = [(row.action, row.task, row.version) for row in self.registries[0].audit(NUM_AUDIT_ROWS)]
        assert newest == self.model.audit[: -NUM_AUDIT_ROWS - 1 : -1]

    def pick(self, task: str, pick: int) -> int:
        """Pick a version number, mostly of an existing version."""
        entry = self.model.tasks.get(task)
        numbers = sorted(entry.versions) if entry else []
        return numbers[pick % len(numbers)] if numbers and pick < 8 else pick + 1

    def pick_expected(self, task: str, alias: str, pick: int | None) -> int | None:
        """Pick an expected version: None, the true number, another number, or ANY."""
        entry = self.model.tasks.get(task)
        if pick is None or pick > 6:
            return None if pick is None else ANY
        return entry.aliases.get(alias) if entry and pick > 2 else pick

    def both(self, call: Callable[[], Any], expect: Callable[[], Any]) -> None:
        """Check that both calls raise the same error, or return the same if the model returns a value."""
        try:
            expected = expect()
        except ServiceError as error:
            with pytest.raises(type(error)):
                call()
        else:
            found = call()
            assert expected is None or found == expected


@contextmanager
def empty_registries(kind: str, folder: Path) -> Iterator[EmptyRegistry]:
    """Yield a function that creates an empty registry: a new file, or the emptied database."""
    with ExitStack() as stack:
        url = stack.enter_context(fresh_database(kind, folder))
        Registry.open(url).close()
        path = Path(url.removeprefix("sqlite:///"))
        engine = sqlalchemy.create_engine(url)
        stack.callback(engine.dispose)

        def copy_file() -> str:
            copy = folder / "copy.sqlite3"
            shutil.copyfile(path, copy)
            return f"sqlite:///{copy}"

        def empty_tables() -> str:
            with engine.begin() as connection:
                connection.execute(sqlalchemy.text(f"TRUNCATE {', '.join(TABLES)} RESTART IDENTITY"))
                connection.execute(sqlalchemy.text("UPDATE revision SET value = 0"))
            return url

        yield copy_file if kind == "sqlite" else empty_tables


@pytest.mark.long
@pytest.mark.parametrize(("kind", "num_steps"), [("sqlite", 25_000), ("postgresql", 5_000)])
def test_the_registry_is_its_model(kind: str, num_steps: int, tmp_path: Path, is_long: bool, record: Record) -> None:
    """After every step, the snapshots of both processes and the newest audit rows equal those of the model."""
    wanted = num_steps if is_long else FEW_STEPS

    with empty_registries(kind, tmp_path) as empty:

        class Machine(RegistryMachine):
            empty_registry = staticmethod(empty)

        run_state_machine_as_test(
            Machine,
            settings=settings(
                max_examples=wanted * 5 // 4 // STEPS_PER_RUN,  # some runs are shorter
                stateful_step_count=STEPS_PER_RUN,
                deadline=None,
                derandomize=True,
                database=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
    assert Machine.num_steps >= wanted
    record(steps=Machine.num_steps)
