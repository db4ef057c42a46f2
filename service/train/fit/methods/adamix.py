"""AdaMix: plain adapters with several experts, random routes, a consistency loss, and a merge (Wang et al. 2022)."""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from adapters.backbone.packing import Packing
from adapters.config import TaskType
from adapters.method.adakron import Initialisation
from adapters.method.model import AdapterModel
from service.train.errors import TrainingError
from service.train.fit.methods.bottleneck import Bottleneck


class AdaMix(nn.Module):
    """A plain adapter with M experts for W_down and M for W_up (Wang et al., EMNLP 2022).

    In training each call draws one expert of each; otherwise the experts' average is used, which is the merged
    adapter: projections are linear. M = 4 in the paper. On BERT-base 48 wide: 894,528 parameters merged, 0.9 million;
    four times as many learn.
    """

    def __init__(self, hidden_size: int, width: int, experts: int) -> None:
        super().__init__()
        self.down = nn.ModuleList(nn.Linear(hidden_size, width) for _ in range(experts))
        self.up = nn.ModuleList(nn.Linear(width, hidden_size) for _ in range(experts))

    def forward(self, h: Tensor) -> Tensor:
        """h [..., H] -> [..., H], a new tensor."""
        return h + self._project(self.up, F.gelu(self._project(self.down, h)))

    def _project(self, experts: nn.ModuleList, x: Tensor) -> Tensor:
        if self.training:
            return cast(Tensor, self._draw(experts)(x))
        return F.linear(x, _mean(experts, "weight"), _mean(experts, "bias"))

    def _draw(self, experts: nn.ModuleList) -> nn.Module:
        return experts[int(torch.randint(len(experts), ()))]

    @torch.no_grad()
    def initialise(self, scheme: Initialisation) -> None:
        """Initialise one plain adapter, and copy it to all experts, as the authors' code does."""
        first = Bottleneck(cast(nn.Linear, self.down[0]).in_features, cast(nn.Linear, self.down[0]).out_features)
        first.initialise(scheme)
        for experts, linear in ((self.down, first.down), (self.up, first.up)):
            for expert in experts:
                expert.load_state_dict(linear.state_dict())

    @torch.no_grad()
    def merge(self) -> Bottleneck:
        """Return the plain adapter with the averaged weights."""
        down = cast(nn.Linear, self.down[0])
        merged = Bottleneck(down.in_features, down.out_features).to(down.weight)
        for linear, experts in ((merged.down, self.down), (merged.up, self.up)):
            linear.weight.copy_(_mean(experts, "weight"))
            linear.bias.copy_(_mean(experts, "bias"))
        return merged


def _mean(experts: nn.ModuleList, name: str) -> Tensor:
    return torch.stack([cast(Tensor, getattr(expert, name)) for expert in experts]).mean(0)


class AdaMixModel(AdapterModel):
    """Adapters of AdaMix and a head on the frozen backbone, trained with the consistency of two routes."""

    def forward(self, token_ids: Tensor, type_ids: Tensor, packing: Packing) -> Tensor:
        """token_ids, type_ids [T] int64 -> logits [N, num_outputs] float32.

        In training a second forward draws other experts, and the logits of the first carry the gradient of the
        consistency loss beside that of their own. Raises TrainingError in float16, where the loss is scaled.
        """
        logits = super().forward(token_ids, type_ids, packing)
        if not (self.training and torch.is_grad_enabled()):
            return logits
        if logits.is_cuda and torch.is_autocast_enabled("cuda") and torch.get_autocast_dtype("cuda") == torch.float16:
            raise TrainingError(
                "--method adamix: --mixed-precision fp16 would not scale its consistency loss; use bf16"
            )
        others = super().forward(token_ids, type_ids, packing)
        penalty = consistency(logits, others, self.config.task.type)
        return cast(Tensor, WithLoss.apply(logits, penalty))  # type: ignore[no-untyped-call]

    def merged(self) -> AdapterModel:
        """Return this model with each mixture merged to a plain adapter."""
        hidden, width = self.config.backbone.hidden_size, self.config.bottleneck
        model = AdapterModel(self.backbone, self.config, lambda: Bottleneck(hidden, width))
        for key, adapter in self.layers.items():
            model.layers[key].load_state_dict(cast(AdaMix, adapter).merge().state_dict())
        model.head.load_state_dict(self.head.state_dict())
        return model.to(self.head.weight.device).train(self.training)


def consistency(first: Tensor, second: Tensor, task_type: TaskType) -> Tensor:
    """(KL(p || q) + KL(q || p)) / 2, the mean over the rows: logits [N, num_outputs] of two routes -> () float32.

    Of a multi-label task the mean over the labels, each with its two classes; the mean square of a regression's
    differences.
    """
    first, second = first.float(), second.float()
    if task_type == "regression":
        return F.mse_loss(first, second)
    if task_type == "multi_label":
        first, second = (torch.stack([torch.zeros_like(logits), logits], -1) for logits in (first, second))
    log_p, log_q = first.log_softmax(-1), second.log_softmax(-1)
    # the sum of both divergences is sum((p - q) * (log p - log q))
    return ((log_p.exp() - log_q.exp()) * (log_p - log_q)).sum(-1).mean() / 2


class WithLoss(torch.autograd.Function):
    """Returns the logits unchanged; the gradient of `penalty` is added to that of any loss of the logits.

    So the trainer needs to know no loss of a method.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, penalty: Tensor) -> Tensor:
        """Return `logits`."""
        return logits.view_as(logits)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """Pass the gradient on, and 1 to the penalty."""
        return gradient, torch.ones((), device=gradient.device)
