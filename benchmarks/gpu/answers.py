"""The engine's answers against the reference: the same texts and adapters in float32 on the CPU, by the plain loop.

The answers of any two adapters differ by more than the tolerance: an answer that is nearer to another adapter's than
to its own counts as wrong. Also the golden examples of the shipped adapters.
"""

from collections.abc import Sequence

import numpy as np

from adapters import checkpoint
from adapters.adapter import Adapter
from adapters.backbone.quantized import dtype_name
from adapters.backbone.source import LoadedBackbone, load_backbone
from adapters.backbone.text_encoder import Encoding
from adapters.config import BackboneIdentity, Pooling
from adapters.cuda.forward import CudaForward
from adapters.cuda.graphs import CudaGraphs
from adapters.serving.bank import AdapterBank
from adapters.serving.batch import BatchTokens
from adapters.serving.verification import TOLERANCE
from benchmarks.adapters import SHIPPED
from benchmarks.gpu.findings import Recorder
from benchmarks.gpu.scale import Surroundings
from benchmarks.gpu.texts import random_sentences
from benchmarks.report import Target
from service.engine.engine import Engine
from tests.support.factories import make_adapter

NUM_ADAPTERS, NUM_THREADS = 16, 4  # the reference computes every text for every adapter
LABELS = tuple("abcdefgh")  # of every adapter, so that all their answers can be compared
HEAD_STRENGTH = 4.0  # over the tests' adapters; stronger layers would also amplify what bfloat16 rounds
POOLINGS: tuple[Pooling, ...] = ("mean", "cls")
BUDGET = 1024


