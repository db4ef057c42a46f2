"""The engine side of a server: admission, scheduler, adapter cache and engine behind a LocalDispatcher.

`adakron serve` runs it in a process of its own, before which any number of HTTP processes stand.
"""
