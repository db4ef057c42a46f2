"""A slow, obvious oracle of the methods of training: BERT on padded sequences, with every part written out."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from adapters.backbone.encoder import Backbone
from adapters.backbone.text_encoder import Encoding

Tensors = Mapping[str, Tensor]


def linear(tensors: Tensors, name: str, x: Tensor) -> Tensor:
    """W x + b, or W x without a bias of that name."""
    return x @ tensors[f"{name}.weight"].T + tensors.get(f"{name}.bias", torch.zeros(()))


def average_linear(tensors: Tensors, name: str, x: Tensor) -> Tensor:
    """Average the outputs of the experts `name`.0, `name`.1 ..., or compute the only layer `name`."""
    outputs = [linear(tensors, name, x)] if f"{name}.weight" in tensors else []
    while f"{name}.{len(outputs)}.weight" in tensors:
        outputs.append(linear(tensors, f"{name}.{len(outputs)}", x))
    return torch.stack(outputs).mean(0)


def change(tensors: Tensors, prefix: str, h: Tensor) -> Tensor:
    """The summand of a plain adapter: W_up GELU(W_down h + b_down) + b_up."""
    z = average_linear(tensors, f"{prefix}down", h)
    return average_linear(tensors, f"{prefix}up", z * 0.5 * (1 + torch.erf(z / math.sqrt(2))))


def gate(tensors: Tensors, name: str, x: Tensor, is_token: Tensor) -> Tensor:
    """The mean of sigmoid(w x + c) over the tokens of each sequence: x [N, L, H] -> [N, 1, 1]; 1 without a gate."""
    if f"{name}.weight" not in tensors:
        return torch.ones(len(x), 1, 1)
    opened = torch.sigmoid(linear(tensors, name, x)) * is_token[..., None]
    return opened.sum(1, keepdim=True) / is_token.sum(1)[:, None, None]


def attend(query: Tensor, key: Tensor, value: Tensor, is_token: Tensor, num_heads: int) -> Tensor:
    """Attention, a head at a time: query [N, L, H], key and value [N, M, H], is_token [N, M] -> [N, L, H]."""
    size = query.shape[-1] // num_heads
    outputs = []
    for head in range(num_heads):
        part = slice(head * size, (head + 1) * size)
        scores = query[..., part] @ key[..., part].transpose(1, 2) / math.sqrt(size)
        scores = scores.masked_fill(~is_token[:, None, :], -math.inf)
        outputs.append(scores.softmax(-1) @ value[..., part])
    return torch.cat(outputs, -1)


@torch.no_grad()
def padded_hidden(
    backbone: Backbone, tensors: Tensors, encodings: Sequence[Encoding], *, lora_scale: float = 2.0
) -> list[Tensor]:
    """Hidden states of each encoding, [n, H]: the backbone with the parts whose weights are in `tensors`.

    `tensors` has the names of a model's `state_dict()`; the parts of layer 3 begin with `layers.3.`.
    """
    weights = dict(backbone.named_parameters())
    longest = max(map(len, encodings))
    token_ids, type_ids = torch.zeros(2, len(encodings), longest, dtype=torch.int64)
    is_token = torch.zeros(len(encodings), longest, dtype=torch.bool)
    for row, encoding in enumerate(encodings):
        token_ids[row, : len(encoding)] = torch.from_numpy(encoding.token_ids)
        type_ids[row, : len(encoding)] = torch.from_numpy(encoding.type_ids)
        is_token[row, : len(encoding)] = True

    def norm(name: str, x: Tensor) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"], backbone.norm.eps)

    embedded = weights["word.weight"][token_ids] + weights["position.weight"][:longest]
    x = norm("norm", embedded + weights["token_type.weight"][type_ids])
    for index, layer in enumerate(backbone.layers):
        name = f"layers.{index}"
        own = {key.removeprefix(f"{name}."): value for key, value in tensors.items() if key.startswith(f"{name}.")}
        query, key, value = linear(weights, f"{name}.qkv", x).chunk(3, -1)
        for lora in ("", "lora."):
            if f"{lora}query.down.weight" in own:
                scale = lora_scale if lora == "" else 1.0
                gates = [scale * gate(own, f"lora_gates.{part}", x, is_token) for part in ("query", "value")]
                query = query + gates[0] * linear(own, f"{lora}query.up", linear(own, f"{lora}query.down", x))
                value = value + gates[1] * linear(own, f"{lora}value.up", linear(own, f"{lora}value.down", x))
        is_key = is_token
        for prefix in ("", "prefix."):
            if f"{prefix}keys" in own:
                opened = gate(own, "prefix_gate", x, is_token)
                key = torch.cat([opened * own[f"{prefix}keys"], key], 1)
                value = torch.cat([opened * own[f"{prefix}values"], value], 1)
                is_key = F.pad(is_token.int(), (len(own[f"{prefix}keys"]), 0), value=1).bool()
        h = linear(weights, f"{name}.attention_out", attend(query, key, value, is_key, layer.num_heads))
        if "attention.down.weight" in own:
            h = h + change(own, "attention.", h)
        x = norm(f"{name}.attention_norm", h + x)
        h = linear(weights, f"{name}.ff_out", F.gelu(linear(weights, f"{name}.ff_in", x)))
        for site in ("", "feed_forward.", "adapter."):
            if f"{site}down.weight" in own or f"{site}down.0.weight" in own:
                h = h + gate(own, "adapter_gate", h, is_token) * change(own, site, h)
        x = norm(f"{name}.ff_norm", h + x)
    return [row[: len(encoding)] for row, encoding in zip(x, encodings, strict=True)]