def strong_adapter(identity: BackboneIdentity, seed: int) -> Adapter:
    """Make an adapter whose answers differ from all others'; seeds differ in weights, size, layers and pooling."""
    layers = tuple(range(seed % 2, identity.num_layers))
    pooling = POOLINGS[seed // 2 % 2]
    adapter = make_adapter(
        identity=identity, p=(12, 8, 5)[seed % 3], layers=layers, labels=LABELS, pooling=pooling, seed=seed
    )
    for name in ("head.weight", "head.bias"):
        adapter.tensors[name].mul_(HEAD_STRENGTH)
    return adapter


def answers(engine: Engine, asked: Sequence[tuple[int, Encoding]]) -> np.ndarray:
    """Return the logits [n, labels] of (slot, encoding), from batches of at most BUDGET tokens."""
    found = np.empty((len(asked), len(LABELS)), np.float32)
    at = 0
    while at < len(asked):
        members: dict[int, list[int]] = {}
        tokens = 0
        while at < len(asked) and tokens + len(asked[at][1]) <= BUDGET:
            members.setdefault(asked[at][0], []).append(at)
            tokens += len(asked[at][1])
            at += 1
        batch = BatchTokens.of([(slot, [asked[index][1] for index in places]) for slot, places in members.items()])
        for places, logits in zip(members.values(), engine.forward(batch), strict=True):
            found[places] = logits
    return found


def make_engine(loaded: LoadedBackbone, adapters: Sequence[Adapter], *, fused: bool, graphs: bool) -> Engine:
    """Make an engine with adapter i in slot i: by the plain loop, the kernels, or the kernels in graphs."""
    backbone = loaded.backbone
    bank = AdapterBank(loaded.identity.hidden_size, backbone.device, backbone.dtype)
    for slot, adapter in enumerate(adapters):
        bank.write(slot, adapter)
    if not fused:
        return Engine(backbone, bank, NUM_THREADS)
    capture = CudaGraphs(backbone.device).capture if graphs else None
    forward = CudaForward(backbone, bank, max_batch_tokens=BUDGET, capture=capture)
    forward.warm_up()
    return Engine(backbone, bank, cuda=forward)


def compare(found: np.ndarray, expected: np.ndarray, owners: np.ndarray, tolerance: float) -> dict[str, float]:
    """Compare answers found [n, labels] with those expected of each adapter [adapters, n, labels].

    Returns the largest difference, the largest in tolerances, the number of answers nearer to another adapter's, and
    the least distance of another adapter's answer in tolerances.
    """
    own = expected[owners, np.arange(len(owners))]
    allowed = tolerance * (1 + np.abs(own))
    distances = np.abs(expected - found).max(axis=2)  # [adapters, n]
    others = (np.abs(expected - own) / allowed).max(axis=2)
    others[owners, np.arange(len(owners))] = np.inf
    return {
        "largest_difference": float(np.abs(found - own).max()),
        "in_tolerances": float((np.abs(found - own) / allowed).max()),
        "wrong": int((distances.argmin(axis=0) != owners).sum()),
        "apart_in_tolerances": float(others.min()),
    }


def run(surroundings: Surroundings, record: Recorder) -> None:
    """Compare each kind of engine with the reference."""
    scale, dtype, device = surroundings.scale, surroundings.dtype, surroundings.device
    reference = load_backbone(surroundings.backbone)
    loaded = load_backbone(surroundings.backbone, device=device, dtype=dtype)
    num_adapters = min(NUM_ADAPTERS, scale.num_texts)
    adapters = [strong_adapter(loaded.identity, seed) for seed in range(num_adapters)]
    encodings = loaded.encoder.encode(random_sentences(loaded.source, scale.num_texts), max_length=64)
    generator = np.random.default_rng(0)
    places = np.concatenate([generator.permutation(len(encodings)) for _ in range(scale.num_mixes)])
    owners = generator.integers(0, num_adapters, len(places))
    asked = [(slot, encodings[place]) for slot, place in zip(owners.tolist(), places.tolist(), strict=True)]
    plain = make_engine(reference, adapters, fused=False, graphs=False)
    expected = np.stack([answers(plain, [(slot, encoding) for encoding in encodings]) for slot in range(num_adapters)])
    kinds = {"loop": (False, False), "kernels": (True, False), "kernels in graphs": (True, True)}
    if device == "cpu":
        del kinds["kernels in graphs"]
        record.note("No CUDA graphs: there is no CUDA device. Triton's interpreter runs the kernels.")
    for kind, (fused, graphs) in kinds.items():
        engine = make_engine(loaded, adapters, fused=fused, graphs=graphs)
        found = answers(engine, asked)
        compared = compare(found, expected[:, places], owners, TOLERANCE[surroundings.dtype_name])
        record.row(engine=kind, type=surroundings.dtype_name, answers=len(found), **compared)
        claim = f"{kind}: largest difference from float32 on the CPU, in tolerances"
        record.target(Target(claim, compared["in_tolerances"], "at most", 1), required=True)
        record.target(Target(f"{kind}: answers of another adapter", compared["wrong"], "at most", 0), required=True)
    if surroundings.has_shipped_adapters:
        check_shipped(loaded, record)
    else:
        record.note(
            "The shipped adapters were left out: they are for the default backbone, which this run does not have."
        )


def check_shipped(loaded: LoadedBackbone, record: Recorder) -> None:
    """Compare the shipped adapters' golden examples with the logits that their trainer stored."""
    shipped = [checkpoint.parse(file.read_bytes()) for file in sorted(SHIPPED.parent.glob("*.safetensors"))]
    on_cuda = loaded.backbone.device.type == "cuda"
    engine = make_engine(loaded, shipped, fused=on_cuda, graphs=on_cuda)
    worst, tolerance = 0.0, TOLERANCE[dtype_name(loaded.backbone)]
    for slot, adapter in enumerate(shipped):
        examples = adapter.metadata.examples
        encodings = loaded.encoder.encode_for(adapter.metadata.task, [example.text_input for example in examples])
        (got,) = engine.forward(BatchTokens.of([(slot, encodings)]))
        stored = np.array([example.logits for example in examples])
        worst = max(worst, float((np.abs(got - stored) / (tolerance * (1 + np.abs(stored)))).max()))
    claim = f"golden examples of {len(shipped)} shipped adapters: largest difference, in tolerances"
    record.target(Target(claim, worst, "at most", 1), required=True)
