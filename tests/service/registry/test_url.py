"""The spellings of a registry's URL."""

from contextlib import closing
from pathlib import Path

import pytest

from service.doctor.registry import registry as look
from service.doctor.registry import sqlite_file
from service.errors import InvalidInput
from service.publishing.checks import check_upload
from service.registry import Registry
from service.registry.backup import export_registry, restore_backup, verified_backup
from service.registry.database import parse_url
from tests.support.databases import fresh_database
from tests.support.doctors import make_setup
from tests.support.factories import make_adapter_bytes


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_each_name_of_postgresql(scheme: str) -> None:
    """Every name becomes that of the driver, and white space around the URL is ignored."""
    assert parse_url(f" {scheme}://u:p@h/d\n").render_as_string(False) == "postgresql+psycopg://u:p@h/d"


def test_each_user_of_the_url_parses_it(tmp_path: Path) -> None:
    """Servers, training, backup, restore and the doctor accept the name that providers of databases print."""
    file = tmp_path / "backup.sqlite3"
    with fresh_database("postgresql", tmp_path) as url:
        url = url.replace("postgresql+psycopg", "postgres") + "\n"
        with closing(Registry.open(url)) as registry:
            registry.publish("t", check_upload(make_adapter_bytes()))
            export_registry(url, file)
            with verified_backup(file) as backup:
                restore_backup(url, backup, grace_s=0)
            setup = make_setup(tmp_path, registry_url=url)
            assert look(setup).status == "ok"
            assert sqlite_file(setup).message == "not SQLite"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("mysql://u:secret@h/d", "cannot use 'mysql'"),
        ("postgresql+asyncpg://u:secret@h/d", r"cannot use 'postgresql\+asyncpg'"),
        ("postgres", "cannot be read"),
        ("postgres://u:p@secret/more@h/d", "several @.*write @ as %40"),
        ("postgres://u:p@secret?x=1@h/d", "several @"),
        ("postgres://u:p@secret:x@h/d", "cannot be read.*write @ as %40"),
        ("postgres://u:secret@h:port/d", "cannot be read"),
        ("postgres://u:secret@h:1,i:2/d", "cannot be read"),
        ("postgres:/u:secret@h", "cannot be read"),
        ("", "cannot be read"),
    ],
)
def test_other_urls_are_refused(url: str, says: str) -> None:
    """The error has one line, names the accepted forms, and holds no password."""
    with pytest.raises(InvalidInput, match=says) as caught:
        parse_url(url)
    assert "postgresql://USER:PASSWORD@HOST/DATABASE" in str(caught.value)
    assert "secret" not in str(caught.value)
