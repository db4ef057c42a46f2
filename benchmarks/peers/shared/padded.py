"""Texts of any tasks -> probabilities, in padded pieces of similar length."""

import torch


class PaddedBatches:
    """Runs `forward` on pieces of a batch; each piece is padded to its own longest text."""

    def __init__(self, tokenizer, forward, *, max_length, padded_rows, dtype="float32"):
        """`forward(encoded, tasks)` gives the logits [rows, 2] of one piece; `dtype` bfloat16: under autocast."""
        self._autocast = dtype == "bfloat16"
        self._tokenizer, self._forward = tokenizer, forward
        self._max_length, self._padded_rows = max_length, padded_rows

    @torch.inference_mode()
    def probabilities(self, tasks, texts):
        """Softmax over the labels, [B, 2], in the order of `texts`."""
        encoded = self._tokenizer(texts, truncation=True, max_length=self._max_length)
        order = sorted(range(len(texts)), key=lambda index: len(encoded["input_ids"][index]))
        pieces = [order[at : at + self._padded_rows] for at in range(0, len(order), self._padded_rows)]
        logits = torch.empty(len(texts), 2)
        for piece in pieces:
            rows = {name: [values[index] for index in piece] for name, values in encoded.items()}
            padded = self._tokenizer.pad(rows, return_tensors="pt")
            with torch.autocast("cpu", torch.bfloat16, enabled=self._autocast):
                found = self._forward(padded, [tasks[index] for index in piece])
            logits[piece] = found.float()
        return logits.softmax(dim=-1)
