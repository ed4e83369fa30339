"""Freed memory is kept: its pages are not cleared a second time."""

import subprocess
import sys
from pathlib import Path

import pytest

RECIPE = Path(__file__).parents[1] / "recipes" / "VoxCeleb1"
PAGES = 64 * 2**20 // 4096  # of a tensor
FAULTS = f"""
import resource, sys
import torch
sys.path.insert(0, {str(RECIPE)!r})
from cpu_memory import keep_freed_memory

def fill():
    torch.empty(2**24).fill_(1.0)  # 64 MiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

if sys.argv[1] == "keep":
    assert keep_freed_memory()
counts = [fill() for _ in range(20)]
print(counts[-1] - counts[-2])
"""


@pytest.mark.skipif(
    sys.platform != "linux", reason="mallopt is of Linux's C library"
)
def test_a_tensor_takes_the_pages_of_those_before():
    """Once the heap has grown to what is needed; faults of one tensor."""
    faults = {
        mode: int(
            subprocess.run(
                [sys.executable, "-c", FAULTS, mode],
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        )
        for mode in ("keep", "default")
    }
    assert faults["keep"] < PAGES / 100
    assert faults["default"] > PAGES / 2
