"""A loader's workers outlive a launcher's SIGTERM, and not the main process."""

import os
import signal
import subprocess
import sys

import pytest
from recipe_commands import RECIPE

# The loader is alive at exit, as where an error's traceback holds it.
PROGRAM = """
import multiprocessing, sys
from torch.utils.data import DataLoader
from loader_workers import leave_to_main

kept = DataLoader(
    range(4),
    num_workers=1,
    persistent_workers=True,
    worker_init_fn=leave_to_main,
)
sys.modules["kept"] = [kept]
assert len(list(kept)) == 4
print(multiprocessing.active_children()[0].pid, flush=True)
input()
assert len(list(kept)) == 4
"""


@pytest.mark.skipif(
    sys.platform != "linux", reason="macOS does not tell a signal's sender"
)
def test_workers_ignore_a_launcher_and_end_with_main():
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        cwd=RECIPE,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        worker = int(process.stdout.readline())
        for each in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
            os.kill(worker, each)
        try:
            process.communicate("go on\n", timeout=60)
        finally:
            process.kill()
    assert process.returncode == 0
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)
