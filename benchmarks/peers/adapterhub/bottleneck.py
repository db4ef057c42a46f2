"""AdapterHub: one base model, a bottleneck adapter and a head for each task."""

import base_model
import served
import torch
from adapters.composition import BatchSplit

from adapters import BertAdapterModel, SeqBnConfig

REDUCTION_FACTOR = 8  # 384 / 8 = 48 wide


def load_bottleneck(names):
    """A BertAdapterModel with one random adapter for each of `names`; that of a name is always the same."""
    model = BertAdapterModel.from_pretrained(base_model.MODEL)
    for name in names:
        torch.manual_seed(served.TASKS.index(name))
        model.add_adapter(name, config=SeqBnConfig(reduction_factor=REDUCTION_FACTOR))
        model.add_classification_head(name, num_labels=2, layers=1, activation_function=None)
        added = (values for key, values in model.named_parameters() if f".{name}." in key and key.endswith("weight"))
        for values in added:
            torch.nn.init.normal_(values, std=base_model.HEAD_STD)
    return model.float().eval()


def split_forward(model):
    """Logits of one padded piece whose rows are of any tasks: rows of a task stand together for `BatchSplit`."""

    def forward(encoded, names):
        order = sorted(range(len(names)), key=names.__getitem__)
        counts = {}
        for index in order:
            counts[names[index]] = counts.get(names[index], 0) + 1
        several = len(counts) > 1
        model.set_active_adapters(BatchSplit(*counts, batch_sizes=list(counts.values())) if several else names[0])
        output = model(**{key: values[order] for key, values in encoded.items()})
        logits = torch.empty(len(names), 2)
        found = torch.cat([head.logits for head in output.head_outputs]) if several else output.logits
        logits[order] = found.float()  # bfloat16 under autocast
        return logits

    return forward
