"""The parts of `make gpu`: wheels, the environment, batches, comparisons and load."""

import itertools
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("triton", reason="Triton is not installed (it comes with the dev extra on Linux)")

from adapters.backbone.source import LoadedBackbone
from adapters.cuda import forward as cuda_forward
from adapters.cuda.graphs import Buckets
from benchmarks.gpu import environment, load, wheels
from benchmarks.gpu.answers import LABELS, check_shipped, compare
from benchmarks.gpu.engine import Bench, make_batches, random_texts, without_adapters
from benchmarks.gpu.findings import Recorder, read_findings
from benchmarks.gpu.load import describe_refusals, join, predict_requests
from benchmarks.gpu.suite import failed_tests, read_outcomes
from benchmarks.gpu.texts import random_sentences
from benchmarks.quote import UNMEASURED, quoted
from benchmarks.serving.load import Results
from tests.support.reference import slow_varlen_attn

JUNIT = """<testsuites><testsuite>
<testcase classname="tests.a" name="one" file="tests/a.py"/>
<testcase classname="tests.a" name="two" file="tests/a.py"><failure message="assert 1 == 2&#10;more"/></testcase>
<testcase classname="tests.b" name="three" file="tests/b.py"><skipped message="no CUDA device"/></testcase>
<testcase classname="tests.b" name="four" file="tests/b.py"><error message="no fixture"/></testcase>
</testsuite></testsuites>"""


def test_wheels_leave_out_what_the_machine_brings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither torch, Triton, NVIDIA's libraries nor packages of WITHOUT are asked for; versions are the tested ones."""
    calls: list[tuple[str, str, str]] = []

    def download(options: Sequence[str]) -> None:
        named = dict(itertools.pairwise(options))
        if "--requirement" in named:
            files = [Path(named[name]).read_text() for name in ("--constraint", "--requirement")]
            calls.append((files[0], files[1], named["--python-version"]))
            (tmp_path / "numpy-2.4.6-cp312-cp312-linux_x86_64.whl").write_bytes(b"another package requires it")
            (tmp_path / "fastapi-0.1-py3-none-any.whl").write_bytes(bytes(1 << 20))
        else:
            assert options[-2:] == ["--no-deps", next(line for line in pins if line.startswith(wheels.BACKBONE))]

    pins = (wheels.ROOT / "constraints.txt").read_text().splitlines()
    monkeypatch.setattr(wheels, "_pip_download", download)
    wheels.collect(tmp_path, "3.12", {"numpy"})
    ((constraints, requirements, python),) = calls
    assert python == "3.12"
    for name in ("torch", "triton", "nvidia", "gt-all"):
        assert not any(line.startswith(name) for line in requirements.splitlines())
    assert "torch==" not in constraints
    assert "fastapi==" in constraints
    wanted = {wheels._name(line) for line in requirements.splitlines()}
    assert {
        "fastapi",
        "uvicorn",
        "sqlalchemy",
        "pydantic",
        "safetensors",
        "tokenizers",
        "pytest",
        "transformers",
    } <= wanted
    assert "numpy" not in wanted
    assert wheels.describe(tmp_path) == f"1 wheels, 1 MiB, in {tmp_path}"


def test_a_heavy_folder_names_its_heaviest(tmp_path: Path) -> None:
    """Over 64 MiB the line says which packages are heavy, and how to leave them out."""
    with (tmp_path / "numpy-2.4.6-cp312-cp312-linux_x86_64.whl").open("wb") as file:
        file.truncate(65 << 20)
    text = wheels.describe(tmp_path)
    assert text.startswith("1 wheels, 65 MiB")
    assert "numpy 65 MiB. WITHOUT='NAME ...'" in text


