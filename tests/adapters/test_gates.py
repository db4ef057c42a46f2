"""Gated adapters: merging against each expert computed alone, digests and their search."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from adapters import checkpoint
from adapters.adapter import Adapter, AdapterMetadata, GoldenExample
from adapters.backbone.source import LoadedBackbone
from adapters.config import GATE_KEYS, GATE_MEAN, GATE_TABLE, GatesConfig
from adapters.errors import CheckpointError, GateKeyError
from adapters.gates import GatedAdapter, Gates
from adapters.serving.inference import predict_logits
from adapters.serving.verification import verify
from tests.support.factories import make_adapter_bytes, make_gated, make_gated_bytes

CONFIG = GatesConfig(field="user", num_experts=4, salt="0f" * 16)


def gated_forward(gated: GatedAdapter, row: int | None, layer: int, h: torch.Tensor) -> torch.Tensor:
    """The equation by plain loops: every expert projects h [H] alone, and the gate weighs its outputs."""
    tensors, place = {name: tensor.double() for name, tensor in gated.tensors.items()}, f"layers.{layer}"
    at = gated.metadata.layers.index(layer)
    alpha = [float(value) for value in (gated.gates.mean if row is None else gated.gates.table[row])[at]]

    def project(name: str) -> list[float]:
        weight, bias = tensors[f"{place}.{name}.weight"], tensors[f"{place}.{name}.bias"]
        outputs = [0.0] * weight.shape[1]
        for expert, share in enumerate(alpha):
            for output in range(weight.shape[1]):
                outputs[output] += share * float(weight[expert, output] @ h + bias[expert, output])
        return outputs

    a, b = project("down_a"), project("down_b")
    z = torch.tensor([b_j * a_i for b_j in b for a_i in a], dtype=torch.float64)
    up = tensors[f"{place}.up.weight"] @ torch.nn.functional.gelu(z) + tensors[f"{place}.up.bias"]
    return h + up


def plain_forward(adapter: Adapter, layer: int, h: torch.Tensor) -> torch.Tensor:
    weights = {name: tensor.double() for name, tensor in adapter.tensors.items()}
    a, b = (
        weights[f"layers.{layer}.{name}.weight"] @ h + weights[f"layers.{layer}.{name}.bias"]
        for name in ("down_a", "down_b")
    )
    z = torch.outer(b, a).flatten()
    up = weights[f"layers.{layer}.up.weight"] @ torch.nn.functional.gelu(z)
    return h + up + weights[f"layers.{layer}.up.bias"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("row", [None, 0, 1, 2])
def test_a_key_merges_exactly(row: int | None, dtype: torch.dtype) -> None:
    """The merged adapter computes what the gate's mixture of the experts' outputs gives, in every layer."""
    gated = make_gated(dtype=dtype, layers=(0, 1), seed=5)
    merged = gated.merge(row)
    generator = torch.Generator().manual_seed(1)
    for layer in (0, 1):
        h = 10 * torch.randn(32, generator=generator, dtype=torch.float64)
        expected = gated_forward(gated, row, layer, h)
        assert torch.allclose(plain_forward(merged, layer, h), expected, rtol=1e-6, atol=1e-6)
        assert not torch.allclose(expected, h, atol=1e-3)
    assert torch.equal(merged.tensors["head.weight"], gated.tensors["head.weight"].float())


def test_keys_differ() -> None:
    """Two keys and the mean gate merge to different adapters, each with its own row of the table."""
    gated = make_gated()
    merged = [gated.merge(row).tensors["layers.0.down_a.weight"] for row in (None, 0, 1, 2)]
    assert all(not torch.equal(one, other) for at, one in enumerate(merged) for other in merged[at + 1 :])


def test_merged_adapters_are_plain() -> None:
    """A merged adapter is a plain file's, with the digest of the gated file, and can be stored as a file of its own."""
    gated = make_gated()
    adapter = gated.merge(1)
    assert (adapter.metadata.gates, adapter.metadata.format_version, adapter.digest) == (None, 2, gated.digest)
    again = checkpoint.parse_plain(checkpoint.serialize(adapter.metadata, adapter.tensors))
    assert again.metadata == adapter.metadata
    assert {name: tuple(tensor.shape) for name, tensor in again.tensors.items()} == again.metadata.tensor_shapes()


def test_only_the_mean_gate_has_golden_examples() -> None:
    """The golden examples are of the mean gate, so a key's adapter has none."""
    gated = make_gated()
    examples = (GoldenExample(inputs="a text", logits=(0.0, 1.0)),)
    metadata = gated.metadata.model_copy(update={"examples": examples})
    described = GatedAdapter(metadata, gated.tensors, gated.gates, gated.digest)
    assert described.merge(None).metadata.examples == examples
    assert described.merge(0).metadata.examples == ()


