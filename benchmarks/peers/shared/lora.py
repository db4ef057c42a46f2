"""PEFT: one base model, a LoRA adapter and a head for each task."""

import base_model
import served
import torch
from peft import LoraConfig, TaskType, get_peft_model

RANK = 8  # on the queries and values, PEFT's default for BERT


def load_lora(names):
    """A PeftModel with one random adapter for each of `names`; that of a name is always the same."""
    model = None
    for name in names:
        torch.manual_seed(served.TASKS.index(name))
        config = LoraConfig(task_type=TaskType.SEQ_CLS, r=RANK, lora_alpha=2 * RANK, init_lora_weights=False)
        if model is None:
            model = get_peft_model(base_model.load_classifier(), config, adapter_name=name)
        else:
            model.add_adapter(name, config)
        torch.nn.init.normal_(model.base_model.model.classifier.modules_to_save[name].weight, std=base_model.HEAD_STD)
    return model.eval()


def mixed_forward(model):
    """Logits of one padded piece whose rows are of any tasks: PEFT's `adapter_names`."""
    return lambda encoded, names: model(**encoded, adapter_names=names).logits
