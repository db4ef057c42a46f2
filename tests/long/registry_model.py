"""A model of the registry in plain dicts, for tests/long/test_state_machine.py."""

from dataclasses import dataclass, field

from service.errors import (
    AdapterUnavailable,
    AliasConflict,
    PreconditionFailed,
    UnknownKey,
    UnknownTask,
    UnknownVersion,
)

LIVE = "live"
ANY = -1  # `expected` without a precondition


@dataclass
class ModelTask:
    """A task with at least one version."""

    versions: dict[int, str] = field(default_factory=dict)  # number -> digest
    aliases: dict[str, int] = field(default_factory=dict)
    history: dict[str, list[int]] = field(default_factory=dict)  # alias -> earlier targets, oldest first


@dataclass
class Model:
    """Each method has the effect and the errors of the method of Registry with the same name."""

    tasks: dict[str, ModelTask] = field(default_factory=dict)
    next_numbers: dict[str, int] = field(default_factory=dict)
    blobs: dict[str, str] = field(default_factory=dict)  # digest -> good, damaged (not yet found), quarantined
    keys: dict[str, bool] = field(default_factory=dict)  # id -> whether it is revoked
    audit: list[tuple[str, str | None, int | None]] = field(default_factory=list)  # action, task, version
    revision: int = 0

    def publish(self, task: str, digest: str, activate: bool) -> tuple[int, bool]:
        """Return the version number and whether it is new."""
        before = len(self.audit)
        if self.blobs.get(digest, "good") != "good":
            self._record_all("repair_bytes", digest)
        self.blobs[digest] = "good"
        entry = self.tasks.setdefault(task, ModelTask())
        number = next((number for number, other in entry.versions.items() if other == digest), None)
        created = number is None
        if number is None:
            number = self.next_numbers.get(task, 1)
            self.next_numbers[task] = number + 1
            entry.versions[number] = digest
            self.audit.append(("publish", task, number))
        if activate:
            self._move(task, LIVE, number)
        self._count(before)
        return number, created

    def set_alias(self, task: str, alias: str, version: int, expected: int | None) -> None:
        """Move an alias; `expected` is a number, None, or ANY."""
        entry = self._entry(task, version)
        self._check_expected(entry, alias, expected)
        if self.blobs[entry.versions[version]] == "quarantined":
            raise AliasConflict
        before = len(self.audit)
        self._move(task, alias, version)
        self._count(before)

    def delete_alias(self, task: str, alias: str, expected: int | None) -> None:
        """Delete an alias; `expected` is a number or ANY."""
        entry = self._entry(task)
        self._check_expected(entry, alias, expected)
        if alias not in entry.aliases:
            raise UnknownVersion
        self.audit.append(("delete_alias", task, entry.aliases.pop(alias)))
        entry.history.pop(alias, None)
        self.revision += 1

    def rollback(self, task: str) -> int:
        """Roll back and return the new live version."""
        entry = self._entry(task)
        live = entry.aliases.get(LIVE)
        past = entry.history.get(LIVE, [])
        for place in reversed(range(len(past))):
            number = past[place]
            if live is not None and number != live and self.blobs[entry.versions[number]] != "quarantined":
                del past[place:]
                entry.aliases[LIVE] = number
                self.audit.append(("rollback", task, number))
                self.revision += 1
                return number
        raise AliasConflict

    def delete_version(self, task: str, version: int) -> None:
        """Delete a version, and its bytes if no other version uses them."""
        entry = self._entry(task, version)
        if version in entry.aliases.values():
            raise AliasConflict
        digest = entry.versions.pop(version)
        entry.history = {
            alias: [number for number in past if number != version] for alias, past in entry.history.items()
        }
        if not entry.versions:
            del self.tasks[task]
        if not self._having(digest):
            del self.blobs[digest]
        self.audit.append(("delete_version", task, version))
        self.revision += 1

    def read_adapter(self, digest: str) -> str:
        """Return the digest if its bytes are intact."""
        if self.blobs.get(digest) == "damaged":
            self.blobs[digest] = "quarantined"
            self._record_all("quarantine", digest)
            self.revision += 1
        if self.blobs.get(digest) != "good":
            raise AdapterUnavailable
        return digest

    def create_key(self, key_id: str) -> None:
        """Create a key."""
        self.keys[key_id] = False
        self.audit.append(("create_key", None, None))
        self.revision += 1

    def revoke_key(self, key_id: str) -> None:
        """Revoke a key."""
        if key_id not in self.keys:
            raise UnknownKey
        if not self.keys[key_id]:
            self.keys[key_id] = True
            self.audit.append(("revoke_key", None, None))
            self.revision += 1

    def _entry(self, task: str, version: int | None = None) -> ModelTask:
        if task not in self.tasks:
            raise UnknownTask(task)
        if version is not None and version not in self.tasks[task].versions:
            raise UnknownVersion
        return self.tasks[task]

    def _check_expected(self, entry: ModelTask, alias: str, expected: int | None) -> None:
        if expected != ANY and expected != entry.aliases.get(alias):
            raise PreconditionFailed

    def _move(self, task: str, alias: str, number: int) -> None:
        entry = self.tasks[task]
        before = entry.aliases.get(alias)
        if before == number:
            return
        if before is not None:
            entry.history.setdefault(alias, []).append(before)
        entry.aliases[alias] = number
        self.audit.append(("set_alias", task, number))

    def _having(self, digest: str) -> list[tuple[str, int]]:
        return [
            (task, number)
            for task, entry in sorted(self.tasks.items())
            for number, other in sorted(entry.versions.items())
            if other == digest
        ]

    def _record_all(self, action: str, digest: str) -> None:
        self.audit += [(action, task, number) for task, number in self._having(digest)]

    def _count(self, before: int) -> None:
        if len(self.audit) > before:
            self.revision += 1
