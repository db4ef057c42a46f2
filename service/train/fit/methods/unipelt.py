"""UniPELT: an adapter, a prefix and optionally LoRA in each layer, each with a gate (Mao et al., ACL 2022)."""

from typing import cast

import torch
from torch import Tensor, nn

from adapters.backbone.encoder import packed_mean
from adapters.backbone.packing import Packing
from adapters.method.adakron import Initialisation
from service.train.fit.methods.attention import LoRA, PrefixTuning, add_to_qkv
from service.train.fit.methods.bottleneck import Bottleneck
from service.train.fit.methods.tuned import LayerTuning, Prefix


class SequenceGate(nn.Linear):
    """sigmoid(w x + c), averaged over the tokens of each sequence: one number for a sequence."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__(hidden_size, 1)

    def rows(self, x: Tensor, packing: Packing) -> Tensor:
        """x [T, H] -> each row's gate [T, 1], the same in all rows of a sequence."""
        means = packed_mean(torch.sigmoid(self(x)), packing)
        return means.repeat_interleave(packing.lengths, dim=0, output_size=len(x))

    @torch.no_grad()
    def initialise(self) -> None:
        """Draw w with deviation 0.02 and zero c: the gates start near one half."""
        nn.init.normal_(self.weight, std=0.02)
        nn.init.zeros_(self.bias)


class UniPELT(LayerTuning):
    """A gated adapter at AdaKron's site, a gated prefix, and with `lora` gated low-rank products (Mao et al. 2022).

    Each gate reads the input of its part, as in the authors' code and AdapterHub; the gates of queries and values
    replace LoRA's alpha / rank. The adapter is the one of `pfeiffer`, without AdapterHub's LayerNorm before it. On
    BERT-base 48 wide: 1,097,304 parameters with adapter and prefix (AP), 1.1 million; 1,410,672 with LoRA (APL), 1.4.
    """

    def __init__(self, hidden_size: int, width: int, *, lora: bool) -> None:
        super().__init__()
        self.adapter, self.adapter_gate = Bottleneck(hidden_size, width), SequenceGate(hidden_size)
        self.prefix, self.prefix_gate = PrefixTuning(hidden_size), SequenceGate(hidden_size)
        self.lora: LoRA | None = LoRA(hidden_size) if lora else None
        names = ("query", "value") if lora else ()
        self.lora_gates = nn.ModuleDict({name: SequenceGate(hidden_size) for name in names})

    def project(self, x: Tensor, qkv: Tensor, packing: Packing) -> Tensor:
        """Add the gated low-rank products: x [T, H], qkv [T, 3 * H] -> [T, 3 * H]."""
        if self.lora is None:
            return qkv
        gates = {name: cast(SequenceGate, gate).rows(x, packing) for name, gate in self.lora_gates.items()}
        return add_to_qkv(qkv, gates["query"] * self.lora.query(x), gates["value"] * self.lora.value(x))

    def prepend(self, x: Tensor, packing: Packing) -> Prefix:
        """Return the prefix with the gate of each sequence."""
        return Prefix(self.prefix.keys, self.prefix.values, self.prefix_gate.rows(x, packing))

    def after_feed_forward(self, h: Tensor, packing: Packing) -> Tensor:
        """Add the gated change of the adapter: h [T, H] -> [T, H]."""
        return h + self.adapter_gate.rows(h, packing) * self.adapter.change(h)

    def initialise(self, scheme: Initialisation) -> None:
        """Initialise each part as alone, and the gates near one half."""
        self.adapter.initialise(scheme)
        self.prefix.initialise(scheme)
        if self.lora is not None:
            self.lora.initialise(scheme)
        for gate in (self.adapter_gate, self.prefix_gate, *self.lora_gates.values()):
            cast(SequenceGate, gate).initialise()
