"""The CPU's kernels and threads, memory, and the limit of open files."""

import resource
from pathlib import Path

from adapters.errors import BackboneError
from service.doctor.core import Finding, Setup, combine, failed, ok, warning
from service.engine.dtype import choose_dtype
from service.processes.cgroups import num_cores, read_limits, usable_cpus

GIB = 2**30
CODE_BYTES = 0.5 * GIB  # measured: a server's processes without weights, adapters and requests
COPIES = 3  # of the weights: the engine's, both packed and as read, and the checker's
TOKEN_BYTES = 256  # of a queued token and its text
OTHER_FILES = 200  # libraries, sockets between processes, the registry's connections
UNLIMITED = "unlimited"


def memory(setup: Setup) -> Finding:
    """Compare the memory of the machine or container with what a server needs, at least and at most."""
    total, available = _read_memory(setup.root)
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
        + settings.adapter_file_memory_bytes
        + settings.max_uploads * settings.max_upload_bytes
        + settings.max_queued_tokens * TOKEN_BYTES
    )
    name = "the machine has" if limit is None or limit > total else "the container may use"
    shown = f"a server needs about {least / GIB:.1f} GiB, at most {most / GIB:.1f}; {name} {bound / GIB:.1f}"
    if least > bound:
        return failed(shown, "provide more memory, or use a smaller backbone")
    if most > bound:
        return warning(shown, "lower ADAKRON_ADAPTER_MEMORY_BYTES or ADAKRON_MAX_UPLOADS, or provide more memory")
    if least > available:
        return warning(
            f"{shown}, of which {available / GIB:.1f} are available now", "stop other programs that use memory"
        )
    return ok(shown)


def open_files(setup: Setup) -> Finding:
    """Compare the limit of open files with the admitted requests, each of which may hold a connection."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = setup.settings.max_queued_requests + OTHER_FILES
    shown = UNLIMITED if soft == resource.RLIM_INFINITY else f"{soft:,}"
    if soft != resource.RLIM_INFINITY and soft < needed:
        wanted = max(65_536, needed) if hard == resource.RLIM_INFINITY else min(max(65_536, needed), hard)
        return warning(
            f"{shown} files may be open, but ADAKRON_MAX_QUEUED_REQUESTS is {setup.settings.max_queued_requests}",
            f"`ulimit -n {wanted}` before the start, LimitNOFILE= (systemd) or ulimits: (compose)",
        )
    return ok(f"{shown} files may be open")


def _read_memory(root: Path) -> tuple[int, int]:
    """Return the total and the available bytes."""
    lines = (line.partition(":") for line in (root / "proc/meminfo").read_text().splitlines())
    sizes = {name: int(rest.split()[0]) * 1024 for name, _, rest in lines}
    return sizes["MemTotal"], sizes["MemAvailable"]


def kernels(setup: Setup) -> Finding:
    """Check that the C kernels are compiled and can be loaded, and that the machine supports int8 if it is set."""
    from adapters.backbone import native
    from adapters.backbone.quantized import AMX_HINT, int8_lanes, int8_tiles, why_not_int8

    if setup.settings.dtype == "int8":
        reason = why_not_int8("cuda" if setup.uses_cuda else "cpu")
        if reason is not None:
            return failed(f"ADAKRON_DTYPE=int8, but {reason}", "set ADAKRON_DTYPE=auto")
        if int8_tiles():
            return warning(f"compiled kernels, int8 products with AMX, but {AMX_HINT}", "set ADAKRON_DTYPE=auto")
        return ok(f"compiled kernels, int8 products with vectors of {int8_lanes()} numbers")
    if setup.uses_cuda:
        return ok("not needed: the GPU is used")
    library = native.library()
    if library is None:
        return warning(
            f"no compiled kernels ({native.LIBRARY}): attention and adapters run in torch, which is slower",
            "install a C compiler (apt-get install gcc libc6-dev) and run `python hatch_build.py`, or reinstall",
        )
    dtype, reason = choose_dtype(setup.settings.dtype, "cpu")
    if dtype == "float16":
        return warning("compiled, but not used in float16 on a CPU", "leave ADAKRON_DTYPE at auto on a CPU")
    width = library.adakron_width(int(dtype == "bfloat16"), 0)
    return ok(f"compiled kernels, with vectors of {width} numbers in {dtype} ({reason})")


def threads(setup: Setup) -> Finding:
    """Check that the engine has no more threads than cores, or than a container's CPU quota."""
    cores, quota, useful = num_cores(), read_limits(setup.root).cpus, usable_cpus(setup.root)
    chosen = setup.settings.engine_threads
    num_threads = chosen or useful
    findings = []
    if num_threads > useful:
        limit = f"the CPU quota is {quota:g}" if useful < cores else f"this process may use {cores} cores"
        findings.append(
            warning(
                f"{num_threads} engine threads, but {limit}: the threads wait for each other",
                f"set ADAKRON_ENGINE_THREADS={useful}",
            )
        )
    if setup.environment.get("OMP_NUM_THREADS") and not chosen and not setup.uses_cuda:
        value = setup.environment["OMP_NUM_THREADS"]
        findings.append(
            warning(
                f"OMP_NUM_THREADS={value} is set, but the engine ignores it",
                f"set ADAKRON_ENGINE_THREADS={value}",
            )
        )
    if findings:
        return combine(findings)
    default = "whole cores of the CPU quota" if useful < cores else "one per core"
    reason = "ADAKRON_ENGINE_THREADS" if chosen else default
    return ok(f"{num_threads} engine threads ({reason}), {cores} cores" + (f", CPU quota {quota:g}" if quota else ""))
