"""PostgreSQL databases that were created without a locale."""

from contextlib import closing
from pathlib import Path

from service.publishing.checks import check_upload
from service.registry import Registry
from tests.support.databases import fresh_database
from tests.support.factories import make_adapter_bytes


def test_a_server_without_an_encoding_does(tmp_path: Path) -> None:
    """In a database with the encoding SQL_ASCII, labels of any language are read back unchanged."""
    labels = ("schön", "悪い")
    with (
        fresh_database("postgresql", tmp_path, encoding="SQL_ASCII") as url,
        closing(Registry.open(url)) as registry,
    ):
        registry.publish("task", check_upload(make_adapter_bytes(labels=labels)))
        assert registry.snapshot().resolve("task").spec.labels == labels
