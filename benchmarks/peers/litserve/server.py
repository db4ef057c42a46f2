"""LitServe with PEFT: 64 LoRA adapters, batches of mixed tasks by `adapter_names`."""

import base_model
import litserve
import lora
import served
import settings
import torch
from padded import PaddedBatches

given = settings.read_settings()


class LoraApi(litserve.LitAPI):
    """POST /predict {"task", "text"} -> {"label", "score"}."""

    def setup(self, device):
        """Load the model in the worker."""
        torch.set_num_threads(given.num_threads)
        self.batches = PaddedBatches(
            base_model.load_tokenizer(),
            lora.mixed_forward(lora.load_lora(served.TASKS)),
            max_length=served.MAX_LENGTH,
            padded_rows=given.padded_rows,
            dtype=given.dtype,
        )

    def decode_request(self, request):
        """Task and text."""
        return request["task"], request["text"]

    def batch(self, inputs):
        """Return the inputs unchanged; `PaddedBatches` pads them."""
        return inputs

    def predict(self, inputs):
        """Labels and scores."""
        names, texts = zip(*inputs, strict=True)
        return base_model.answers(self.batches.probabilities(list(names), list(texts)))

    def unbatch(self, output):
        """One answer for each request."""
        return output

    def encode_response(self, output):
        """The answer as it is."""
        return output


if __name__ == "__main__":
    api = LoraApi(max_batch_size=given.max_batch, batch_timeout=given.batch_wait_s)
    server = litserve.LitServer(
        api,
        accelerator="cpu",
        devices=1,
        workers_per_device=given.num_workers,
        fast_queue=given.variant == "fast_queue",
    )
    server.run(
        host="127.0.0.1",
        port=given.port,
        num_api_servers=1,
        generate_client_file=False,
        log_level="warning",
        access_log=False,
    )
