"""Verifying a backup: a file with any fault is refused in one line before anything is restored."""

import hashlib
import random
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config

from adapters import checkpoint
from service.errors import InvalidInput
from service.registry import Registry
from service.registry.backup import verified_backup
from service.registry.database import create_engine, locking
from tests.support.backups import backup_file, change, contents, fill, restore_file
from tests.support.factories import make_adapter_bytes


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'registry.sqlite3'}"


@pytest.fixture
def path(url: str, tmp_path: Path) -> Path:
    """A backup of a registry with rows in every table."""
    fill(url)
    (tmp_path / "backup.sqlite3").write_bytes(backup_file())
    return tmp_path / "backup.sqlite3"


def refusal(path: Path) -> str:
    """Return the error for a file; it has one line."""
    with pytest.raises(InvalidInput) as refused, verified_backup(path):
        pass
    message = str(refused.value)
    assert "\n" not in message
    return message


def test_a_flipped_bit_is_refused(path: Path) -> None:
    """A file with a single wrong bit is refused, also if the bit is in a part without a checksum of its own."""
    data = path.read_bytes()
    draw = random.Random(0)
    places = [*range(0, 100, 9), *(draw.randrange(len(data)) for _ in range(100))]
    for place in places:
        path.write_bytes(data[:place] + bytes([data[place] ^ 1 << draw.randrange(8)]) + data[place + 1 :])
        assert refusal(path)


def test_a_cut_file_is_refused(path: Path) -> None:
    """A file that was cut, at any byte, or extended is refused."""
    data = path.read_bytes()
    for length in (0, 1, 99, 100, 4096, len(data) // 2, len(data) - 4096, len(data) - 1):
        path.write_bytes(data[:length])
        assert refusal(path)
    path.write_bytes(data + b"\0")
    assert "damaged" in refusal(path)


def test_a_cut_copy_of_a_registry_is_refused(url: str, tmp_path: Path) -> None:
    """A file without a checksum that was cut is refused too."""
    fill(url)
    path = tmp_path / "registry.sqlite3"
    data = path.read_bytes()
    for length in (4096, len(data) // 2, len(data) - 4096):
        path.write_bytes(data[:length])
        assert refusal(path)


def test_other_files_are_refused(path: Path, tmp_path: Path) -> None:
    """A folder, a file of another kind, a missing file and another program's database have different errors."""
    other = tmp_path / "other"
    assert "No such file" in refusal(other)
    assert "is not a file" in refusal(tmp_path)
    other.write_bytes(make_adapter_bytes())
    assert "is not an SQLite file" in refusal(other)
    other.write_bytes(b"")
    with closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE versions (task, version)")
    assert "is not a registry" in refusal(other)


def test_a_database_in_use_is_refused(path: Path) -> None:
    """A file with a journal beside it is refused: it was copied during a change."""
    for suffix in ("-journal", "-wal"):
        journal = path.with_name(path.name + suffix)
        journal.write_bytes(b"")
        assert "a database in use" in refusal(path)
        journal.unlink()
    with verified_backup(path):
        pass


def test_a_newer_backup_is_refused(path: Path) -> None:
    """A backup of a newer release is refused."""
    for statement in ("UPDATE alembic_version SET version_num = '9999'", "INSERT INTO alembic_version VALUES ('9999')"):
        assert "newer release" in refusal(change(path, statement))


def test_an_older_copy_of_a_registry_is_brought_up_to_date(url: str, tmp_path: Path) -> None:
    """A file with an older schema is restored from a migrated copy; the file itself is unchanged."""
    path = tmp_path / "older.sqlite3"
    old = make_old(path)
    before = path.read_bytes()
    assert len(restore_file(path, url).published) == 1
    assert path.read_bytes() == before
    with closing(Registry.open(url)) as registry:
        assert registry.snapshot().resolve("sst2").version == 2
        assert registry.read_adapter(registry.snapshot().resolve("sst2").digest) == old
        assert [row.action for row in registry.audit()] == ["restore", "publish"]


def test_an_older_copy_that_cannot_be_brought_up_to_date_is_refused(tmp_path: Path) -> None:
    """If the migration of the copy fails, the file is refused."""
    path = tmp_path / "older.sqlite3"
    make_old(path)
    assert "cannot be used" in refusal(change(path, "CREATE TABLE keys (id)", with_checksum=False))


def make_old(path: Path) -> bytes:
    """Create a registry as the first release did, with one version; return its adapter."""
    engine = create_engine(f"sqlite:///{path}")
    config = Config()
    config.set_main_option("script_location", "service.registry:migrations")
    with locking(engine) as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
    engine.dispose()
    adapter = checkpoint.parse(data := make_adapter_bytes())
    time = "2026-01-01 00:00:00.000000"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("INSERT INTO tasks VALUES ('sst2', 3, 7)")
        connection.execute("INSERT INTO blobs (digest, data) VALUES (?, ?)", (adapter.digest, data))
        row = ("sst2", 2, adapter.digest, len(data), time, checkpoint.canonical_json(adapter.metadata))
        connection.execute("INSERT INTO versions VALUES (?, ?, ?, ?, ?, ?)", row)
        connection.execute("INSERT INTO aliases VALUES ('sst2', 'live', 2)")
        connection.execute(f"INSERT INTO audit VALUES (1, '{time}', 'ann', 'publish', 'sst2', 2, NULL, '', '')")
        connection.execute("UPDATE revision SET value = 7")
        connection.commit()
    return data


MNLI = "WHERE task = 'mnli'"
MNLI_BLOB = f"WHERE digest = (SELECT digest FROM versions {MNLI})"


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        (f"UPDATE blobs SET data = x'00' {MNLI_BLOB}", "the bytes of adapter [0-9a-f]{12} are damaged"),
        (f"UPDATE versions SET num_bytes = 1 {MNLI}", "its row of mnli@1 is damaged"),
        (f"UPDATE versions SET metadata_json = '{{}}' {MNLI}", "its row of mnli@1 is damaged"),
        (f"UPDATE versions SET created_at = '2020-01-01' {MNLI}", "its row of mnli@1 is damaged"),
        (f"UPDATE versions SET version = 9 {MNLI}", "a row of aliases refers to a missing row of versions"),
        (
            "UPDATE versions SET version = 0 WHERE version = 1 AND task = 'rte'",
            "task rte would reuse a version number",
        ),
        ("UPDATE tasks SET next_version = 2", "task rte would reuse a version number"),
        ("UPDATE aliases SET version = 9", "a row of aliases refers to a missing row of versions"),
        ("DELETE FROM blobs", "a row of versions refers to a missing row of blobs"),
        ("UPDATE aliases SET name = 'A/b' WHERE name = 'ab'", "'A/b' is not a valid name"),
        ("INSERT INTO tasks VALUES ('../x', 1, 1, 1)", "'../x' is not a valid name"),
        ("INSERT INTO tasks VALUES ('x', 'many', 1, 1)", "tasks.next_version holds 'many'"),
        ("UPDATE tasks SET revision = -1", "tasks.revision holds '-1'"),
        ("UPDATE tasks SET weight = 'much'", "tasks.weight holds 'much'"),
        ("UPDATE tasks SET weight = 0 WHERE name = 'rte'", "task rte has a weight outside"),
        ("UPDATE revision SET value = 1 << 31", "revision.value holds '2147483648'"),
        ("UPDATE keys SET name = ''||x'41'||zeroblob(70)", "keys.name holds"),
        ("UPDATE keys SET created_at = 'never'", "never"),
        ("UPDATE audit SET at = 5", "refused"),
        ("UPDATE audit SET actor = x'ff'", "audit.actor holds"),
        ("UPDATE audit SET actor = CAST(x'ff' AS TEXT)", "cannot be used: Could not decode"),
        ("DELETE FROM revision", "it has no revision"),
        ("DELETE FROM alembic_version", "is not a registry"),
        ("DROP TABLE keys", "its tables are not those of a registry"),
        ("ALTER TABLE keys ADD COLUMN more INTEGER", "its tables are not those of a registry"),
        ("CREATE TABLE more (id INTEGER)", "its tables are not those of a registry"),
        ("CREATE TRIGGER t AFTER INSERT ON keys BEGIN DELETE FROM keys; END", "the trigger or view t"),
        ("CREATE VIEW v AS SELECT * FROM keys", "the trigger or view v"),
    ],
)
def test_a_changed_backup_is_refused(statement: str, says: str, path: Path) -> None:
    """With a correct checksum, every row must still be one that the service writes."""
    with verified_backup(change(path)) as backup:
        assert len(backup.intact) == 5
    assert re.search(says, refusal(change(path, statement)))


