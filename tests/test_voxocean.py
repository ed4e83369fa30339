"""Real speech, where it is there: VoxOcean in ../shared."""

import subprocess
import sys
from pathlib import Path

import pytest
from recipe_commands import BASELINE, HPARAMS, run_verify

UNPACK = Path(__file__).parents[2] / "shared" / "voxocean" / "unpack.py"


@pytest.mark.long
@pytest.mark.skipif(not UNPACK.exists(), reason=f"VoxOcean: no {UNPACK}")
def test_the_baseline_on_real_speech(tmp_path):
    """12 % EER is what mean and deviation were seen to give there."""
    data = tmp_path / "voxocean"
    subprocess.run([sys.executable, str(UNPACK), str(data)], check=True)
    report = run_verify(data, HPARAMS / "models", tmp_path / "out", *BASELINE)
    assert report["num_trials"] == 16000
    assert report["num_utterances"] == 841
    assert 9.0 < report["eer_percent"] < 13.0
