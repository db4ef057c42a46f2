"""The whole GPU path on a GPU; skipped on machines without one.

There the kernels' own tests (test_fused_kernel, test_head_kernel, test_attention) run compiled, not interpreted.
"""

import importlib.util
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from transformers import BertModel

from adapters.adapter import Adapter
from adapters.backbone.files import PACKAGES, locate
from adapters.backbone.packing import Packing
from adapters.backbone.source import LoadedBackbone, load_backbone
from adapters.backbone.text_encoder import Encoding
from adapters.config import DEFAULT_BACKBONE
from adapters.serving.bank import AdapterBank, SegmentRows
from adapters.serving.batch import BatchTokens
from adapters.serving.verification import TOLERANCE
from service.engine.engine import Engine
from service.engine.worker import _cuda_forward
from service.settings import Settings
from tests.service.engine.test_engine import TEXTS
from tests.support.factories import make_adapter
from tests.support.reference import reference_logits
from tests.support.tiny import make_like_default

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
DEVICE = "cuda"
DTYPES = [torch.float32, torch.float16, torch.bfloat16]
WORDS = " ".join(TEXTS).split()


@pytest.fixture(scope="module")
def name(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The default backbone; a random one of its shape on a machine without its package."""
    package, _ = PACKAGES[DEFAULT_BACKBONE]
    if importlib.util.find_spec(package) is not None:
        return DEFAULT_BACKBONE
    return str(make_like_default(tmp_path_factory.mktemp("backbone") / "random-bert"))


@pytest.fixture(scope="module", params=DTYPES, ids=str)
def loaded(name: str, request: pytest.FixtureRequest) -> LoadedBackbone:
    """That backbone on the GPU, in each type."""
    return load_backbone(name, device=DEVICE, dtype=request.param)


def kinds(loaded: LoadedBackbone) -> list[Adapter]:
    """Adapters of the paper's size, with each pooling that the backbone can do, and other heads, layers and sizes."""
    every = tuple(range(loaded.identity.num_layers))
    return [
        make_adapter(identity=loaded.identity, p=12, layers=every, seed=1),
        make_adapter(identity=loaded.identity, p=8, layers=every, seed=2, labels=tuple("abcdefg"), pooling="cls"),
        make_adapter(identity=loaded.identity, layers=(1, 4), seed=3, type="regression", labels=()),
        make_adapter(identity=loaded.identity, layers=every, seed=4, type="multi_label", labels=("x",), p=5, q=2),
    ]


def engine_for(loaded: LoadedBackbone, adapters: list[Adapter], *, graphs: bool) -> tuple[Engine, AdapterBank]:
    """An engine as the server builds it."""
    bank = AdapterBank(loaded.identity.hidden_size, loaded.backbone.device, loaded.backbone.dtype)
    for slot, adapter in enumerate(adapters):
        bank.write(slot, adapter)
    settings = Settings(cuda_graphs=graphs, max_batch_tokens=512)
    return Engine(loaded.backbone, bank, cuda=_cuda_forward(loaded.backbone, bank, settings)), bank


def random_texts(loaded: LoadedBackbone, number: int, seed: int = 0) -> list[Encoding]:
    rng = np.random.default_rng(seed)
    texts = [" ".join(rng.choice(WORDS, rng.integers(1, 60))) for _ in range(number)]
    return loaded.encoder.encode(texts, max_length=64)


def check_close(got: list[np.ndarray], expected: list[np.ndarray], dtype: torch.dtype) -> None:
    """Within what golden examples are allowed to differ by, in that type."""
    tolerance = TOLERANCE[str(dtype).removeprefix("torch.")]
    for one, other in zip(got, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)


@contextmanager
def waits_are_errors() -> Iterator[None]:
    """Make every implicit wait for the GPU raise."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("graphs", [False, True])
def test_mixed_batch_equals_the_reference(loaded: LoadedBackbone, graphs: bool) -> None:
    """Every input of a mixed batch gets what BertModel and the equation give it alone, in float32 on the CPU."""
    bert = BertModel.from_pretrained(locate(loaded.identity.name)).eval()
    adapters = kinds(loaded)
    engine, _ = engine_for(loaded, adapters, graphs=graphs)
    encodings = loaded.encoder.encode(TEXTS, max_length=64)
    shares = [encodings[:2], encodings[2:3], encodings[1:4], encodings]
    results = engine.forward(BatchTokens.of(list(enumerate(shares))))
    for adapter, share, logits in zip(adapters, shares, results, strict=True):
        assert logits.shape == (len(share), adapter.metadata.task.num_outputs)
        expected = np.stack([reference_logits(bert, encoding, adapter) for encoding in share])
        check_close([logits], [expected], loaded.backbone.dtype)


def test_graphs_equal_the_loop(loaded: LoadedBackbone) -> None:
    """Mix after mix, of 1 to 30 texts, the graphs, the eager kernels and the plain loop agree."""
    adapters = kinds(loaded)
    with_graphs, bank = engine_for(loaded, adapters, graphs=True)
    eager, _ = engine_for(loaded, adapters, graphs=False)
    loop = Engine(loaded.backbone, bank)
    rng = np.random.default_rng(0)
    for number in (1, 2, 5, 12, 30, 1):
        encodings = random_texts(loaded, number, seed=number)
        owners = rng.integers(0, len(adapters), number)
        segments = [(slot, [encodings[i] for i in np.flatnonzero(owners == slot)]) for slot in set(owners.tolist())]
        batch = BatchTokens.of(segments)
        expected = loop.forward(batch)
        check_close(with_graphs.forward(batch), expected, loaded.backbone.dtype)
        check_close(eager.forward(batch), expected, loaded.backbone.dtype)


@pytest.mark.parametrize("graphs", [False, True])
def test_answers_do_not_depend_on_batch_mates(loaded: LoadedBackbone, graphs: bool) -> None:
    """Alone or among 23 others of four tasks, an input's logits are the same within the type's tolerance."""
    engine, _ = engine_for(loaded, kinds(loaded), graphs=graphs)
    encodings = random_texts(loaded, 24)
    alone = [engine.forward(BatchTokens.of([(i % 4, [encoding])]))[0] for i, encoding in enumerate(encodings)]
    together = engine.forward(BatchTokens.of([(slot, encodings[slot::4]) for slot in range(4)]))
    for slot, logits in enumerate(together):
        check_close([logits], [np.concatenate(alone[slot::4])], loaded.backbone.dtype)


@pytest.mark.parametrize("graphs", [False, True])
def test_a_forward_waits_once(loaded: LoadedBackbone, graphs: bool) -> None:
    """Only the one event at the end of a forward waits for the GPU."""
    engine, _ = engine_for(loaded, kinds(loaded), graphs=graphs)
    batch = BatchTokens.of([(slot, random_texts(loaded, 3, seed=slot)) for slot in range(4)])
    expected = engine.forward(batch)  # compiles what is not compiled yet
    with waits_are_errors():
        got = engine.forward(batch)
    check_close(got, expected, loaded.backbone.dtype)


def test_a_wait_would_be_noticed() -> None:
    """The guard of the test above raises for what does wait."""
    with waits_are_errors(), pytest.raises(RuntimeError, match="synchroniz"):
        torch.ones(1, device=DEVICE).item()


def test_loads_and_evictions_meanwhile_change_nothing(loaded: LoadedBackbone) -> None:
    """While other threads write adapters and drop them, each batch still gets its own adapters' logits."""
    engine, bank = engine_for(loaded, kinds(loaded), graphs=True)
    batch = BatchTokens.of([(slot, random_texts(loaded, 3, seed=slot)) for slot in range(4)])
    expected = engine.forward(batch)
    others = [make_adapter(identity=loaded.identity, p=12, layers=range(6), seed=100 + i) for i in range(4)]
    stop = threading.Event()

    def churn() -> None:
        slot = 1000
        while not stop.is_set():
            for adapter in others:
                bank.write(slot, adapter)
            bank.clear(slot)
            slot += 1

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        for _ in range(100):
            check_close(engine.forward(batch), expected, loaded.backbone.dtype)
    finally:
        stop.set()
        thread.join()


def hidden_states(name: str, device: str, dtype: torch.dtype) -> torch.Tensor:
    """A mixed batch by the plain loop: [T, H] on the CPU in float32."""
    loaded = load_backbone(name, device=device, dtype=dtype)
    bank = AdapterBank(loaded.identity.hidden_size, device, dtype)
    for slot in range(2):
        bank.write(slot, make_adapter(identity=loaded.identity, p=12, layers=range(6), seed=slot))
    texts = ["a text", "one rather longer text with a comma, and an end .", ("a pair", "of texts"), "?"]
    encodings = loaded.encoder.encode(texts, max_length=64)
    token_ids = torch.from_numpy(np.concatenate([item.token_ids for item in encodings])).to(device)
    type_ids = torch.from_numpy(np.concatenate([item.type_ids for item in encodings])).to(device)
    middle = len(encodings[0]) + len(encodings[1])
    rows = [SegmentRows(0, 0, middle), SegmentRows(1, middle, len(token_ids))]
    packing = Packing.of([len(item) for item in encodings], device)
    with torch.inference_mode():
        hidden = loaded.backbone(token_ids, type_ids, packing, lambda layer, h: bank.apply(layer, h, rows))
    return hidden.float().cpu()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 0.15)])
def test_the_loop_equals_the_cpu(name: str, dtype: torch.dtype, tolerance: float) -> None:
    """A mixed batch by the plain loop on the GPU gives the CPU's hidden states within the type's precision."""
    expected = hidden_states(name, "cpu", torch.float32)
    assert (hidden_states(name, DEVICE, dtype) - expected).abs().max() < tolerance