def test_the_environment_sees_this_pythons_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It imports torch from here, although this Python is itself an environment; pip gets no index."""
    calls: list[list[str]] = []
    monkeypatch.setattr(environment, "_pip", lambda folder, arguments: calls.append(list(arguments)))
    environment.make_environment(tmp_path / "venv", None)
    assert all(arguments[0] == "--no-index" for arguments in calls)
    assert calls[-1][-2:] == ["--editable", str(wheels.ROOT)]
    script = "import json, sys, torch, pip; print(json.dumps([sys.prefix, torch.__file__]))"
    python = tmp_path / "venv" / "bin" / "python"
    found = subprocess.run([python, "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path)
    prefix, file = json.loads(found.stdout)
    assert prefix == str(tmp_path / "venv")
    import torch

    assert file == torch.__file__


def test_an_empty_folder_of_wheels_is_refused(tmp_path: Path) -> None:
    """The message names the target that fills it."""
    command = [sys.executable, "-m", "benchmarks.gpu.environment", str(tmp_path / "venv"), "--device", "cpu"]
    done = subprocess.run(
        [*command, "--wheels", str(tmp_path)], cwd=wheels.ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert f"make gpu-wheels WHEELS={tmp_path}" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_outcomes_of_tests(tmp_path: Path) -> None:
    """Tests are counted by file; failures and errors are named with the first line of their message."""
    report = tmp_path / "tests.xml"
    report.write_text(JUNIT)
    assert read_outcomes(report) == {
        "a.py": {"passed": 1, "failed": 1, "skipped": 0},
        "b.py": {"passed": 0, "failed": 1, "skipped": 1},
    }
    assert failed_tests(report) == ["tests.a::two: assert 1 == 2", "tests.b::four: no fixture"]


def test_an_answer_of_another_adapter_is_wrong() -> None:
    """An answer that is nearest to another adapter's is counted, and differences are given in tolerances."""
    expected = np.zeros((2, 3, len(LABELS)), np.float32)
    expected[1] = 2.0
    owners = np.array([0, 1, 0])
    found = np.array([[0.05], [2.0], [1.9]], np.float32).repeat(len(LABELS), axis=1)
    compared = compare(found, expected, owners, 0.1)
    assert compared["wrong"] == 1
    assert compared["largest_difference"] == pytest.approx(1.9)
    assert compared["in_tolerances"] == pytest.approx(19)
    assert compared["apart_in_tolerances"] == pytest.approx(2 / 0.3)
    assert compare(found[:2], expected[:, :2], owners[:2], 0.1)["wrong"] == 0


def test_shipped_adapters_are_compared_with_their_golden_examples(real: LoadedBackbone, tmp_path: Path) -> None:
    """On the default backbone every shipped adapter gives the logits that its trainer stored."""
    check_shipped(real, Recorder(tmp_path / "findings"))
    found = read_findings(tmp_path / "findings")
    assert found.faults == []
    (target,) = found.targets
    assert target["claim"] == "golden examples of 5 shipped adapters: largest difference, in tolerances"
    assert 0 < target["value"] < 1  # type: ignore[operator]


def test_batches_keep_to_the_budget() -> None:
    """Each text is in one batch, batches keep to the token budget, and texts are dealt out over the adapters."""
    texts = random_texts(50, 99, 64)
    batches = make_batches(texts, 3, 200)
    assert sum(len(batch.lengths) for batch in batches) == 50
    assert sum(batch.num_tokens for batch in batches) == sum(len(text) for text in texts)
    assert all(batch.num_tokens <= 200 for batch in batches)
    assert {slot for batch in batches for slot in batch.slots} == {0, 1, 2}


def test_the_bare_forward_has_no_adapters(tiny: LoadedBackbone, monkeypatch: pytest.MonkeyPatch) -> None:
    """Graphs captured without adapters launch none; those of the engine launch one for each layer."""
    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", slow_varlen_attn)
    monkeypatch.setattr(cuda_forward, "supports_varlen", lambda *given: True)
    calls: list[str] = []
    add = cuda_forward.add_adapters
    monkeypatch.setattr(cuda_forward, "add_adapters", lambda *rest: (calls.append("add"), add(*rest))[1])

    def capture(function: Callable[[], object]) -> Callable[[], None]:
        function()
        return lambda: None

    bench = Bench(tiny.backbone, 128, capture)
    num_buckets = len(Buckets(128, tiny.backbone.max_positions).all)
    assert len(calls) == tiny.identity.num_layers * num_buckets
    bench.fill(2)
    batches = make_batches(random_texts(8, 99, 64), 2, 128)
    rates = [bench.engine_rate(batches, 0.05), bench.device_rate(bench.forward, batches, 0.05)]
    with without_adapters():
        rates.append(bench.device_rate(bench.bare, batches, 0.05))
    assert min(rates) > 0
    assert len(calls) == tiny.identity.num_layers * num_buckets  # replays, which this capture leaves empty


