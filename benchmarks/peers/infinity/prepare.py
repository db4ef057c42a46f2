"""Save the one model that infinity serves into the folder PEER_MODEL_SAVED, unless it is there."""

import os
from pathlib import Path

import base_model
import torch

folder = Path(os.environ["PEER_MODEL_SAVED"])
if not (folder / "model.safetensors").is_file():
    torch.manual_seed(0)
    model = base_model.load_classifier()
    torch.nn.init.normal_(model.classifier.weight, std=base_model.HEAD_STD)
    model.save_pretrained(folder)
    base_model.load_tokenizer().save_pretrained(folder)
