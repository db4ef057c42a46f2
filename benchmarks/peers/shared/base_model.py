"""The model and the tokenizer that all peers share, and the answer that they give."""

import os

from served import LABELS
from transformers import AutoModelForSequenceClassification, AutoTokenizer

MODEL = os.environ["PEER_MODEL"]  # folder of the BERT
HEAD_STD = 0.1  # of random weights: large enough that two tasks give a text clearly different scores


def load_tokenizer():
    """The fast tokenizer of the base model."""
    return AutoTokenizer.from_pretrained(MODEL)


def load_classifier():
    """The base model with a head of two labels, float32, in evaluation."""
    names = dict(enumerate(LABELS))
    model = AutoModelForSequenceClassification.from_pretrained(MODEL, num_labels=len(LABELS), id2label=names)
    return model.float().eval()


def answers(probabilities):
    """A label and its score for each row of `probabilities` [B, 2]."""
    scores, indices = probabilities.max(dim=-1)
    return [
        {"label": LABELS[index], "score": score} for index, score in zip(indices.tolist(), scores.tolist(), strict=True)
    ]
