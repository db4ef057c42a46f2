"""The GPU: there if it is asked for, and able to run the kernels."""

import os
import shutil
import warnings
from importlib.util import find_spec

from service.doctor.finding import Finding, failed, ok, together, warning
from service.doctor.setup import Setup

FLASH = (8, 0)  # compute capability that attention in one launch needs
COMPILERS = ("clang", "gcc", "cc")  # those that Triton looks for


def gpu(setup: Setup) -> Finding:
    """CUDA works where ADAKRON_DEVICE asks for it; where `auto` passes over a GPU, why."""
    wanted = setup.settings.device
    if wanted == "cpu":
        return ok("not asked for (ADAKRON_DEVICE=cpu)")
    import torch

    with warnings.catch_warnings(record=True) as caught:  # of a driver that does not fit
        warnings.simplefilter("always")
        available = torch.cuda.is_available()
    if available:
        return _device(setup, int(wanted.partition(":")[2] or 0))
    has_driver = (setup.root / "proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None
    why, remedy = "torch sees no CUDA device", "look at `nvidia-smi`, and whether the container gets the GPU"
    if torch.version.cuda is None:
        why, remedy = f"torch {torch.__version__} is built without CUDA", "install a CUDA build of torch"
    elif caught:
        first = str(caught[0].message).strip().splitlines()[0][:200]
        why, remedy = f"driver and torch (CUDA {torch.version.cuda}) do not fit: {first}", "update the NVIDIA driver"
    if wanted != "auto":
        return failed(f"ADAKRON_DEVICE={wanted}, and {why}", f"{remedy}, or set ADAKRON_DEVICE=auto")
    if has_driver:
        return warning(f"there is an NVIDIA driver, but {why}: the CPU computes", remedy)
    return ok("none: the CPU computes")


def _device(setup: Setup, index: int) -> Finding:
    import torch

    count = torch.cuda.device_count()
    if index >= count:
        return failed(f"ADAKRON_DEVICE={setup.settings.device}, and there are {count}", "they count from cuda:0")
    name, capability = torch.cuda.get_device_name(index), torch.cuda.get_device_capability(index)
    free, total = torch.cuda.mem_get_info(index)
    shown = f"{name}, compute capability {capability[0]}.{capability[1]}, CUDA {torch.version.cuda}"
    findings = [ok(f"{shown}, {free / 2**30:.1f} of {total / 2**30:.1f} GiB free")]
    if free < setup.settings.adapter_memory_bytes:
        findings.append(
            failed(
                "less memory is free than ADAKRON_ADAPTER_MEMORY_BYTES",
                "set that lower, or end what else uses the GPU",
            )
        )
    if find_spec("triton") is None:
        findings.append(failed("Triton is missing, which compiles the kernels", "pip install triton"))
    compiler = os.environ.get("CC", "").split()[:1] or list(COMPILERS)
    if not any(shutil.which(each) for each in compiler):
        findings.append(failed("Triton needs a C compiler at start, and finds none", "apt-get install gcc"))
    if setup.settings.dtype == "float32":
        findings.append(
            warning("float32 runs without graphs and without flash attention", "leave ADAKRON_DTYPE at auto")
        )
    elif capability < FLASH:
        findings.append(
            warning("attention runs by groups of equal length, without graphs", "a GPU of Ampere or later does better")
        )
    if setup.settings.dtype in ("auto", "bfloat16") and not torch.cuda.is_bf16_supported(including_emulation=False):
        findings.append(warning("bfloat16 is only emulated", "set ADAKRON_DTYPE=float16"))
    return together(findings)
