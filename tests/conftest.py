"""What several tests need."""

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

DATA = Path(__file__).parent / "data"
RECIPE = Path(__file__).parents[1] / "recipes" / "VoxCeleb1"

# Two BLAS threads that spin for each other lose to any third process.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


@pytest.fixture
def golden():
    """Load the published code's numbers, by file name."""

    def load(name: str) -> dict[str, np.ndarray]:
        with np.load(DATA / f"{name}.npz") as arrays:
            return dict(arrays)

    return load


@pytest.fixture
def write_wav(tmp_path):
    """Write noise of a seed as a WAV; give its path and its samples."""

    def write(name="noise.wav", seconds=1.0, rate=16000, channels=1, seed=0):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(seed)
        shape = (int(seconds * rate), channels)
        samples = rng.uniform(-0.5, 0.5, shape).astype(np.float32)
        soundfile.write(path, samples, rate, subtype="FLOAT")
        return path, samples

    return write
