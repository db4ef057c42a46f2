"""What a server's processes import: seconds of every start, and memory for as long as it runs."""

import os
import subprocess
import sys


def test_a_server_imports_neither_compiler_nor_transformers() -> None:
    """torch's compiler is for GPUs and transformers for training: a start on a CPU waits for neither."""
    heavy = {"torch._dynamo", "torch._inductor", "sympy", "triton", "transformers", "datasets", "sklearn", "scipy"}
    program = (
        "import sys, service.server, service.checker, service.device_process; "
        f"print(sorted({heavy!r} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"


def test_the_fork_server_imports_meanwhile() -> None:
    """After `start_early` the processes to come have their imports under way in a process of its own."""
    program = (
        "import sys; from service.child_process import start_early; start_early(); "
        "from multiprocessing import forkserver as f; print(f._forkserver._forkserver_pid > 0, 'torch' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout == "True False\n"


def test_settings_of_traces_that_are_not_ours_do_not_matter() -> None:
    """A platform that sets OTEL_PROPAGATORS for everything does not keep a server from starting."""
    environment = os.environ | {"OTEL_PROPAGATORS": "b3"}
    subprocess.run([sys.executable, "-c", "import service.tracing"], env=environment, check=True)
