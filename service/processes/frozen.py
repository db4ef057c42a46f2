"""Imported last by the fork server: what it has imported is left alone by garbage collection from then on.

A collection writes to every object that it looks at, and each process would get a copy of the memory that they share.
"""

import gc

gc.collect()
gc.freeze()
