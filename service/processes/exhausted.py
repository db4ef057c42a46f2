"""Limits of the system that a start may meet: open files, processes, memory, disk. Each has a line with its remedy."""

import contextlib
import errno
import resource

_USUAL_FILES = 1024
_FILES, _FILES_A_PROCESS = 64, 8  # that a process of the server opens at start: of its own, and per HTTP process
RAISE_FILES = "raise `ulimit -n` (LimitNOFILE= in systemd, ulimits.nofile in Compose)"
_REMEDIES = {
    errno.EMFILE: f"the process may open no more files: {RAISE_FILES}",
    errno.ENFILE: "the machine has too many open files: raise fs.file-max, or end other programs",
    errno.EAGAIN: "no further process or thread may start: raise `ulimit -u` (LimitNPROC= and TasksMax= in systemd, "
    "pids_limit in Compose), or lower ADAKRON_HTTP_WORKERS",
    errno.ENOMEM: "memory is used up: raise the limit of the container or `ulimit -v`, or lower ADAKRON_HTTP_WORKERS",
    errno.ENOSPC: "the disk is full: free some space, or set TMPDIR to a folder elsewhere",
    errno.EDQUOT: "the disk quota is used up: free some space, or set TMPDIR to a folder elsewhere",
    errno.EROFS: "the folder cannot be written: set TMPDIR to one that can",
}


def raise_file_limit() -> None:
    """Raise this process's limit on open files to the usual one, as far as the system allows; children inherit it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _USUAL_FILES if hard == resource.RLIM_INFINITY else min(_USUAL_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def find_file_shortage(num_http: int) -> str | None:
    """Return why the limit on open files is too low for a server with `num_http` HTTP processes; None if it is not."""
    limit, wanted = resource.getrlimit(resource.RLIMIT_NOFILE)[0], _FILES + _FILES_A_PROCESS * num_http
    if limit == resource.RLIM_INFINITY or limit >= wanted:
        return None
    processes = f"{num_http} HTTP process{'es' if num_http > 1 else ''}"
    return f"`ulimit -n` allows {limit} open files; a server with {processes} needs {wanted}: {RAISE_FILES}"


def explain(error: BaseException) -> str | None:
    """Return what the system lacked, and the remedy, if `error` is of that kind; else None."""
    if isinstance(error, RuntimeError) and "can't start new thread" in str(error):
        return f"{error}: {_REMEDIES[errno.EAGAIN]}"
    no_mapping = isinstance(error, ImportError) and "failed to map segment" in str(error)  # a library does not fit
    if isinstance(error, MemoryError) or no_mapping:
        return _REMEDIES[errno.ENOMEM]
    if isinstance(error, FileNotFoundError) and "usable temporary directory" in str(error):  # of Python's tempfile
        return f"{error.strerror}: set TMPDIR to a folder that can be written and has space"
    if isinstance(error, OSError) and error.errno in _REMEDIES:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror}: {_REMEDIES[error.errno]}"
    return None