def test_bytes_that_are_no_adapter_are_refused(path: Path) -> None:
    """Bytes with the right hash are parsed like an upload, and refused with the reason code."""
    data = make_adapter_bytes(seed=7)[:-4]
    digest = hashlib.sha256(data).hexdigest()
    changed = change(
        path,
        f"INSERT INTO blobs (digest, data) VALUES ('{digest}', x'{data.hex()}')",
        f"UPDATE versions SET digest = '{digest}' {MNLI}",
    )
    assert f"adapter {digest[:12]} cannot be read (container_" in refusal(changed)


def test_a_refused_file_changes_nothing(url: str, path: Path, tmp_path: Path) -> None:
    """After a refusal the registry is unchanged, byte for byte, and none is created."""
    before = (tmp_path / "registry.sqlite3").read_bytes()
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InvalidInput):
        restore_file(path, url)
    with pytest.raises(InvalidInput):
        restore_file(path, f"sqlite:///{tmp_path / 'none' / 'registry.sqlite3'}")
    assert (tmp_path / "registry.sqlite3").read_bytes() == before
    assert not (tmp_path / "none").exists()


def test_a_copy_that_sqlite_made_is_restored(url: str, path: Path, tmp_path: Path) -> None:
    """A registry that was copied by other means has no checksum; all other checks run."""
    copy = tmp_path / "copy.sqlite3"
    with closing(sqlite3.connect(tmp_path / "registry.sqlite3")) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    other = f"sqlite:///{tmp_path / 'other.sqlite3'}"
    restore_file(copy, other)
    assert contents(other)["versions"] == contents(url)["versions"]
