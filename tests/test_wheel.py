"""The wheel in an environment of its own, without this repository."""

import json
import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest
import torch

from custom_modules.scoring import read_scores

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[1]
TESTS = ROOT / "tests"
GIGABYTES = 12  # that an environment with torch and its CUDA libraries takes
TOLERANCE = 1e-4
# A clone of SpeechBrain, whose package comes without its recipes.
SOURCE = os.environ.get("SPEECHBRAIN_SOURCE")
SPEECHBRAINS = "recipes/VoxCeleb/SpeakerRec/hparams/train_x_vectors.yaml"
# In the stead of an x-vector's statistics pooling.
EMBEDDING_MODEL = """\
embedding_model: !new:speechbrain.nnet.containers.Sequential
    input_shape: [null, null, !ref <n_mels>]
    frames: !new:speechbrain.nnet.CNN.Conv1d
        in_channels: !ref <n_mels>
        out_channels: 32
        kernel_size: 5
    activation: !new:torch.nn.LeakyReLU
    norm: !new:speechbrain.nnet.normalization.BatchNorm1d
        input_size: 32
    pooling: !new:custom_modules.pooling.SelfMultiHeadAttentionPooling
        input_size: 32
        num_heads: 8
    projection: !new:torch.nn.Linear
        in_features: 32
        out_features: !ref <emb_dim>
    one_frame: !new:torch.nn.Unflatten
        dim: 1
        unflattened_size: [1, !ref <emb_dim>]

"""
SCORE = """
import json, sys
import custom_modules
import torch
from speechbrain.dataio import audio_io
from speechbrain.inference.classifiers import EncoderClassifier
from speechbrain.inference.speaker import SpeakerRecognition

folder, trials = sys.argv[1], json.loads(sys.argv[2])
options = {"source": folder, "run_opts": {"device": "cpu"}}
recognition = SpeakerRecognition.from_hparams(**options)
classifier = EncoderClassifier.from_hparams(**options)

def embed(path):
    return classifier.encode_batch(audio_io.load(path)[0])[:, 0]

scores = [recognition.verify_files(*pair)[0].item() for pair in trials]
cosines = [
    torch.cosine_similarity(embed(one), embed(other)).item()
    for one, other in trials
]
print(json.dumps([custom_modules.__file__, sys.path, scores, cosines]))
"""


def run(*command, cwd):
    """Run a command outside the repository; what it printed."""
    clean = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=clean | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """Of an environment with the wheel and what it requires, as pinned."""
    folder = tmp_path_factory.mktemp("wheel")
    free = shutil.disk_usage(folder).free / 1e9
    if free < GIGABYTES:
        pytest.skip(f"{free:.0f} GB free, {GIGABYTES} needed for torch")
    pip = [sys.executable, "-m", "pip"]
    run(*pip, "wheel", "--no-deps", "-w", folder, ROOT, cwd=folder)
    (wheel,) = folder.glob("speaker_embedding_modules-*.whl")
    pins = (ROOT / "requirements.txt").read_text().replace("-e .\n", "")
    (folder / "pins.txt").write_text(pins)
    environment = folder / "environment"
    venv.create(environment, with_pip=True)
    python = environment / "bin" / "python"
    install = [python, "-I", "-m", "pip", "install", "--no-cache-dir"]
    run(*install, "-c", folder / "pins.txt", wheel, cwd=folder)
    yield python
    shutil.rmtree(environment)


def test_a_model_folder_scores_there_as_here(
    python, trained, verified, corpus, tmp_path
):
    folder = shutil.copytree(trained / "model", tmp_path / "elsewhere")
    trials, expected = read_scores(verified / "scores.txt")
    pairs = [
        [str(corpus / "wav" / name) for name in pair]
        for pair in zip(trials.enrol[:10], trials.test[:10], strict=True)
    ]
    empty = tmp_path / "empty"
    empty.mkdir()
    shown = run(python, "-I", "-c", SCORE, folder, json.dumps(pairs), cwd=empty)
    where, path, *both = json.loads(shown.splitlines()[-1])
    assert Path(where).is_relative_to(python.parents[1])
    assert not [x for x in path if Path(x).is_relative_to(ROOT)]
    for scores in both:
        assert scores == pytest.approx(expected[:10].tolist(), abs=TOLERANCE)


@pytest.mark.parametrize("is_speechbrains", [False, True], ids=["ours", "SB"])
def test_a_speechbrain_training_takes_our_pooling(
    python, corpus, tmp_path, is_speechbrains
):
    """Its own YAML file, or one of ours by its keys; and a few steps of it."""
    path = TESTS / "data" / "speechbrain_training.yaml"
    if is_speechbrains:
        if SOURCE is None:
            pytest.skip(
                "SpeechBrain's recipes are not in its package: give a clone of "
                "it by SPEECHBRAIN_SOURCE"
            )
        path = Path(SOURCE) / SPEECHBRAINS
    text, num_replaced = re.subn(
        r"(?ms)^embedding_model:.*?(?=^\S)", EMBEDDING_MODEL, path.read_text()
    )
    assert num_replaced == 1
    (tmp_path / "training.yaml").write_text(text)
    shutil.copy(TESTS / "speechbrain_training.py", tmp_path)
    data = Path(shutil.copytree(corpus, tmp_path / "data"))
    for name in ("noise", "rir"):  # so that nothing is fetched
        (data / name / "data.zip").touch()
    output = tmp_path / "output"
    (output / "save").mkdir(parents=True)
    run(
        python,
        "-I",
        "speechbrain_training.py",
        "training.yaml",
        f"--data_folder={data}",
        f"--output_folder={output}",
        *("--number_of_epochs=2", "--batch_size=16", "--sentence_len=0.5"),
        *("--num_workers=0", "--out_n_neurons=24", "--emb_dim=16"),
        *("--lr=0.01", "--device=cpu", "--noprogressbar"),
        cwd=tmp_path,
    )
    log = (output / "train_log.txt").read_text()
    losses = re.findall(r"epoch: (\d) .*train loss: (\S+)", log)
    assert [epoch for epoch, _ in losses] == ["1", "2"]
    assert float(losses[1][1]) < float(losses[0][1])
    (saved,) = output.glob("save/CKPT*/embedding_model.ckpt")
    queries = torch.load(saved, weights_only=True)["pooling.queries"]
    assert queries.shape == (8, 4)
