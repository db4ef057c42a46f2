"""Methods that train weights of the encoder itself, or only the head: full fine-tuning, BitFit, head."""

from torch import nn

from adapters.backbone.encoder import Backbone
from adapters.config import AdapterConfig
from adapters.method.model import AdapterModel


class HeadModel(AdapterModel):
    """Only the head learns, on the frozen backbone."""

    def __init__(self, backbone: Backbone, config: AdapterConfig) -> None:
        super().__init__(backbone, config)
        self.layers = nn.ModuleDict()


class FullModel(HeadModel):
    """Full fine-tuning: every weight of the encoder learns, and its pooler if it is used; there are no adapters.

    BERT-base has 109,482,240 of them with the pooler, 109.5 million.
    """

    def __init__(self, backbone: Backbone, config: AdapterConfig) -> None:
        super().__init__(backbone, config)
        self.encoder = backbone.requires_grad_(True)  # as a submodule it is trained and saved
        backbone.pooler.requires_grad_(config.task.pooling == "pooler")


class BitFitModel(HeadModel):
    """BitFit: every bias of the encoder learns, those of LayerNorm included, and the pooler's if it is used.

    Ben Zaken, Goldberg and Ravfogel, ACL 2022. BERT-base has 102,912 of them, 0.1 million.
    """

    def __init__(self, backbone: Backbone, config: AdapterConfig) -> None:
        super().__init__(backbone, config)
        for name, parameter in backbone.named_parameters():
            is_used = config.task.pooling == "pooler" or not name.startswith("pooler.")
            parameter.requires_grad_(is_used and name.endswith(".bias"))
        self.encoder = backbone  # as a submodule its biases are trained and saved
