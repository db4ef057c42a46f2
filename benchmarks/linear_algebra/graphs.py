"""Contenders outside torch, by the same ONNX graphs: ONNX Runtime and OpenVINO. `whole`: all layers in one call, which
leaves no place for the adapters and for packed attention; else two calls a layer."""

from collections.abc import Callable, Sequence

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from benchmarks.linear_algebra.layers import Layer, Linear

_OPSET = 20  # the first that has Gelu
Run = Callable[[dict[str, np.ndarray]], list[np.ndarray]]


class _Graph:
    """Nodes and weights while a model is put together."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []

    def node(self, kind: str, *inputs: str) -> str:
        """Add an operation; its output's name."""
        name = f"{kind}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, inputs, [name]))
        return name

    def linear(self, x: str, linear: Linear) -> str:
        """Add x W^T + b."""
        weight, bias = self._constant(linear.weight.t().contiguous()), self._constant(linear.bias)
        return self.node("Add", self.node("MatMul", x, weight), bias)

    def _constant(self, tensor: Tensor) -> str:
        name = f"constant_{len(self._weights)}"
        self._weights.append(numpy_helper.from_array(tensor.numpy(), name))
        return name

    def before_attention(self, x: str, layer: Layer) -> str:
        """The first part of a layer."""
        return self.linear(x, layer.qkv)

    def after_attention(self, x: str, attended: str, layer: Layer) -> str:
        """The second part of a layer."""
        x = self.node("Add", self.linear(attended, layer.attention_out), x)
        return self.linear(self.node("Gelu", self.linear(x, layer.ff_in)), layer.ff_out)

    def model(self, inputs: Sequence[str], outputs: Sequence[str], hidden: int) -> bytes:
        """The model, checked; the last output is the one that counts."""

        def value(name: str, width: int | None) -> onnx.ValueInfoProto:
            return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["T", width])

        graph = helper.make_graph(
            self._nodes,
            "layers",
            [value(name, hidden) for name in inputs],
            [value(name, None) for name in outputs],
            self._weights,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=10)
        onnx.checker.check_model(model)
        return model.SerializeToString()


def _whole(layers: Sequence[Layer]) -> bytes:
    graph, x, outputs = _Graph(), "x", []
    for layer in layers:
        outputs.append(graph.before_attention(x, layer))
        x = graph.after_attention(x, "attended", layer)
    return graph.model(["x", "attended"], [*outputs, x], _hidden(layers))


def _parts(layers: Sequence[Layer]) -> list[tuple[bytes, bytes]]:
    found = []
    for layer in layers:
        before, after = _Graph(), _Graph()
        found.append(
            (
                before.model(["x"], [before.before_attention("x", layer)], _hidden(layers)),
                after.model(["x", "attended"], [after.after_attention("x", "attended", layer)], _hidden(layers)),
            )
        )
    return found


def _hidden(layers: Sequence[Layer]) -> int:
    return layers[0].qkv.weight.shape[1]


class ByGraph:
    """ONNX graphs by an engine: `load(model)` gives its run."""

    def __init__(self, layers: Sequence[Layer], load: Callable[[bytes], Run], *, whole: bool) -> None:
        self._whole = load(_whole(layers)) if whole else None
        self._parts = [] if whole else [(load(before), load(after)) for before, after in _parts(layers)]

    def __call__(self, x: Tensor, attended: Tensor) -> Tensor:
        """See Contender."""
        array, other = x.numpy(), attended.numpy()
        if self._whole is not None:
            array = self._whole({"x": array, "attended": other})[-1]
        for before, after in self._parts:
            before({"x": array})
            array = after({"x": array, "attended": other})[-1]
        return torch.from_numpy(array)


def onnx_runtime(num_threads: int) -> Callable[[bytes], Run]:
    """How ONNX Runtime loads a model: all its graph optimisations, threads that rest between calls."""
    import onnxruntime

    def load(model: bytes) -> Run:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = num_threads, 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.add_session_config_entry("session.force_spinning_stop", "1")
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        return lambda inputs: session.run(None, inputs)

    return load


def openvino(num_threads: int) -> Callable[[bytes], Run]:
    """How OpenVINO loads a model: its hint for latency, all in float32."""
    from openvino import Core

    core = Core()
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": num_threads,
        "ENABLE_CPU_PINNING": False,
    }

    def load(model: bytes) -> Run:
        request = core.compile_model(core.read_model(model=model), "CPU", settings).create_infer_request()

        def run(inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
            results = request.infer(inputs, share_inputs=True, share_outputs=True)
            return [results[number] for number in range(len(results))]

        return run

    return load


class ByOpenVinoStreams:
    """OpenVINO's hint for throughput: as many streams as threads, a shard of the rows each, all layers in one call."""

    def __init__(self, layers: Sequence[Layer], num_threads: int) -> None:
        from openvino import Core

        settings = {
            "PERFORMANCE_HINT": "THROUGHPUT",
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": num_threads,
            "NUM_STREAMS": num_threads,
            "ENABLE_CPU_PINNING": False,
        }
        core = Core()
        compiled = core.compile_model(core.read_model(model=_whole(layers)), "CPU", settings)
        self._requests = [compiled.create_infer_request() for _ in range(num_threads)]
        self._last = len(layers)  # after one qkv of each layer

    def __call__(self, x: Tensor, attended: Tensor) -> Tensor:
        """See Contender."""
        shards = x.tensor_split(len(self._requests)), attended.tensor_split(len(self._requests))
        for request, one, other in zip(self._requests, *shards, strict=True):
            request.start_async({"x": one.numpy(), "attended": other.numpy()}, share_inputs=True)
        for request in self._requests:
            request.wait()
        return torch.cat([torch.from_numpy(request.get_output_tensor(self._last).data) for request in self._requests])
