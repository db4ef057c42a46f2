"""The size of a run: in full for a GPU, small for a test on a CPU; and the surroundings that its steps share."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from adapters.backbone.files import find_backbone
from adapters.config import DEFAULT_BACKBONE
from adapters.errors import BackboneError
from service.settings import Settings

CUDA_TESTS = ("tests/adapters/cuda", "tests/adapters/backbone/test_attention.py")


@dataclass(frozen=True)
class Scale:
    """The numbers of a run."""

    tests: tuple[str, ...]  # pytest's arguments
    test_processes: int
    num_texts: int  # compared with the reference
    num_mixes: int  # of texts and adapters
    num_adapters: tuple[int, ...]  # in the engine
    budgets: tuple[int, ...]  # tokens of a batch
    num_batches: int
    seconds: float  # of a measurement
    rounds: int
    num_tasks: int
    few_tasks: int
    front_ends: tuple[int, ...]
    clients: int
    load_processes: int
    num_swaps: int


FULL = Scale(
    tests=CUDA_TESTS,
    test_processes=6,
    num_texts=128,
    num_mixes=8,
    num_adapters=(1, 64, 4096),
    budgets=(1024, 4096, 16384),
    num_batches=24,
    seconds=4.0,
    rounds=3,
    num_tasks=4096,
    few_tasks=64,
    front_ends=(8, 12),
    clients=768,
    load_processes=4,
    num_swaps=40,
)
SMALL = Scale(
    tests=("tests/adapters/cuda/test_graphs.py", "tests/adapters/cuda/test_head_kernel.py"),
    test_processes=0,
    num_texts=6,
    num_mixes=2,
    num_adapters=(1, 3),
    budgets=(64,),
    num_batches=2,
    seconds=0.3,
    rounds=1,
    num_tasks=6,
    few_tasks=2,
    front_ends=(2,),
    clients=4,
    load_processes=2,
    num_swaps=2,
)


@dataclass(frozen=True)
class Surroundings:
    """The surroundings that all steps of a run share; they travel to their processes as JSON."""

    device: str  # cuda, cpu
    small: bool
    folder: str  # for the registry and the server's data
    backbone: str  # of the servers and of the answers: the default one, or a folder

    @property
    def scale(self) -> Scale:
        """The numbers of this run."""
        return SMALL if self.small else FULL

    @property
    def dtype(self) -> torch.dtype:
        """The type that the engine computes in by default on this device."""
        return torch.bfloat16 if self.device == "cuda" else torch.float32

    @property
    def dtype_name(self) -> str:
        """Its name without torch's prefix."""
        return str(self.dtype).removeprefix("torch.")

    @property
    def has_shipped_adapters(self) -> bool:
        """Whether the backbone is the one that the shipped adapters were trained for."""
        return self.backbone == DEFAULT_BACKBONE

    @property
    def data_folder(self) -> Path:
        """The folder of the server's data, with the registry."""
        return Path(self.folder) / "data"

    @property
    def server_settings(self) -> dict[str, str]:
        """Settings of the servers, without the number of front ends."""
        return {
            "backbone": self.backbone,
            "device": self.device,
            "dtype": self.dtype_name,  # answers are compared in its tolerance; auto is bfloat16 on a CPU with AMX
            "publish_shipped_adapters": "false",
            "adapter_memory_bytes": "1GiB" if self.small else "16GiB",
            "max_queued_requests": "16384",
            "max_queued_tokens": "4000000",
            **({"max_predicted_latency_s": "60"} if self.small else {}),  # a test may run on a machine that is busy
        }

    def to_json(self) -> str:
        """Return the text that `from_json` reads."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Surroundings":
        """Read the text of `to_json`."""
        return cls(**json.loads(text))


def has_default_backbone() -> bool:
    """Whether the default backbone's files are on this machine."""
    try:
        find_backbone(DEFAULT_BACKBONE, download=False)
    except BackboneError:
        return False
    return True


def front_end_settings(number: int) -> dict[str, str]:
    """Return the setting for `number` HTTP processes; an empty one where the service has only one."""
    return {"http_workers": str(number)} if "http_workers" in Settings.model_fields else {}
