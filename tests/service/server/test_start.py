"""Imports of a server's processes: they cost seconds of every start, and memory."""

import asyncio
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from adapters.errors import BackboneError
from service.engine import worker
from service.engine.worker import choose_device
from service.engine_process import run
from service.processes import child
from service.publishing import checker, checks

WHOLE_ORDER = pickle.dumps({"dir": "a" * 100})


def test_a_server_imports_neither_compiler_nor_transformers() -> None:
    """torch's compiler is for GPUs and transformers for training: a start on a CPU waits for neither."""
    heavy = {"torch._dynamo", "torch._inductor", "sympy", "triton", "transformers", "datasets", "sklearn", "scipy"}
    program = (
        "import sys, service.server, service.publishing.checks, service.engine.worker; "
        f"print(sorted({heavy!r} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"


def test_the_process_of_the_server_imports_no_torch() -> None:
    """Only the engine's process and the checker import torch: the server's process starts faster and stays small."""
    program = "import sys, service.server, service.app; print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout == "False\n"


def test_the_supervisor_imports_little() -> None:
    """It starts the other processes at once, and stays small: libraries of HTTP, SQL and numbers are for them."""
    heavy = {"numpy", "fastapi", "sqlalchemy", "tokenizers", "huggingface_hub", "prometheus_client"}
    program = f"import sys, service.server; print(sorted({heavy!r} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"


def test_the_modules_of_child_processes_are_preloaded() -> None:
    """The fork server imports every module whose functions run in children, so that no child has to."""
    from service.server import http_process  # imports the server, which other tests of this file measure

    modules = checker, checks, run, worker, http_process
    assert {module.__name__ for module in modules} <= set(child._PRELOADED)


def test_the_fork_server_imports_meanwhile() -> None:
    """After `start_early` the processes to come have their imports under way in a process of its own."""
    program = (
        "import sys; from service.processes.child import start_early; start_early(); "
        "from multiprocessing import forkserver as f; print(f._forkserver._forkserver_pid > 0, 'torch' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout == "True False\n"


def test_settings_of_traces_that_are_not_ours_do_not_matter() -> None:
    """A platform that sets OTEL_PROPAGATORS for everything does not keep a server from starting."""
    environment = os.environ | {"OTEL_PROPAGATORS": "b3"}
    subprocess.run([sys.executable, "-c", "import service.observability.tracing"], env=environment, check=True)


@pytest.mark.parametrize(
    ("moment", "number"),
    [
        ("while the command is imported", signal.SIGINT),
        ("while the server is imported", signal.SIGINT),
        ("while the server is imported", signal.SIGTERM),
        ("while it loads", signal.SIGINT),
    ],
)
def test_a_start_can_be_stopped(moment: str, number: signal.Signals, tmp_path: Path, tiny_folder: Path) -> None:
    """Ctrl-C, which every process of a terminal gets, ends a start at any moment: no traceback, no process is left."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ADAKRON_")}
    environment |= {"ADAKRON_DATA_DIR": str(tmp_path), "ADAKRON_BACKBONE": str(tiny_folder), "ADAKRON_PORT": "0"}
    command = [sys.executable, "-m", "service", "serve"]
    server = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True)
    assert server.stderr is not None
    lines = []
    if moment == "while the command is imported":
        wait_until(lambda: "pydantic_core" in Path(f"/proc/{server.pid}/maps").read_text())
    else:
        lines.append(server.stderr.readline())
        assert " starts (process " in lines[0], lines  # the first line: nothing waits for torch
    if moment == "while it loads":
        lines += [server.stderr.readline() for _ in range(3)]
        assert "loading" in "".join(lines)
    children = psutil.Process(server.pid).children(recursive=True)
    os.killpg(server.pid, number)
    assert server.wait(20) == 128 + number
    said = "".join(lines) + server.stderr.read()  # to its end: every process has closed it
    server.stderr.close()
    assert "Traceback" not in said
    wait_until(lambda: not any(map(runs, children)))


def test_a_start_that_ends_at_once_is_silent_about_semaphores() -> None:
    """A signal during the start leaves no process behind, and no warning of Python's in the log."""
    program = (
        "import os; from service.processes.child import context, start_early; start_early(); "
        "lock = context().Lock(); os._exit(143)"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (143, "")


@pytest.mark.parametrize(
    ("order", "is_silent"),
    [(b"", True), (WHOLE_ORDER[:2], True), (WHOLE_ORDER[:40], True), (b"?", False)],
    ids=["nothing", "too short", "cut short", "no order"],
)
def test_a_server_that_ends_while_it_starts_a_process_is_silent(order: bytes, is_silent: bool) -> None:
    """The new process finds its order cut short and ends; of any other fault it prints the traceback."""
    result = run_with_fork_server(
        "status, ours = f.connect_to_new_process([]); f.read_signed(status); "
        f"os.write(ours, {order!r}); os.close(ours); print(f.read_signed(status))"
    )
    assert result.stdout == "1\n"
    assert ("Traceback" in result.stderr) is not is_silent
    assert is_silent is (result.stderr == "")


def test_a_server_that_ends_before_it_orders_a_process_is_silent() -> None:
    """The fork server, which has accepted a connection that brings nothing, ends without a traceback."""
    result = run_with_fork_server(
        "s = f._forkserver; socket.socket(socket.AF_UNIX).connect(s._forkserver_address); "
        "print(os.waitstatus_to_exitcode(os.waitpid(s._forkserver_pid, 0)[1]))"
    )
    assert (result.stdout, result.stderr) == ("1\n", "")


def run_with_fork_server(program: str) -> subprocess.CompletedProcess[str]:
    """Run `program` in a process with the service's fork server, which preloads nothing here, as `f`'s."""
    start = (
        "import os, socket; from multiprocessing import forkserver as f; from service.processes import child; "
        "child._PRELOADED = (); child.start_early(); "
    )
    return subprocess.run([sys.executable, "-c", start + program], capture_output=True, text=True, timeout=120)


def test_two_signals_at_once_are_one() -> None:
    """`timeout` signals the process and its group: a server that hears both in one turn of its loop drains once."""
    from service.server.supervisor import _when_signalled  # imports the server, which other tests of this file measure
    from service.settings import Settings

    async def signal_twice() -> float:
        signalled = _when_signalled(Settings(drain_s=3))
        errors: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        waits_s = await signalled
        await asyncio.sleep(0.05)
        assert errors == []
        return waits_s

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        assert asyncio.run(signal_twice()) in (0, 3)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def runs(process: psutil.Process) -> bool:
    """Whether the process runs, and is not merely an entry that init has not removed yet."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_until(condition: Callable[[], bool]) -> None:
    """Fail if it does not hold within half a minute."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_server_that_is_killed_leaves_no_process(tmp_path: Path, tiny_folder: Path) -> None:
    """Not even the one that was importing torch in that moment."""
    environment = os.environ | {"ADAKRON_DATA_DIR": str(tmp_path), "ADAKRON_BACKBONE": str(tiny_folder)}
    command = [sys.executable, "-m", "service", "serve", "--port", "0"]
    server = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)
    assert server.stderr is not None
    server.stderr.readline()
    wait_until(lambda: len(psutil.Process(server.pid).children()) > 1)  # the fork server beside the resource tracker
    server.kill()
    server.stderr.read()  # to its end: every process has closed it
    server.stderr.close()
    assert server.wait() == -signal.SIGKILL


def test_a_gpu_that_is_not_there_is_one_line(tmp_path: Path, tiny_folder: Path) -> None:
    """The server ends with exit code 2 and says what torch sees."""
    device = f"cuda:{torch.cuda.device_count()}"
    given = {"ADAKRON_DATA_DIR": str(tmp_path), "ADAKRON_BACKBONE": str(tiny_folder), "ADAKRON_DEVICE": device}
    command = [sys.executable, "-m", "service", "serve", "--port", "0"]
    done = subprocess.run(command, env=os.environ | given, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(f"error: ADAKRON_DEVICE={device} (--device): torch ")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("wanted", "count", "device", "says"),
    [
        ("auto", 0, "cpu", None),
        ("auto", 1, "cuda", None),
        ("cpu", 1, "cpu", None),
        ("cuda", 1, "cuda", None),
        ("cuda:1", 2, "cuda:1", None),
        ("cuda", 0, None, "sees no CUDA device"),
        ("cuda:7", 2, None, "sees 2 CUDA devices, from cuda:0 on"),
    ],
)
def test_the_device_is_what_torch_has(
    wanted: str, count: int, device: str | None, says: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A GPU that is asked for and missing is refused, however many others there are; auto takes what there is."""
    monkeypatch.setattr("torch.version.cuda", "13.0")
    monkeypatch.setattr("torch.cuda.is_available", lambda: count > 0)
    monkeypatch.setattr("torch.cuda.device_count", lambda: count)
    if says is None:
        assert choose_device(wanted) == device
    else:
        with pytest.raises(BackboneError, match=says):
            choose_device(wanted)
