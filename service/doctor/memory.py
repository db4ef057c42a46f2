"""Memory, and how many files may be open."""

import resource
from pathlib import Path

from adapters.errors import BackboneError
from service.doctor.finding import Finding, failed, ok, warning
from service.doctor.setup import Setup
from service.processes.cgroups import read_limits

GIB = 2**30
CODE_BYTES = 0.5 * GIB  # of a server's processes without weights, adapters and requests, as measured
COPIES = 3  # of the weights: the engine's, packed beside as they were read, and the checker's
TOKEN_BYTES = 256  # of a queued token, with its text
OTHER_FILES = 200  # libraries, sockets between processes, the registry's connections
UNLIMITED = "unlimited"


def memory(setup: Setup) -> Finding:
    """The machine, or the container's limit, holds what a server may come to need."""
    total, available = _machine(setup.root)
    limit = read_limits(setup.root).memory_bytes
    settings = setup.settings
    bound = total if limit is None else min(limit, total)
    try:
        weights = (setup.backbone.folder / "model.safetensors").stat().st_size
    except BackboneError:
        weights = 0
    least = CODE_BYTES + COPIES * weights
    most = (
        least
        + (0 if setup.uses_cuda else settings.adapter_memory_bytes)
        + settings.max_uploads * settings.max_upload_bytes
        + settings.max_queued_tokens * TOKEN_BYTES
    )
    name = "the machine has" if limit is None or limit > total else "the container may use"
    shown = f"a server takes about {least / GIB:.1f} GiB, at most {most / GIB:.1f}; {name} {bound / GIB:.1f}"
    if least > bound:
        return failed(shown, "give it more memory, or a smaller backbone")
    if most > bound:
        return warning(shown, "set ADAKRON_ADAPTER_MEMORY_BYTES or ADAKRON_MAX_UPLOADS lower, or give it more memory")
    if least > available:
        return warning(f"{shown}, of which {available / GIB:.1f} are available now", "end what else takes memory")
    return ok(shown)


def open_files(setup: Setup) -> Finding:
    """Each admitted request may hold a connection, and each connection is an open file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = setup.settings.max_queued_requests + OTHER_FILES
    shown = UNLIMITED if soft == resource.RLIM_INFINITY else f"{soft:,}"
    if soft != resource.RLIM_INFINITY and soft < needed:
        wanted = max(65_536, needed) if hard == resource.RLIM_INFINITY else min(max(65_536, needed), hard)
        return warning(
            f"{shown} files may be open, and ADAKRON_MAX_QUEUED_REQUESTS alone is {setup.settings.max_queued_requests}",
            f"`ulimit -n {wanted}` before the start, LimitNOFILE= (systemd) or ulimits: (compose)",
        )
    return ok(f"{shown} files may be open")


def _machine(root: Path) -> tuple[int, int]:
    """Total and available bytes."""
    lines = (line.partition(":") for line in (root / "proc/meminfo").read_text().splitlines())
    sizes = {name: int(rest.split()[0]) * 1024 for name, _, rest in lines}
    return sizes["MemTotal"], sizes["MemAvailable"]
