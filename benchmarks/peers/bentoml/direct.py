"""The truth to compare with: each text alone, unpadded, on its task's model.

Reads [[task, text], ...] as JSON from standard input, writes the probabilities.
"""

import json
import sys

import base_model
import full_models
import served
import torch

asked = json.load(sys.stdin)
tokenizer = base_model.load_tokenizer()
found = []
for task, text in asked:
    with torch.inference_mode():
        encoded = tokenizer(text, truncation=True, max_length=served.MAX_LENGTH, return_tensors="pt")
        found.append(full_models.load_full(task)(**encoded).logits.softmax(dim=-1)[0].tolist())
json.dump(found, sys.stdout)
