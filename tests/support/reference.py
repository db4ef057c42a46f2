"""Slow, obvious oracles for the fast paths."""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor
from transformers import BertModel

from adapters.adapter import Adapter
from adapters.backbone.encoder import Backbone
from adapters.backbone.files import BertShape
from adapters.backbone.text_encoder import Encoding
from adapters.config import BackboneIdentity


def adakron_equation(h: Tensor, adapter: Adapter, layer: int) -> Tensor:
    """The method as the paper writes it, one token at a time: h [..., H] -> [..., H]."""

    def tensor(name: str) -> Tensor:
        return adapter.tensors[f"layers.{layer}.{name}"].to(h.dtype)

    rows = []
    for token in h.reshape(-1, h.shape[-1]):
        a = tensor("down_a.weight") @ token + tensor("down_a.bias")
        b = tensor("down_b.weight") @ token + tensor("down_b.bias")
        z = torch.kron(b, a)
        gelu = z * 0.5 * (1 + torch.erf(z / 2**0.5))
        rows.append(token + tensor("up.weight") @ gelu + tensor("up.bias"))
    return torch.stack(rows).view_as(h)


def backbone_of(bert: BertModel, identity: BackboneIdentity) -> Backbone:
    """Make a Backbone with the weights of transformers' BertModel."""
    return Backbone.from_weights(BertShape.model_validate(bert.config), bert.state_dict(), identity)


@torch.no_grad()
def bert_with_adapter(bert: BertModel, encoding: Encoding, adapter: Adapter | None) -> Tensor:
    """HF's BertModel on one unpadded input, the equation hooked in behind each second feed-forward linear: [n, H]."""
    hooks = []
    if adapter is not None:
        for layer in adapter.metadata.layers:

            def hook(module: torch.nn.Module, inputs: object, output: Tensor, layer: int = layer) -> Tensor:
                return adakron_equation(output, adapter, layer)

            hooks.append(bert.encoder.layer[layer].output.dense.register_forward_hook(hook))
    try:
        return bert(
            input_ids=torch.tensor(encoding.token_ids)[None],
            token_type_ids=torch.tensor(encoding.type_ids)[None],
            attention_mask=torch.ones(1, len(encoding), dtype=torch.int64),
        ).last_hidden_state[0]
    finally:
        for hook_handle in hooks:
            hook_handle.remove()


@torch.no_grad()
def reference_logits(bert: BertModel, encoding: Encoding, adapter: Adapter) -> np.ndarray:
    """Logits [num_outputs] of one input, by HF's BertModel, the equation, pooling and head written out."""
    hidden = bert_with_adapter(bert, encoding, adapter)
    pooled = {
        "cls": lambda: hidden[0],
        "mean": lambda: hidden.mean(0),
        "pooler": lambda: torch.tanh(bert.pooler.dense(hidden[0])),
    }[adapter.metadata.task.pooling]()
    return (adapter.tensors["head.weight"].float() @ pooled + adapter.tensors["head.bias"].float()).numpy()


def random_encodings(lengths: Sequence[int], vocabulary: int, seed: int = 0) -> list[Encoding]:
    """Random token ids; the second half of every other input is a second text."""
    generator = np.random.default_rng(seed)
    encodings = []
    for index, length in enumerate(lengths):
        type_ids = np.zeros(length, dtype=np.int64)
        if index % 2:
            type_ids[length // 2 :] = 1
        encodings.append(Encoding(generator.integers(0, vocabulary, length), type_ids, False))
    return encodings


def slow_varlen_attn(
    query: Tensor, key: Tensor, value: Tensor, cu_seq_q: Tensor, cu_seq_k: Tensor, max_q: int, max_k: int
) -> Tensor:
    """Compute torch's varlen attention one sequence at a time.

    Query, key, value [T, heads, d], cu_seqlens [N + 1] int32 -> [T, heads, d]; NaN in rows of no sequence.
    """
    assert cu_seq_q.dtype is cu_seq_k.dtype is torch.int32
    output = torch.full_like(query, math.nan)
    bounds = cu_seq_q.tolist()
    for start, stop in pairwise(bounds):
        assert start <= stop <= start + min(max_q, max_k)
        rows = slice(start, stop)
        scores = torch.einsum("qhd,khd->hqk", query[rows].float(), key[rows].float()) / math.sqrt(query.shape[-1])
        attended = torch.einsum("hqk,khd->qhd", scores.softmax(-1), value[rows].float())
        output[rows] = attended.to(query.dtype)
    return output
