"""One full model a task."""

import base_model
import served
import torch

MOVED = 0.005  # standard deviation of what fine-tuning added


def load_full(name):
    """A classifier of its own, as after fine-tuning: every weight moved at random; that of a name is always the same.

    The weights are read from one file, which the pages of all models would share if they were left as they are.
    """
    torch.manual_seed(served.TASKS.index(name))
    model = base_model.load_classifier()
    torch.nn.init.normal_(model.classifier.weight, std=base_model.HEAD_STD)
    for values in model.bert.parameters():
        values.data = torch.randn_like(values).mul_(MOVED).add_(values.data)
    return model
