"""The memory of a process that loads many adapters."""

import subprocess
import sys

from tests.support.paths import ROOT

LOADS = """
import gc, psutil, torch
from adapters import checkpoint
from adapters.config import BackboneIdentity
from adapters.serving.bank import AdapterBank
from tests.support.factories import make_adapter_bytes

size = BackboneIdentity(name="b", hidden_size=384, num_layers=6, weights_sha256="0" * 64, tokenizer_sha256="0" * 64)
file = make_adapter_bytes(identity=size, p=12, layers=range(6), dtype=torch.float16)
bank = AdapterBank(384, "cpu", torch.float32)
for slot in range(20):
    bank.write(slot, checkpoint.parse_plain(file))
before = psutil.Process().memory_full_info().uss
for slot in range(20, 220):
    bank.write(slot, checkpoint.parse_plain(file))
gc.collect()
own = 200 * bank.weights(20).layers[0].down.untyped_storage().nbytes()
print((psutil.Process().memory_full_info().uss - before) / own)
"""


def test_loads_leave_no_holes() -> None:
    """Files of float16 in a bank of float32 take the memory of their slots: buffers of loads leave nothing behind."""
    done = subprocess.run([sys.executable, "-c", LOADS], cwd=ROOT, capture_output=True, text=True, check=True)
    assert float(done.stdout) < 1.15
