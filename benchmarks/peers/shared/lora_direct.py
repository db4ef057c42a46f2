"""The truth to compare with: each text alone, unpadded, with its task's LoRA adapter as the only active one.

Reads [[task, text], ...] as JSON from standard input, writes the probabilities.
"""

import json
import sys

import base_model
import lora
import served
import torch

asked = json.load(sys.stdin)
tokenizer = base_model.load_tokenizer()
model = lora.load_lora(sorted({task for task, _ in asked}))
found = []
for task, text in asked:
    model.set_adapter(task)
    with torch.inference_mode():
        encoded = tokenizer(text, truncation=True, max_length=served.MAX_LENGTH, return_tensors="pt")
        found.append(model(**encoded).logits.softmax(dim=-1)[0].tolist())
json.dump(found, sys.stdout)
