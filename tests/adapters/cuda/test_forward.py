"""The forward for GPUs, on the CPU: kernels interpreted, attention by its slow stand-in, captures faked."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import BertConfig, BertModel

pytest.importorskip("triton", reason="Triton is not installed (it comes with the dev extra on Linux)")
if torch.cuda.is_available():
    pytest.skip("test_cuda.py tests the real thing", allow_module_level=True)

from adapters.adapter import Adapter
from adapters.backbone.attention import VarlenPacking
from adapters.backbone.encoder import Backbone
from adapters.backbone.source import LoadedBackbone, load_backbone
from adapters.backbone.text_encoder import Encoding
from adapters.cuda import forward as cuda_forward
from adapters.cuda.batch_tables import TableSizes, carve, num_table_bytes
from adapters.cuda.forward import CudaForward
from adapters.cuda.fused_kernel import KernelShape
from adapters.serving.bank import AdapterBank
from adapters.serving.batch import BatchTokens
from service.engine.engine import Engine
from tests.service.engine.test_engine import TEXTS, all_kinds
from tests.support.factories import make_adapter, tiny_identity
from tests.support.kernels import mend_bfloat16_products
from tests.support.reference import reference_logits, slow_varlen_attn

TOLERANCE = {torch.float32: 1e-5, torch.float16: 5e-3, torch.bfloat16: 5e-2}


class FakeGraphs:
    """Calls the function again, as a graph would run it again."""

    def __init__(self) -> None:
        self.num_captures = self.num_replays = 0

    def capture(self, function: Callable[[], object]) -> Callable[[], None]:
        self.num_captures += 1
        function()

        def replay() -> None:
            self.num_replays += 1
            function()

        return replay


@pytest.fixture(autouse=True)
def _stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attention in every type by its slow stand-in, and bfloat16 as a GPU multiplies it."""
    mend_bfloat16_products(monkeypatch)
    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", slow_varlen_attn)
    monkeypatch.setattr(cuda_forward, "supports_varlen", lambda *given: True)


def run(forward: CudaForward, segments: list[tuple[int, list[Encoding]]]) -> list[np.ndarray]:
    """Prepare and compute a batch of segments (slot, encodings)."""
    return forward.compute(forward.prepare(BatchTokens.of(segments)))


def with_adapters(loaded: LoadedBackbone, adapters: list[Adapter]) -> AdapterBank:
    bank = AdapterBank(loaded.identity.hidden_size, "cpu", loaded.backbone.dtype)
    for slot, adapter in enumerate(adapters):
        bank.write(slot, adapter)
    return bank


def warmed(loaded: LoadedBackbone, bank: AdapterBank, max_batch_tokens: int = 64) -> tuple[CudaForward, FakeGraphs]:
    graphs = FakeGraphs()
    forward = CudaForward(loaded.backbone, bank, max_batch_tokens=max_batch_tokens, capture=graphs.capture)
    forward.warm_up()
    return forward, graphs


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("graphs", [False, True])
def test_mixed_batch_equals_the_reference(tiny: LoadedBackbone, graphs: bool, dtype: torch.dtype) -> None:
    """Every input of a mixed batch gets what BertModel, the equation, its pooling and its head give it alone."""
    loaded = load_backbone(tiny.identity.name, dtype=dtype)
    bert = BertModel.from_pretrained(tiny.identity.name).eval()
    adapters = all_kinds(loaded)
    forward = CudaForward(loaded.backbone, with_adapters(loaded, adapters), max_batch_tokens=64)
    if graphs:
        forward, fake = warmed(loaded, with_adapters(loaded, adapters))
    encodings = loaded.encoder.encode(TEXTS, max_length=64)
    shares = [encodings[:2], encodings[2:3], encodings[1:4], encodings[4:]]
    results = run(forward, list(enumerate(shares)))
    assert not graphs or fake.num_replays == 1
    for adapter, share, logits in zip(adapters, shares, results, strict=True):
        assert logits.shape == (len(share), adapter.metadata.task.num_outputs)
        assert logits.dtype == np.float32
        for encoding, row in zip(share, logits, strict=True):
            assert np.abs(row - reference_logits(bert, encoding, adapter)).max() < TOLERANCE[dtype]