def test_loads_are_joined_in_the_window_that_they_share() -> None:
    """Rates of several processes are counted where all of them ran."""

    class Ended:
        def __init__(self, begin: float) -> None:
            times = begin + np.arange(10.0)
            self.found = Results(np.zeros(10, int), times, times, times + 0.5, np.full(10, 200), begin, 10.0, 1.0)

        def results(self) -> Results:
            return self.found

    joined = join([Ended(0.0), Ended(2.0)])  # type: ignore[list-item]
    assert (joined.begin, joined.seconds, joined.cpu_s) == (2.0, 8.0, 2.0)
    assert joined.throughput() == 2.0
    assert describe_refusals(joined) == "Requests by status: 20 with 200."


def test_adapters_are_loaded_by_asking_for_those_that_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each try asks only for tasks without an answer; tasks that never answer are an error with the server's words."""
    asked: list[list[bytes]] = []

    class Ended:
        def __init__(self, requests: Sequence[bytes]) -> None:
            self.requests = requests

        def results(self) -> Results:
            place = np.arange(len(self.requests))
            status = np.where([b"/never/" in one or b"/later/" in one for one in self.requests], 429, 200)
            if len(asked) > 1:
                status = np.where([b"/never/" in one for one in self.requests], 429, 200)
            refusals = [(429, b"no room")]
            return Results(place, 0.0 * place, 0.0 * place, 0.0 * place, status, 0.0, 1.0, 0.1, refusals)

    def start(port: int, requests: list[bytes], *rest: object) -> list[Ended]:
        asked.append(requests)
        return [Ended(requests)]

    monkeypatch.setattr(load, "start_loads", start)
    load.load_all(1, ["now", "later"], 1, 0.1)
    assert [len(requests) for requests in asked] == [2, 1]
    with pytest.raises(RuntimeError, match=r"1 of 2 tasks do not answer. Requests by status: 1 with 429.*no room"):
        load.load_all(1, ["now", "never"], 1, 0.1)


def test_requests_go_through_the_texts() -> None:
    """A request of several texts takes the next ones, and a request of one text has no list."""
    single = predict_requests(["a", "b"], ["x", "y", "z"], 1)
    assert [json.loads(one.rpartition(b"\r\n")[2]) for one in single] == [{"inputs": "x"}, {"inputs": "y"}]
    double = predict_requests(["a", "b"], ["x", "y", "z"], 2)
    assert json.loads(double[1].rpartition(b"\r\n")[2]) == {"inputs": ["z", "x"]}
    assert double[1].startswith(b"POST /v1/b/predict ")


def test_sentences_are_of_the_backbones_words(tiny: LoadedBackbone) -> None:
    """No word is unknown to the tokenizer, and lengths differ."""
    texts = random_sentences(tiny.source, 50)
    unknown = tiny.encoder.encode(["§"], max_length=8)[0].token_ids[1]
    encodings = tiny.encoder.encode(texts, max_length=128)
    assert not any(unknown in encoding.token_ids for encoding in encodings)
    assert len({len(encoding) for encoding in encodings}) > 5


def test_a_block_waits_for_a_gpu(tmp_path: Path) -> None:
    """The page has a sentence until there are results, and then their tables and the card's name."""
    page = "<!-- gpu -->\n<!-- /gpu -->\n"
    assert quoted(page, tmp_path) == f"<!-- gpu -->\n{UNMEASURED['gpu']}<!-- /gpu -->\n"
    result = {
        "machine": {"cpu": "a cpu", "cores": 2, "gpu": "a card", "driver": "1.2"},
        "date": "2026-01-02",
        "settings": {"torch": "2.11"},
        "tables": [{"title": "One", "rows": [{"a": 1}]}, {"title": "Two", "rows": [{"b": 2, "c": 3}]}],
        "notes": [],
        "targets": [],
    }
    (tmp_path / "gpu.json").write_text(json.dumps(result))
    text = quoted(page, tmp_path)
    assert "**One**\n\n| a |\n|---|\n| 1 |\n\n**Two**\n\n| b | c |\n|---|---|\n| 2 | 3 |\n\n" in text
    assert "*2026-01-02, a card, driver 1.2; 2 cores of a cpu; torch 2.11.*" in text
