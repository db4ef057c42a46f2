"""Ray Serve with PEFT: model multiplexing (the task in a header), or, as a variant, mixed batches without it."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import base_model
import lora
import ray
import served
import settings
import torch
from padded import PaddedBatches
from ray import serve

given = settings.read_settings()


@serve.deployment(num_replicas=given.num_workers, max_ongoing_requests=1024, ray_actor_options={"num_cpus": 0.1})
class Lora:
    """POST / {"task", "text"} -> {"label", "score"}."""

    def __init__(self):
        torch.set_num_threads(given.num_threads)
        self.thread = ThreadPoolExecutor(1)
        self.batches = PaddedBatches(
            base_model.load_tokenizer(),
            lora.mixed_forward(lora.load_lora(served.TASKS)),
            max_length=served.MAX_LENGTH,
            padded_rows=given.padded_rows,
        )

    @serve.multiplexed(max_num_models_per_replica=served.NUM_TASKS)
    async def adapter(self, model_id: str):
        """Nothing to load: the replica has all adapters, so that no request waits for one."""
        return model_id

    def compute(self, names, texts):
        """Answers of one batch."""
        return base_model.answers(self.batches.probabilities(names, texts))

    @serve.batch(max_batch_size=given.max_batch, batch_wait_timeout_s=given.batch_wait_s)
    async def answer(self, asked):
        """Answers to [(task, text)]; with multiplexing all are of one task."""
        names, texts = [list(column) for column in zip(*asked, strict=True)]
        return await asyncio.get_running_loop().run_in_executor(self.thread, self.compute, names, texts)

    async def __call__(self, request):
        """One request."""
        body = await request.json()
        task = body["task"]
        if given.variant != "mixed":
            task = await self.adapter(serve.get_multiplexed_model_id())
        return await self.answer((task, body["text"]))


if __name__ == "__main__":
    ray.init(num_cpus=2, include_dashboard=False, configure_logging=False, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": given.port})
    serve.run(Lora.bind(), blocking=True)
