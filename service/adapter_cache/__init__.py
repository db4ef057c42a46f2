"""Which adapter is on the device: the cache, its memory, and the loader."""