def test_float32_goes_by_groups_and_without_graphs(tiny: LoadedBackbone, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dtype that torch's attention does not support runs without it, and without captures."""
    monkeypatch.undo()
    bank = with_adapters(tiny, all_kinds(tiny))
    forward, fake = warmed(tiny, bank)
    encodings = tiny.encoder.encode(TEXTS, max_length=64)
    (got,), (expected,) = (
        run(forward, [(1, encodings)]),
        Engine(tiny.backbone, bank).forward(BatchTokens.of([(1, encodings)])),
    )
    assert np.abs(got - expected).max() < 1e-5
    assert fake.num_captures == 0


def test_one_graph_serves_every_mix(tiny: LoadedBackbone) -> None:
    """Batch after batch of other adapters, lengths and sizes runs in graphs captured once, and leaves no trace."""
    adapters = all_kinds(tiny)
    bank = with_adapters(tiny, adapters)
    forward, fake = warmed(tiny, bank)
    num_captures = fake.num_captures
    eager = CudaForward(tiny.backbone, bank, max_batch_tokens=64)
    encodings = tiny.encoder.encode(TEXTS, max_length=64)
    mixes = [[(0, encodings)], [(3, encodings[:1])], [(2, encodings[1:3]), (1, encodings[:1]), (0, encodings[4:])]]
    for mix in [*mixes, *reversed(mixes)]:
        for got, expected in zip(run(forward, mix), run(eager, mix), strict=True):
            assert np.abs(got - expected).max() < 1e-6
    assert (fake.num_captures, fake.num_replays) == (num_captures, 6)


def test_padding_reaches_no_answer(tiny_folder: object, tiny: LoadedBackbone) -> None:
    """NaN in every padding token does not change an answer."""
    loaded = load_backbone(tiny.identity.name)
    bank = with_adapters(loaded, all_kinds(loaded))
    encodings = loaded.encoder.encode(TEXTS, max_length=64)
    mix = [(0, encodings[:1]), (1, encodings[1:2]), (2, encodings[2:])]
    expected = run(CudaForward(loaded.backbone, bank, max_batch_tokens=64), mix)
    loaded.backbone.word.weight[0] = torch.nan  # what padding tokens are; no text has it
    forward, fake = warmed(loaded, bank)
    assert sum(len(encoding) for encoding in encodings) not in {48, 64}
    for got, want in zip(run(forward, mix), expected, strict=True):
        assert np.abs(got - want).max() < 1e-6
    assert fake.num_replays == 1


@pytest.mark.parametrize(
    ("options", "repeats", "logits_per_sequence"),
    [({}, 8, 256), ({"p": 24, "q": 8}, 1, 256), ({"labels": tuple("abcdef")}, 1, 3)],
    ids=["too many tokens", "too wide", "too many logits"],
)
def test_what_fits_no_graph_runs_eagerly(
    tiny: LoadedBackbone, options: dict, repeats: int, logits_per_sequence: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch beyond the largest bucket, of wide adapters or of many labels gives the loop's answer, uncaptured."""
    monkeypatch.setattr(cuda_forward, "_LOGITS_PER_SEQUENCE", logits_per_sequence)
    bank = with_adapters(tiny, [make_adapter(identity=tiny.identity, **options)])
    forward, fake = warmed(tiny, bank)
    encodings = tiny.encoder.encode(TEXTS, max_length=64) * repeats
    (got,), (expected,) = (
        run(forward, [(0, encodings)]),
        Engine(tiny.backbone, bank).forward(BatchTokens.of([(0, encodings)])),
    )
    assert np.abs(got - expected).max() < 1e-5
    assert fake.num_replays == 0


def test_engine_hands_over_what_the_kernels_take(tiny: LoadedBackbone) -> None:
    """The engine uses the kernels, and the loop for a batch in which one adapter is too wide for them."""
    bank = with_adapters(
        tiny, [make_adapter(identity=tiny.identity), make_adapter(identity=tiny.identity, p=1000, q=1)]
    )
    forward, fake = warmed(tiny, bank)
    engine, plain = Engine(tiny.backbone, bank, cuda=forward), Engine(tiny.backbone, bank)
    encodings = tiny.encoder.encode(TEXTS[:2], max_length=64)
    for segments, num_replays in (([(0, encodings)], 1), ([(0, encodings), (1, encodings)], 1)):
        batch = BatchTokens.of(segments)
        for got, expected in zip(engine.forward(batch), plain.forward(batch), strict=True):
            assert np.abs(got - expected).max() < 1e-5
        assert fake.num_replays == num_replays


def test_an_adapter_dropped_meanwhile_stays_to_the_end(tiny: LoadedBackbone, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slot cleared while its batch runs changes no answer; the next batch for it fails."""
    bank = with_adapters(tiny, all_kinds(tiny))
    forward = CudaForward(tiny.backbone, bank, max_batch_tokens=64)
    encodings = tiny.encoder.encode(TEXTS, max_length=64)
    (expected,) = run(forward, [(0, encodings)])
    add = cuda_forward.add_adapters

    def clearing(*arguments: object) -> torch.Tensor:
        if arguments[4] == 0:  # the first layer
            bank.clear(0)
            torch.empty(1 << 16).fill_(torch.nan)  # would take the memory, were it free
        return add(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(cuda_forward, "add_adapters", clearing)
    (got,) = run(forward, [(0, encodings)])
    assert np.array_equal(got, expected)
    with pytest.raises(KeyError):
        run(forward, [(0, encodings)])


class OnDevice(TorchDispatchMode):
    """Notes each operation, and fails on one that brings a tensor anywhere but to the GPU."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        self.names.append(str(func))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor) and leaf.device.type != "cuda":
                raise AssertionError(f"{func} gives a tensor on the {leaf.device}")
        return result


def run_without_memory(monkeypatch: pytest.MonkeyPatch, add: Callable[..., torch.Tensor]) -> list[str]:
    """The captured part in bfloat16 on a GPU that is not there: shapes without contents. The operations that it ran."""
    monkeypatch.undo()
    monkeypatch.setattr(cuda_forward, "supports_varlen", lambda *given: True)
    monkeypatch.setattr(cuda_forward, "add_adapters", add)
    monkeypatch.setattr(cuda_forward, "pool_and_classify", lambda *tables: tables[-1])
    config = BertConfig(vocab_size=50, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64)
    sizes = TableSizes(num_tokens=20, num_sequences=4, num_segments=2, num_tiles=3, num_layers=2, max_length=10)
    backbone = Backbone(config, tiny_identity(), has_pooler=True)
    with FakeTensorMode(), torch.no_grad():
        for module in backbone.modules():
            for name, parameter in module.named_parameters(recurse=False):
                weights = torch.empty(parameter.shape, dtype=torch.bfloat16, device="cuda")
                setattr(module, name, torch.nn.Parameter(weights, requires_grad=False))
        forward = CudaForward(backbone, AdapterBank(32, "cuda", torch.bfloat16), max_batch_tokens=64)
        tables = carve(torch.empty(num_table_bytes(sizes), dtype=torch.uint8, device="cuda"), sizes)
        packing = VarlenPacking(tables.cu_seqlens, tables.positions, sizes.max_length)
        with OnDevice() as seen:
            forward._forward(tables, torch.empty(16, device="cuda"), KernelShape(4, 16), packing)
    return seen.names


def test_nothing_in_a_forward_waits_for_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between tables and logits no operation reads a device value, has a shape that does, or leaves the device."""
    names = run_without_memory(monkeypatch, lambda h, *rest: h)
    assert sum("_varlen_attn" in name for name in names) == 2  # one launch a layer
    assert not any("_local_scalar_dense" in name or "nonzero" in name for name in names)


def test_a_wait_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above fails for a site that reads a value of the device, or moves one to the host."""
    with pytest.raises(DataDependentOutputException):
        run_without_memory(monkeypatch, lambda h, *rest: h * h.sum().item())
    with pytest.raises(AssertionError, match="tensor on the cpu"):
        run_without_memory(monkeypatch, lambda h, *rest: h.cpu().cuda())
