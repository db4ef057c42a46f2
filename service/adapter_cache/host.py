"""HostAdapters: adapters in host memory, so that one that was evicted comes back without the database and the file."""

from collections import OrderedDict
from collections.abc import Collection

from service.engine.backend import HostAdapter


class HostAdapters:
    """Adapters by the SHA-256 of their files, at most `max_bytes` together; the least recently loaded leave first.

    Only adapters that are loaded again and again are kept: while all adapters fit on the device, there are none.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._adapters: OrderedDict[str, HostAdapter] = OrderedDict()  # by digest, the one loaded last at the end
        self._loaded: set[str] = set()  # digests that were loaded at least once
        self.num_bytes = 0

    def find(self, digest: str) -> HostAdapter | None:
        """Return the adapter with that digest, if it is here."""
        return self._adapters.get(digest)

    def loaded(self, digest: str, adapter: HostAdapter) -> None:
        """Record that the adapter was loaded, and keep it from its second time on."""
        if digest not in self._loaded:
            self._loaded.add(digest)
            return
        if digest in self._adapters:
            self._adapters.move_to_end(digest)
            return
        if adapter.num_bytes > self._max_bytes:
            return
        self._adapters[digest] = adapter
        self.num_bytes += adapter.num_bytes
        while self.num_bytes > self._max_bytes:
            _, oldest = self._adapters.popitem(last=False)
            self.num_bytes -= oldest.num_bytes

    def retain(self, published: Collection[str]) -> None:
        """Drop the adapters whose digest is not in `published`."""
        self._loaded.intersection_update(published)
        for digest in [digest for digest in self._adapters if digest not in published]:
            self.num_bytes -= self._adapters.pop(digest).num_bytes
