"""PackedModel: what a training step and an evaluation call."""

from contextlib import nullcontext

from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from adapters.backbone.packing import Packing


class PackedModel(nn.Module):
    """Any module of (token_ids, type_ids, packing) -> logits, called with what a packed batch holds.

    It stands between Trainer and the model because Trainer writes into `model.config` where there is one, and
    an AdapterConfig is frozen.
    """

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, token_ids: Tensor, type_ids: Tensor, lengths: tuple[int, ...]) -> Tensor:
        """token_ids, type_ids [T] int64, N lengths -> logits [N, num_outputs]."""
        packing = Packing.of(lengths, token_ids.device)
        # the fused kernel is slow in its backward on a CPU
        fused_is_slow = self.training and token_ids.device.type == "cpu"
        with sdpa_kernel(SDPBackend.MATH) if fused_is_slow else nullcontext():
            logits: Tensor = self.inner(token_ids, type_ids, packing)
        return logits
