"""Which tables a database has, measured by the migrations of this release."""

from enum import Enum

from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection


class Schema(Enum):
    """Those of this release, or of another one."""

    NONE = "none"
    OLDER = "older"
    CURRENT = "current"
    NEWER = "newer"

    @classmethod
    def of(cls, connection: Connection) -> "Schema":
        """What the database itself says."""
        config = Config()
        config.set_main_option("script_location", "service.registry:migrations")
        scripts = ScriptDirectory.from_config(config)
        found = MigrationContext.configure(connection).get_current_heads()
        if not found:
            return cls.NONE
        if found == (scripts.get_current_head(),):
            return cls.CURRENT
        known = {script.revision for script in scripts.walk_revisions()}
        return cls.OLDER if known.issuperset(found) else cls.NEWER
