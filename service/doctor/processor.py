"""The CPU: compiled kernels, and as many threads as there are cores."""

from service.doctor.finding import Finding, ok, together, warning
from service.doctor.setup import Setup
from service.processes.cgroups import num_cores, read_limits, usable_cpus


def kernels(setup: Setup) -> Finding:
    """The kernels in C are compiled, and can be loaded here."""
    from adapters.backbone import native

    if setup.uses_cuda:
        return ok("not needed: the GPU computes")
    library = native.library()
    if library is None:
        return warning(
            f"no compiled kernels ({native.LIBRARY}): attention and adapters run in torch, slower",
            "install a C compiler (apt-get install gcc libc6-dev) and run `python hatch_build.py`, or install again",
        )
    if setup.settings.dtype not in ("auto", "float32"):
        return warning(
            f"compiled, but not used in {setup.settings.dtype} on a CPU", "leave ADAKRON_DTYPE at auto on a CPU"
        )
    return ok(f"compiled kernels, with vectors of {library.adakron_width(0)} floats")


def threads(setup: Setup) -> Finding:
    """The engine has no more threads than cores, a container's quota counted."""
    cores, quota, useful = num_cores(), read_limits(setup.root).cpus, usable_cpus(setup.root)
    chosen = setup.settings.engine_threads
    num_threads = chosen or useful
    findings = []
    if num_threads > useful:
        limit = f"the CPU quota is {quota:g}" if useful < cores else f"this process may use {cores} cores"
        findings.append(
            warning(
                f"{num_threads} engine threads, and {limit}: they wait for each other",
                f"set ADAKRON_ENGINE_THREADS={useful}",
            )
        )
    if setup.environment.get("OMP_NUM_THREADS") and not chosen and not setup.uses_cuda:
        value = setup.environment["OMP_NUM_THREADS"]
        findings.append(
            warning(
                f"OMP_NUM_THREADS={value} is set, and the engine does not heed it",
                f"set ADAKRON_ENGINE_THREADS={value}",
            )
        )
    if findings:
        return together(findings)
    by_itself = "whole cores of the CPU quota" if useful < cores else "one per core"
    of = "ADAKRON_ENGINE_THREADS" if chosen else by_itself
    return ok(f"{num_threads} engine threads ({of}), {cores} cores" + (f", CPU quota {quota:g}" if quota else ""))
