"""Measures contenders for attention: one layer's, [T, 3H] -> [T, H], on GLUE texts of about 1,024 tokens."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from adapters.backbone.source import load_backbone
from benchmarks.linear_algebra.timing import alone, by_turns, median_ms
from benchmarks.sentences import glue_inputs

NUM_TOKENS = 1024
NUM_BATCHES = 8  # as many mixes of lengths
EQUAL = "SDPA, groups of equal length"
_LOW = -1e9  # added where there is no token


@dataclass(frozen=True)
class Group:
    """Sequences filled up to one length, side by side in the grouped order."""

    start: int
    num_sequences: int
    length: int
    is_token: Tensor | None  # [n, 1, 1, length] bool; None: nothing is filled up
    bias: Tensor | None  # the same, 0 or _LOW

    @property
    def stop(self) -> int:
        """First row after the group."""
        return self.start + self.num_sequences * self.length


@dataclass(frozen=True)
class Grouping:
    """Where each token goes."""

    groups: tuple[Group, ...]
    to_groups: Tensor
    from_groups: Tensor


def grouping(lengths: Sequence[int], step: int) -> Grouping:
    """Each sequence filled up to a multiple of `step`."""
    sizes = np.asarray(lengths)
    starts, filled = np.cumsum(sizes) - sizes, -(-sizes // step) * step
    groups, to_groups, from_groups, at = [], [], np.empty(sizes.sum(), dtype=np.int64), 0
    for length in np.unique(filled).tolist():
        members = np.flatnonzero(filled == length)
        is_token = np.arange(length) < sizes[members, None]
        rows = starts[members, None] + np.where(is_token, np.arange(length), 0)
        from_groups[rows[is_token]] = at + np.flatnonzero(is_token)
        to_groups.append(rows.ravel())
        mask = None if is_token.all() else torch.from_numpy(is_token)[:, None, None, :]
        bias = None if mask is None else torch.zeros(mask.shape).masked_fill_(~mask, _LOW)
        groups.append(Group(at, len(members), length, mask, bias))
        at += len(members) * length
    return Grouping(tuple(groups), torch.from_numpy(np.concatenate(to_groups)), torch.from_numpy(from_groups))


Kernel = Callable[[Tensor, Group, int], Tensor]  # block [n * l, 3H] of a group, heads -> [n * l, H]


def attend(kernel: Kernel, num_heads: int, where: Grouping, qkv: Tensor) -> Tensor:
    """The whole of it, with bringing rows into groups and back."""
    grouped = qkv.index_select(0, where.to_groups)
    outputs = [kernel(grouped[group.start : group.stop], group, num_heads) for group in where.groups]
    return torch.cat(outputs).index_select(0, where.from_groups)


def _three(block: Tensor, group: Group, num_heads: int) -> tuple[Tensor, Tensor, Tensor]:
    query, key, value = block.view(group.num_sequences, group.length, 3, num_heads, -1).permute(2, 0, 3, 1, 4)
    return query, key, value


def sdpa(block: Tensor, group: Group, num_heads: int, *, additive: bool = False) -> Tensor:
    """torch's fused attention; its mask is of bool, or is added."""
    attended = F.scaled_dot_product_attention(
        *_three(block, group, num_heads), attn_mask=group.bias if additive else group.is_token
    )
    return attended.transpose(1, 2).reshape(len(block), -1)


def products(block: Tensor, group: Group, num_heads: int) -> Tensor:
    """bmm, softmax, bmm."""
    query, key, value = _three(block, group, num_heads)
    scores = torch.matmul(query * query.shape[-1] ** -0.5, key.transpose(-1, -2))
    if group.bias is not None:
        scores += group.bias
    return torch.matmul(scores.softmax(-1), value).transpose(1, 2).reshape(len(block), -1)


def onnx_runtime(num_heads: int, hidden: int, num_threads: int) -> Kernel:
    """ONNX Runtime's fused operation, once a group."""
    import onnxruntime
    from onnx import TensorProto, helper

    def value(name: str, *shape: int | str) -> object:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    names = ["query", "key", "value"]
    node = helper.make_node(
        "MultiHeadAttention", [*names, "", "", "bias"], ["y"], domain="com.microsoft", num_heads=num_heads
    )
    graph = helper.make_graph(
        [node],
        "attention",
        [*(value(name, "n", "l", hidden) for name in names), value("bias", "n", 1, "l", "l")],
        [value("y", "n", "l", hidden)],
    )
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = onnxruntime.InferenceSession(
        helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString(),
        options,
        providers=["CPUExecutionProvider"],
    )

    def kernel(block: Tensor, group: Group, num_heads: int) -> Tensor:
        parts = block.view(group.num_sequences, group.length, 3, hidden).unbind(2)
        bias = torch.zeros(1) if group.bias is None else group.bias
        shape = (group.num_sequences, 1, group.length, group.length)
        inputs = {name: part.contiguous().numpy() for name, part in zip(names, parts, strict=True)}
        found = session.run(None, inputs | {"bias": bias.expand(shape).contiguous().numpy()})[0]
        return torch.from_numpy(found).view(len(block), hidden)

    return kernel


