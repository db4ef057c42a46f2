"""The GPU: present if requested, and able to run the kernels."""

import os
import shutil
import warnings
from importlib.util import find_spec

from service.doctor.core import Finding, Setup, combine, failed, ok, warning

FLASH = (8, 0)  # least compute capability for attention in one launch
COMPILERS = ("clang", "gcc", "cc")  # searched by Triton


def gpu(setup: Setup) -> Finding:
    """Check that CUDA works if ADAKRON_DEVICE requests it; say why `auto` does not use a GPU that exists."""
    wanted = setup.settings.device
    if wanted == "cpu":
        return ok("not requested (ADAKRON_DEVICE=cpu)")
    import torch

    with warnings.catch_warnings(record=True) as caught:  # torch warns of an unsuitable driver
        warnings.simplefilter("always")
        available = torch.cuda.is_available()
    if available:
        return _check_device(setup, int(wanted.partition(":")[2] or 0))
    has_driver = (setup.root / "proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None
    why, remedy = "torch finds no CUDA device", "check `nvidia-smi`, and that the container is given the GPU"
    if torch.version.cuda is None:
        why, remedy = f"torch {torch.__version__} is built without CUDA", "install a CUDA build of torch"
    elif caught:
        first = str(caught[0].message).strip().splitlines()[0][:200]
        why, remedy = (
            f"the driver does not support torch's CUDA {torch.version.cuda}: {first}",
            "update the NVIDIA driver",
        )
    if wanted != "auto":
        return failed(f"ADAKRON_DEVICE={wanted}, but {why}", f"{remedy}, or set ADAKRON_DEVICE=auto")
    if has_driver:
        return warning(f"there is an NVIDIA driver, but {why}: the CPU is used", remedy)
    return ok("none: the CPU is used")


def _check_device(setup: Setup, index: int) -> Finding:
    import torch

    count = torch.cuda.device_count()
    if index >= count:
        return failed(
            f"ADAKRON_DEVICE={setup.settings.device}, but there are only {count} GPUs", "the first one is cuda:0"
        )
    name, capability = torch.cuda.get_device_name(index), torch.cuda.get_device_capability(index)
    free, total = torch.cuda.mem_get_info(index)
    shown = f"{name}, compute capability {capability[0]}.{capability[1]}, CUDA {torch.version.cuda}"
    findings = [ok(f"{shown}, {free / 2**30:.1f} of {total / 2**30:.1f} GiB free")]
    if free < setup.settings.adapter_memory_bytes:
        findings.append(
            failed(
                "less GPU memory is free than ADAKRON_ADAPTER_MEMORY_BYTES",
                "lower it, or stop other programs that use the GPU",
            )
        )
    if find_spec("triton") is None:
        findings.append(failed("Triton, which compiles the kernels, is missing", "pip install triton"))
    compiler = os.environ.get("CC", "").split()[:1] or list(COMPILERS)
    if not any(shutil.which(each) for each in compiler):
        findings.append(failed("Triton needs a C compiler at the start and finds none", "apt-get install gcc"))
    if setup.settings.dtype == "float32":
        findings.append(warning("float32 uses neither CUDA graphs nor flash attention", "leave ADAKRON_DTYPE at auto"))
    elif capability < FLASH:
        findings.append(
            warning("attention runs by groups of equal length, without CUDA graphs", "use a GPU of Ampere or later")
        )
    if setup.settings.dtype in ("auto", "bfloat16") and not torch.cuda.is_bf16_supported(including_emulation=False):
        findings.append(warning("bfloat16 is only emulated", "set ADAKRON_DTYPE=float16"))
    return combine(findings)
