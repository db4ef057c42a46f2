"""FastAPI with AdapterHub's `adapters`: all waiting requests form the next batch, which is split by adapter."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import base_model
import bottleneck
import served
import settings
import torch
import uvicorn
from fastapi import FastAPI
from padded import PaddedBatches
from pydantic import BaseModel

given = settings.read_settings()


class Asked(BaseModel):
    """One text for one task."""

    task: str
    text: str


class Batcher:
    """Forms batches and runs them, one at a time, in a thread of its own."""

    def __init__(self):
        torch.set_num_threads(given.num_threads)
        self.batches = PaddedBatches(
            base_model.load_tokenizer(),
            bottleneck.split_forward(bottleneck.load_bottleneck(served.TASKS)),
            max_length=served.MAX_LENGTH,
            padded_rows=given.padded_rows,
            dtype=given.dtype,
        )
        self.waiting = asyncio.Queue()
        self.thread = ThreadPoolExecutor(1)

    def compute(self, names, texts):
        """Answers of one batch."""
        torch.set_num_threads(given.num_threads)
        return base_model.answers(self.batches.probabilities(names, texts))

    async def run(self):
        """Compute batches, without end."""
        while True:
            batch = [await self.waiting.get()]
            if given.batch_wait_s:
                await asyncio.sleep(given.batch_wait_s)
            while len(batch) < given.max_batch and not self.waiting.empty():
                batch.append(self.waiting.get_nowait())
            names, texts = [item.task for item, _ in batch], [item.text for item, _ in batch]
            try:
                found = await asyncio.get_running_loop().run_in_executor(self.thread, self.compute, names, texts)
            except Exception as error:
                for _, answer in batch:
                    answer.set_exception(error)
                continue
            for (_, answer), one in zip(batch, found, strict=True):
                if not answer.done():
                    answer.set_result(one)


@asynccontextmanager
async def lifespan(app):
    """Load the model, start the batches."""
    app.state.batcher = Batcher()
    running = asyncio.create_task(app.state.batcher.run())
    yield
    running.cancel()


app = FastAPI(lifespan=lifespan)


@app.post("/predict")
async def predict(asked: Asked) -> dict[str, str | float]:
    """{"task", "text"} -> {"label", "score"}."""
    answer = asyncio.get_running_loop().create_future()
    app.state.batcher.waiting.put_nowait((asked, answer))
    return await answer


if __name__ == "__main__":
    uvicorn.run(
        "server:app",
        host="127.0.0.1",
        port=given.port,
        workers=given.num_workers,
        log_level="warning",
        access_log=False,
    )
