"""Compile the kernels for an H100 without one; prints what came out as JSON."""

import json
import re
import sys

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from adapters.cuda import fused_kernel, head_kernel

H100 = GPUTarget("cuda", 90, 32)


def compiled(kernel: object, types: dict[str, str], sizes: dict[str, int]) -> dict[str, int]:
    """Sizes and instructions of `kernel` for arguments of these types; pointers are multiples of 16 bytes."""
    signature = types | dict.fromkeys(sizes, "constexpr")
    aligned = {(place,): [["tt.divisibility", 16]] for place, kind in enumerate(types.values()) if kind[0] == "*"}
    source = ASTSource(fn=kernel, signature=signature, constexprs=sizes, attrs=aligned)
    result = triton.compile(source, target=H100, options={"num_warps": 4})
    ptx = result.asm["ptx"]
    return {
        "cubin_bytes": len(result.asm["cubin"]),
        "shared_bytes": result.metadata.shared,
        "tensor_core_products": len(re.findall(r"\bw?g?mma\.[\w.]*(?:bf16|f16)", ptx)),
        "16_byte_copies": len(re.findall(r"cp\.async\.cg\.shared\.global|ld\.global\.v4\.b32", ptx)),
        "16_byte_stores": len(re.findall(r"st\.global\.v4\.b32", ptx)),
        "uses_of_local_memory": len(re.findall(r"\b(?:ld|st)\.local", ptx)),
    }


def both(kind: str, shape: fused_kernel.KernelShape) -> dict[str, dict[str, int]]:
    """Both kernels in the type given, at the size of BERT-base."""
    adapters = compiled(
        fused_kernel._kernel,
        {"h": f"*{kind}", "tiles": "*i32", "bottlenecks": "*i32", "addresses": "*i64", "layer": "i32"},
        {
            "H": 768,
            "NUM_LAYERS": 12,
            "Q": shape.q,
            "WIDTH": shape.width,
            "ROWS": fused_kernel.ROWS_PER_TILE,
            "BLOCK": fused_kernel.block_columns(768, shape),
        },
    )
    heads = compiled(
        head_kernel._kernel,
        {
            "hidden": f"*{kind}",
            "pooled_first": f"*{kind}",
            "cu_seqlens": "*i32",
            "sequences": "*i32",
            "heads": "*i64",
            "logits": "*fp32",
        },
        {"H": 768, "ROWS": 16, "OUTPUTS": 16, "BLOCK": 128},
    )
    return {"adapters": adapters, "heads": heads}


if __name__ == "__main__":
    shapes = {"paper": fused_kernel.KernelShape(4, 16), "widest": fused_kernel.KernelShape(8, 64)}
    results = {
        f"{kind} {name}": both(kind, shape) for kind in ("bf16", "fp16", "fp32") for name, shape in shapes.items()
    }
    json.dump(results, sys.stdout)
