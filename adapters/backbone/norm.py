"""LayerNorm of the backbone: y = (s - mean(s)) / sqrt(var(s) + eps) * weight + bias with s = x + residual."""

from torch import Tensor, nn

from adapters.backbone.native import native_norm


class Norm(nn.LayerNorm):
    """The differentiable one."""

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """x, residual [T, H] -> [T, H]; x is not the same afterwards where there is a residual."""
        return super().forward(x if residual is None else x.add_(residual))


class NativeNorm(nn.Module):
    """A Norm for inference, in one go over the rows (kernels/norm.c). Not differentiable."""

    def __init__(self, norm: Norm) -> None:
        super().__init__()
        self.weight, self.bias = norm.weight.detach(), norm.bias.detach()
        self.eps = norm.eps

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """x, residual [T, H] -> [T, H], in x's place: what comes out of a dense layer is needed for nothing else."""
        return native_norm(x, residual, self.weight, self.bias, self.eps)
