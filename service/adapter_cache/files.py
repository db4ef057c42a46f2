"""AdapterFiles: adapter files in host memory, so that an adapter that was evicted comes back without the database."""

from collections import OrderedDict
from collections.abc import Collection


class AdapterFiles:
    """Files by their SHA-256, at most `max_bytes` together; the least recently loaded leave first.

    Only files that are loaded again and again are kept: while all adapters fit on the device, there are none.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._files: OrderedDict[str, bytes] = OrderedDict()  # by digest, the one loaded last at the end
        self._loaded: set[str] = set()  # digests that were loaded at least once
        self.num_bytes = 0

    def __len__(self) -> int:
        return len(self._files)

    def find(self, digest: str) -> bytes | None:
        """Return the file with that digest, if it is here."""
        return self._files.get(digest)

    def loaded(self, digest: str, data: bytes) -> None:
        """Record that the file was loaded, and keep it from its second time on."""
        if digest not in self._loaded:
            self._loaded.add(digest)
            return
        if digest in self._files:
            self._files.move_to_end(digest)
            return
        if len(data) > self._max_bytes:
            return
        self._files[digest] = data
        self.num_bytes += len(data)
        while self.num_bytes > self._max_bytes:
            _, oldest = self._files.popitem(last=False)
            self.num_bytes -= len(oldest)

    def retain(self, published: Collection[str]) -> None:
        """Drop the files whose digest is not in `published`."""
        self._loaded.intersection_update(published)
        for digest in [digest for digest in self._files if digest not in published]:
            self.num_bytes -= len(self._files.pop(digest))
