"""The truth to compare with: each text alone, unpadded.

Reads [[task, text], ...] as JSON from standard input, writes the probabilities.
"""

import json
import os
import sys

import base_model
import served
import torch
from transformers import AutoModelForSequenceClassification

asked = json.load(sys.stdin)
tokenizer = base_model.load_tokenizer()
model = AutoModelForSequenceClassification.from_pretrained(os.environ["PEER_MODEL_SAVED"]).eval()
found = []
for _, text in asked:
    with torch.inference_mode():
        encoded = tokenizer(text, truncation=True, max_length=served.MAX_LENGTH, return_tensors="pt")
        found.append(model(**encoded).logits.softmax(dim=-1)[0].tolist())
json.dump(found, sys.stdout)
