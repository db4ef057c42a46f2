"""Compile adapters/backbone/kernels/*.c during installation; without a C compiler, torch replaces the kernels.

`python hatch_build.py` compiles without installing.
"""

import hashlib
import os
import platform
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # run as a script
    BuildHookInterface = object

SOURCES = Path(__file__).parent / "adapters" / "backbone" / "kernels"
LIBRARY = SOURCES / "libkernels.so"
FLAGS = (
    "-std=gnu11",
    "-O3",
    "-fPIC",
    "-fno-math-errno",
    "-fvisibility=hidden",
    "-Wall",
    "-Wno-psabi",
    "-Werror=implicit",
)
ENTRY_POINTS = ("machine", "dispatch", "int8_dispatch")
AVX512 = ("-mavx512f", "-mavx512dq", "-mfma")
AVX2 = ("-mavx2", "-mfma")
VARIANTS = {("float32", "plain"): (), ("bfloat16", "plain"): ()}  # flags by type and variant
INT8_VARIANTS: list[tuple[str, str, str, tuple[str, ...]]] = [  # variant, source, instruction, flags
    ("amx", "int8_tiles.c", "tdpbusd", ("-DWITHOUT_INSTRUCTION",))
]
if platform.machine() in ("x86_64", "AMD64"):
    for name in ("float32", "bfloat16"):
        VARIANTS |= {(name, "avx512"): AVX512, (name, "avx2"): AVX2}
    INT8_VARIANTS = [
        ("avx512", "int8.c", "vpdpbusd", AVX512),
        ("avx2", "int8.c", "vpdpbusd", AVX2),
        ("amx", "int8_tiles.c", "tdpbusd", AVX512),
    ]
    VARIANTS["bfloat16", "avx512bf16"] = (*AVX512, "-mavx512bw", "-mavx512bf16")
    VARIANTS["bfloat16", "amx"] = (*VARIANTS["bfloat16", "avx512bf16"], "-DAMX")


def sources_number() -> int:
    """Return a number of 56 bits that changes with the sources: native.py uses no library that has another one."""
    files = sorted(path for path in SOURCES.iterdir() if path.suffix in (".c", ".h"))
    digests = [hashlib.sha256(path.read_bytes()).digest() for path in files]
    return int.from_bytes(hashlib.sha256(b"".join(digests)).digest()[:7])


def build() -> Path:
    """Compile the library that adapters/backbone/native.py loads. Raises RuntimeError if that fails."""
    compiler = shlex.split(os.environ.get("CC", "")) or ["cc"]
    LIBRARY.unlink(missing_ok=True)  # a library from other sources must not remain
    with tempfile.TemporaryDirectory() as folder:
        objects = [Path(folder) / f"{name}.o" for name in ENTRY_POINTS]
        number = f"-DSOURCES_NUMBER={sources_number()}"
        for name, into in zip(ENTRY_POINTS, objects, strict=True):
            _run([*compiler, *FLAGS, number, "-c", str(SOURCES / f"{name}.c"), "-o", str(into)])
        for (dtype, variant), flags in VARIANTS.items():
            objects.append(Path(folder) / f"{dtype}-{variant}.o")
            names = [f"-DTYPE={dtype}", f"-DVARIANT={variant}", *(["-DBFLOAT16"] if dtype == "bfloat16" else [])]
            _run([*compiler, *FLAGS, *flags, *names, "-c", str(SOURCES / "variant.c"), "-o", str(objects[-1])])
        objects += [*_compile_int8(compiler, Path(folder)), _compile_tiled(compiler, Path(folder))]
        linked = LIBRARY.with_suffix(f".{os.getpid()}")
        _run([*compiler, "-shared", *map(str, objects), "-lm", "-o", str(linked)])
        linked.replace(LIBRARY)
    return LIBRARY


def _compile_int8(compiler: list[str], folder: Path) -> list[Path]:
    """Compile the products in int8; without an instruction that the assembler does not know."""
    objects = []
    for name, source, instruction, flags in INT8_VARIANTS:
        objects.append(folder / f"int8-{name}.o")
        command = [*compiler, *FLAGS, *flags, f"-DVARIANT={name}", "-c", str(SOURCES / source), "-o", str(objects[-1])]
        try:
            _run(command)
        except RuntimeError as error:
            if instruction not in str(error):
                raise
            sys.stderr.write(f"the assembler does not know {instruction}: no products in int8 for {name}\n")
            _run([*command, "-DWITHOUT_INSTRUCTION"])
    return objects


def _compile_tiled(compiler: list[str], folder: Path) -> Path:
    """Compile the products in bfloat16 with AMX; without them if the assembler does not know its tiles."""
    made = folder / "tiled.o"
    command = [*compiler, *FLAGS, "-c", str(SOURCES / "tiled.c"), "-o", str(made)]
    if bfloat16 := VARIANTS.get(("bfloat16", "avx512bf16")):
        try:
            _run([*command, *bfloat16, "-DWITH_AMX"])
            return made
        except RuntimeError as error:
            if "tdpbf16ps" not in str(error):
                raise
            sys.stderr.write("the assembler does not know tdpbf16ps: oneDNN computes the products in bfloat16\n")
    _run(command)
    return made


def _run(command: list[str]) -> None:
    try:
        found = subprocess.run(command, capture_output=True, text=True)
    except OSError as error:
        raise RuntimeError(f"no C compiler ({command[0]}: {error.strerror}; $CC names another)") from error
    if found.returncode:
        raise RuntimeError(f"{shlex.join(command)} failed:\n{found.stderr.strip()}")


class CustomBuildHook(BuildHookInterface):  # type: ignore[misc]
    """Builds the kernels for wheels and editable installations."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and mark the wheel as platform-specific; without a compiler the wheel is pure Python."""
        try:
            library = build()
        except RuntimeError as error:
            self.app.display_warning(f"adakron-serve has no C kernels and is slower on a CPU: {error}")
            return
        build_data["artifacts"].append(library.relative_to(Path(self.root)).as_posix())
        build_data["pure_python"] = False
        build_data["infer_tag"] = True


if __name__ == "__main__":
    try:
        print(build())  # noqa: T201
    except RuntimeError as error:
        sys.exit(str(error))
