"""One frozen settings object, validated once; `reading` fills it from the environment and the command line."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ByteSize, ConfigDict, Field, SecretStr, field_validator

from adapters.config import DEFAULT_BACKBONE
from service.settings.web import Origins, RootPath

MIB = 1024 * 1024
MIN_KEY_CHARACTERS = 16
DAY_S = 86_400  # the longest time that a setting can give
MAX_THREADS = 1024  # libraries fail or crash if the system cannot start as many threads as requested


def check_first_key(key: str) -> str:
    """Return `key`; raise ValueError, without the key, unless it has 16 or more printable ASCII characters."""
    if len(key) < MIN_KEY_CHARACTERS:
        raise ValueError(f"a key has at least {MIN_KEY_CHARACTERS} characters, this one has {len(key)}")
    if any(character.isspace() for character in key):
        raise ValueError("a key has no white space inside, and this one has some (two keys, or two lines?)")
    if not key.isascii() or not key.isprintable():
        raise ValueError("a key has printable ASCII characters only: no other goes through an HTTP header unchanged")
    return key


class Settings(BaseModel):
    """Every setting; docs/configuration.md has the same table (a test compares them)."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 for every interface."""

    port: int = Field(default=8000, ge=0, le=65535)
    """Port to listen on; 0 takes a free one."""

    admin_port: int | None = Field(default=None, ge=0, le=65535)
    """A second port that serves everything; the first port then has no admin API, metrics or console."""

    admin_host: str | None = None
    """Address to listen on for `admin_port`; by default `host`."""

    root_path: RootPath = ""
    """Prefix under which a proxy offers the server; requests with and without it are answered."""

    cors_origins: Origins = ()
    """Origins of web pages that may call the server from a browser, separated by commas; * for every origin."""

    console: bool = True
    """Serve the web page at /console, on the port that has the admin API."""

    backbone: str = DEFAULT_BACKBONE
    """The frozen BERT: a local folder, or a name on the Hugging Face Hub."""

    device: str = Field(default="auto", pattern=r"^(auto|cpu|cuda(:[0-9]+)?)$")
    """Device of the engine: auto (CUDA if available), cpu, cuda, cuda:1 ..."""

    dtype: Literal["auto", "float32", "bfloat16", "float16", "int8"] = "auto"
    """Data type of the engine; auto is bfloat16 on CUDA and float32 on the CPU. int8 is for a CPU with VNNI."""

    cuda_graphs: bool = True
    """On CUDA, capture graphs of the forward at start: two dozen sizes of batch, some seconds."""

    engine_threads: int = Field(default=0, ge=0, le=MAX_THREADS)
    """Threads of the engine's matrix products on the CPU; 0 takes one per core."""

    http_workers: int = Field(default=0, ge=0, le=64)
    """HTTP processes; 0 takes 1 on up to four cores, else a quarter of them (on CUDA half), at most 16."""

    tokenizer_threads: int = Field(default=1, ge=1, le=64)
    """Threads that tokenize long texts and large requests, in each HTTP process."""

    data_dir: Path = Path("data")
    """Folder of the embedded registry and of the generated admin key."""

    registry_url: str | None = None
    """URL of the registry (postgresql://...); by default SQLite in the data folder."""

    registry_poll_s: float = Field(default=0.4, gt=0, le=60)
    """Seconds between two looks for changes by other processes."""

    admin_key: SecretStr | None = None
    """The first key, with all scopes; without one the first start generates it into the data folder."""

    require_key: bool = False
    """Require a key with the scope predict for predictions and the list of tasks."""

    publish_shipped_adapters: bool = True
    """Publish the shipped adapters into an empty registry that serves the default backbone."""

    adapter_memory_bytes: ByteSize = Field(default=ByteSize(1024 * MIB), ge=MIB)
    """Device memory for adapters ("1GiB"); beyond it the least recently used are evicted."""

    adapter_file_memory_bytes: ByteSize = Field(default=ByteSize(256 * MIB), ge=0)
    """Host memory for files of adapters that are evicted and loaded again; used only if adapters are evicted."""

    warmup: bool = False
    """Compute batches of usual sizes before listening, so that the first requests are as fast as later ones."""

    max_batch_tokens: int = Field(default=4096, ge=512, le=1_000_000)
    """Most tokens of one forward."""

    target_batch_s: float = Field(default=0.1, gt=0, le=10)
    """Target duration of one forward in seconds: on a slow device a batch holds fewer tokens, but at least 256."""

    max_queued_requests: int = Field(default=1024, ge=1)
    """Requests admitted and not yet answered; one more gets 429. One task may hold as many as are left free."""

    max_queued_tokens: int = Field(default=262_144, ge=512)
    """Tokens admitted and not yet computed; one request more gets 429. One task may hold as many as are left free."""

    max_predicted_latency_s: float = Field(default=2.0, gt=0, le=DAY_S)
    """Seconds that an answer may take at the measured speed; a request that would take longer gets 429."""

    request_timeout_s: float = Field(default=30, gt=0, le=DAY_S)
    """Deadline of a prediction in seconds, if its client sends no X-Request-Timeout-Ms; after it the answer is 504."""

    max_request_timeout_s: float = Field(default=300, gt=0, le=DAY_S)
    """Upper limit for X-Request-Timeout-Ms, in seconds; larger values are reduced to it."""

    max_inputs: int = Field(default=1024, ge=1)
    """Inputs of one request."""

    max_body_bytes: ByteSize = Field(default=ByteSize(2 * MIB), ge=1024)
    """Size of the body of a predict request."""

    max_upload_bytes: ByteSize = Field(default=ByteSize(64 * MIB), ge=1024)
    """Size of an uploaded adapter."""

    max_uploads: int = Field(default=4, ge=1, le=64)
    """Concurrent uploads; one more gets 429."""

    head_timeout_s: float = Field(default=20, gt=0, le=DAY_S)
    """Seconds in which the head of a request must arrive; a new connection that sends nothing is then closed."""

    body_timeout_s: float = Field(default=60, gt=0, le=DAY_S)
    """Seconds in which the body of a request must arrive."""

    check_timeout_s: float = Field(default=30, gt=0, le=DAY_S)
    """Seconds that the check of an uploaded adapter may take; a longer one is refused."""

    metrics_max_tasks: int = Field(default=1000, ge=1)
    """Values of the metric label `task`; further tasks count as _other."""

    drain_s: float = Field(default=10, ge=0, le=3600)
    """Seconds between SIGTERM and the end of listening: two of the proxy's probes of /health/ready."""

    shutdown_timeout_s: float = Field(default=30, gt=0, le=DAY_S)
    """Seconds that requests in flight may take after that."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe message that is logged."""

    log_format: Literal["text", "json"] = "text"
    """Format of log lines: text for people, or one JSON object per line."""

    access_log: bool = False
    """Log every request. Slow and failed requests, and changes by the admin API, are always logged."""

    slow_request_s: float = Field(default=1.0, gt=0, le=DAY_S)
    """Seconds from which a prediction counts as slow and is logged."""

    @field_validator("admin_key")
    @classmethod
    def _check_admin_key(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None:
            check_first_key(key.get_secret_value())
        return key

    @property
    def resolved_registry_url(self) -> str:
        """The URL of the registry, or its default."""
        return self.registry_url or f"sqlite:///{(self.data_dir / 'registry.sqlite3').absolute()}"
