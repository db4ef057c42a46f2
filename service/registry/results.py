"""What the registry's changes return."""

from typing import NamedTuple

from service.core import PublishedVersion
from service.registry.compatibility import Changes


class Published(NamedTuple):
    """What `Registry.publish` has stored."""

    version: PublishedVersion
    created: bool  # False: exactly these bytes were a version already
    changes: Changes | None  # against the version that was live before; None where nothing changes for clients


class Moved(NamedTuple):
    """What an alias points to now."""

    version: PublishedVersion
    changes: Changes | None  # against the version that was live before; None where nothing changes for clients
