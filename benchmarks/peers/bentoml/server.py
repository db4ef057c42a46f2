"""BentoML: adaptive batching in front of one full model a task; a batch is divided by task."""

import base_model
import bentoml
import full_models
import served
import settings
import torch
from padded import PaddedBatches
from pydantic import BaseModel

given = settings.read_settings()
MAX_LATENCY_MS = 10_000  # the dispatcher drops what would take longer: nothing, in this benchmark


class Asked(BaseModel):
    """One text for one task."""

    task: str
    text: str


class Answer(BaseModel):
    """The model's answer."""

    label: str
    score: float


@bentoml.service(workers=given.num_workers, traffic={"timeout": 60, "max_concurrency": 1024})
class FullModels:
    """POST /predict {"inputs": [{"task", "text"}]} -> [{"label", "score"}]."""

    def __init__(self):
        torch.set_num_threads(given.num_threads)
        tokenizer = base_model.load_tokenizer()
        self.batches = {name: self.batches_of(full_models.load_full(name), tokenizer) for name in served.TASKS}

    def batches_of(self, model, tokenizer):
        """Batches of one task."""
        return PaddedBatches(
            tokenizer,
            lambda encoded, names: model(**encoded).logits,
            max_length=served.MAX_LENGTH,
            padded_rows=given.padded_rows,
        )

    @bentoml.api(batchable=True, max_batch_size=given.max_batch, max_latency_ms=MAX_LATENCY_MS)
    def predict(self, inputs: list[Asked]) -> list[Answer]:
        """Answers in the order of the inputs."""
        torch.set_num_threads(given.num_threads)
        members = {}
        for index, item in enumerate(inputs):
            members.setdefault(item.task, []).append(index)
        found = [None] * len(inputs)
        for name, indices in members.items():
            texts = [inputs[index].text for index in indices]
            probabilities = self.batches[name].probabilities([name] * len(texts), texts)
            for index, answer in zip(indices, base_model.answers(probabilities), strict=True):
                found[index] = Answer(**answer)
        return found