def test_a_gated_file_is_verified_by_its_mean_gate(tiny: LoadedBackbone) -> None:
    """The dry run of a gated file computes with the mean gate, whose golden examples pass; a key's are refused."""
    gated = make_gated(identity=tiny.identity, seed=2)
    big = {name: 20 * tensor if ".down_" in name else tensor for name, tensor in gated.tensors.items()}
    gated = GatedAdapter(gated.metadata, big, gated.gates, gated.digest)
    for row, accepted in ((None, True), (0, False)):
        logits = predict_logits(tiny, gated.merge(row), ["a short text"])[0].tolist()
        examples = (GoldenExample(inputs="a short text", logits=tuple(logits)),)
        described = GatedAdapter(
            gated.metadata.model_copy(update={"examples": examples}), big, gated.gates, gated.digest
        )
        if accepted:
            verify(tiny, described)
        else:
            with pytest.raises(CheckpointError, match="example 0"):
                verify(tiny, described)


@given(st.text(min_size=1, max_size=60))
def test_digests_are_salted_blake2b(key: str) -> None:
    """The digest of a key is BLAKE2b of its UTF-8 with the salt of the file."""
    data = key.encode(errors="surrogatepass")
    if data.decode(errors="ignore") != key:
        with pytest.raises(GateKeyError, match="surrogate"):
            CONFIG.digest(key)
        return
    assert CONFIG.digest(key) == hashlib.blake2b(data, digest_size=16, salt=b"\x0f" * 16).digest()
    assert CONFIG.digest(key) != CONFIG.model_copy(update={"salt": "0e" * 16}).digest(key)


@pytest.mark.parametrize("key", ["", "k" * 257, "ü" * 129, "k" * 10_240, "\ud800"])
def test_other_keys_are_refused(key: str) -> None:
    """A key that is empty, over 256 bytes of UTF-8 or not Unicode has no digest; the message does not quote it."""
    with pytest.raises(GateKeyError, match="the user has") as caught:
        CONFIG.digest(key)
    assert len(str(caught.value)) < 120
    assert not key or key not in str(caught.value)


def test_longest_key_has_a_digest() -> None:
    """A key of exactly 256 bytes is accepted."""
    assert len(CONFIG.digest("ü" * 128)) == 16


@given(st.sets(st.binary(min_size=16, max_size=16), min_size=2, max_size=40), st.binary(min_size=16, max_size=16))
def test_find_is_that_of_a_list(digests: set[bytes], other: bytes) -> None:
    """The search finds each digest in its row, and no other digest."""
    rows = sorted(digests)
    array = np.frombuffer(b"".join(rows), np.uint8).reshape(-1, 16)
    gates = Gates(CONFIG, array, torch.empty(0), torch.empty(0))
    for digest in [*rows, other, bytes(16), b"\xff" * 16]:
        assert gates.find(digest) == (rows.index(digest) if digest in digests else None)


def test_keys_find_their_gates() -> None:
    """In a file, the row of a key has the gate that the key was stored with."""
    data = make_gated_bytes(keys=("u1", "u2", "u3"))
    gates = make_gated(keys=("u1", "u2", "u3")).gates
    rows = [gates.find(gates.config.digest(key)) for key in ("u1", "u2", "u3")]
    assert sorted(row for row in rows if row is not None) == [0, 1, 2]
    assert gates.find(gates.config.digest("u4")) is None
    assert b"u1" not in data


def test_round_trip() -> None:
    """A gated file is read as it was written, also by the reader of trusted files, and written again byte for byte."""
    for dtype in (torch.float32, torch.float16):
        data = make_gated_bytes(dtype=dtype, keys=[f"user {number}" for number in range(50)])
        for adapter in (checkpoint.parse(data), checkpoint.parse_trusted(data, "0" * 64)):
            assert isinstance(adapter, GatedAdapter)
            gates = adapter.gates
            parts = {GATE_TABLE: gates.table, GATE_MEAN: gates.mean, GATE_KEYS: torch.from_numpy(gates.digests)}
            assert gates.table.dtype == dtype
            assert checkpoint.serialize(adapter.metadata, {**adapter.tensors, **parts}, dtype) == data


def test_plain_readers_refuse_a_gated_file() -> None:
    """`parse_plain` refuses a gated file and reads a plain one; a plain file has no gates in its metadata."""
    with pytest.raises(CheckpointError, match="gated file, with an adapter for each user") as caught:
        checkpoint.parse_plain(make_gated_bytes())
    assert caught.value.reason == "gates"
    assert checkpoint.parse_plain(make_adapter_bytes()).metadata.gates is None
    assert b"gates" not in make_adapter_bytes()


def test_a_gated_file_counts_as_its_merged_adapter() -> None:
    """The number of parameters is that of a merged adapter: what a slot holds."""
    gated = make_gated()
    assert gated.metadata.num_parameters == gated.merge(0).metadata.num_parameters
    values = sum(tensor.numel() for name, tensor in gated.merge(0).tensors.items() if "head" not in name)
    assert values == gated.metadata.num_parameters


def test_metadata_with_gates_imports_no_torch() -> None:
    """The HTTP process reads gates and digests keys without torch."""
    metadata = make_gated().metadata.model_dump_json()
    code = (
        "import sys; from adapters.adapter import AdapterMetadata; import adapters.gates\n"
        "gates = AdapterMetadata.model_validate_json(sys.argv[1]).gates\n"
        "print(gates.digest('u1').hex(), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, metadata], capture_output=True, text=True, check=True)
    gates = AdapterMetadata.model_validate_json(metadata).gates
    assert gates is not None
    assert done.stdout.split() == [gates.digest("u1").hex(), "False"]