def openvino(num_heads: int, hidden: int, num_threads: int) -> Kernel:
    """OpenVINO's fused operation, once a group."""
    import openvino
    from openvino import opset13 as ops

    def parameter(*shape: int) -> object:
        return ops.parameter(openvino.PartialShape(list(shape)), np.float32)

    inputs = [parameter(-1, num_heads, -1, hidden // num_heads) for _ in range(3)]
    bias = parameter(-1, 1, 1, -1)
    model = openvino.Model([ops.scaled_dot_product_attention(*inputs, bias)], [*inputs, bias])
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": num_threads,
        "ENABLE_CPU_PINNING": False,
    }
    request = openvino.Core().compile_model(model, "CPU", settings).create_infer_request()

    def kernel(block: Tensor, group: Group, num_heads: int) -> Tensor:
        parts = [part.contiguous().numpy() for part in _three(block, group, num_heads)]
        bias = torch.zeros(group.num_sequences, 1, 1, group.length) if group.bias is None else group.bias
        found = torch.from_numpy(request.infer([*parts, bias.numpy()], share_inputs=True, share_outputs=True)[0])
        return found.transpose(1, 2).reshape(len(block), hidden)

    return kernel


@torch.no_grad()
def measure_attention(
    hidden: int, num_heads: int, num_threads: int, budget_s: float, lock: Path | None
) -> dict[str, object]:
    """Of each contender: milliseconds a layer, and its speed as a share of groups of equal length."""
    torch.manual_seed(0)
    torch.set_num_threads(num_threads)
    mixes = _mixes()
    inputs = [torch.randn(sum(lengths), 3 * hidden) for lengths in mixes]
    kernels: dict[str, tuple[Kernel, int]] = {EQUAL: (sdpa, 1)}
    for step in (8, 16, 32, 128):
        kernels[f"SDPA, filled up to multiples of {step}"] = (sdpa, step)
    kernels["SDPA, filled up to multiples of 16, mask added"] = (partial(sdpa, additive=True), 16)
    kernels["bmm, softmax, bmm, groups of equal length"] = (products, 1)
    kernels["bmm, softmax, bmm, filled up to multiples of 16"] = (products, 16)
    for name, make in (("ONNX Runtime", onnx_runtime), ("OpenVINO", openvino)):
        try:
            kernel = make(num_heads, hidden, num_threads)
        except ImportError as error:
            print(f"{name}: not installed ({error.name})", flush=True)
            continue
        for step in (1, 16):
            kernels[f"{name}, filled up to multiples of {step}"] = (kernel, step)
    truth = attend(products, num_heads, grouping(mixes[0], 1), inputs[0].double())
    functions, errors = {}, {}
    for name, (kernel, step) in kernels.items():
        where = [grouping(lengths, step) for lengths in mixes]
        functions[name] = partial(_on_batch, kernel, num_heads, where, inputs)
        errors[name] = float(f"{(functions[name](0) - truth).abs().max() / truth.abs().max():.1e}")
    with alone(lock):
        seconds = by_turns(functions, range(NUM_BATCHES), budget_s)
    ms = {name: median_ms([s for batch in range(NUM_BATCHES) for s in seconds[name, batch]]) for name in functions}
    return {
        "hidden": hidden,
        "heads": num_heads,
        "threads": num_threads,
        "tokens": NUM_TOKENS,
        "rounds": min(len(times) for times in seconds.values()),
        "contenders": {
            name: {"ms": ms[name], "fraction": round(ms[EQUAL] / ms[name], 3), "max_error": errors[name]} for name in ms
        },
    }


def _on_batch(kernel: Kernel, num_heads: int, where: list[Grouping], inputs: list[Tensor], number: int) -> Tensor:
    return attend(kernel, num_heads, where[number], inputs[number])


def _mixes() -> list[list[int]]:
    """Lengths of texts, so many that each mix has at most NUM_TOKENS tokens and would not take one more."""
    encodings = load_backbone().encoder.encode(glue_inputs(100 * NUM_BATCHES), max_length=128)
    mixes: list[list[int]] = [[]]
    for length in map(len, encodings):
        if sum(mixes[-1]) + length > NUM_TOKENS:
            mixes.append([])
        mixes[-1].append(length)
    return mixes[:NUM_BATCHES]
