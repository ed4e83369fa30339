"""The commands under torchrun: the model and the scores of one process."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from recipe_commands import (
    HPARAMS,
    RECIPE,
    ROOT,
    merged,
    run_verify,
    train,
    train_arguments,
)

WEIGHTS = 1e-5
# Adam makes steps of full size of gradients that are rounding alone (biases
# before a norm), so what rounds differently would differ by as much.
# With seed 1986 already one process ends 1e-4 apart with one thread and with
# two, on some processors: what is rounding grows. With seed 1 it is 1e-6.
OPTIONS = [
    "--seed=1",
    "--opt_class=!name:torch.optim.SGD",
    "--dropout=0.0",
    "--batch_size=12",
    "--lr=0.0003",
    "--device=cpu",
]


def torchrun(num_processes, script, *arguments):
    """Run a command under torchrun; what it printed, and its status."""
    launcher = ["-m", "torch.distributed.run", "--standalone"]
    launcher += [f"--nproc_per_node={num_processes}"]
    return subprocess.run(
        [sys.executable, *launcher, str(RECIPE / script), *arguments],
        cwd=RECIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module")
def alone(corpus, tmp_path_factory):
    """Output folder of one process."""
    output = tmp_path_factory.mktemp("alone")
    train(corpus, output, *OPTIONS)
    return output


def test_the_short_training_moves_the_weights(corpus, alone, tmp_path):
    """By far more than processes may differ."""
    train(corpus, tmp_path, *merged(*OPTIONS, "--lr=0.000000001"))
    name = "model/embedding_model.ckpt"
    first, last = torch.load(tmp_path / name), torch.load(alone / name)
    key = "embedding_head.projection.weight"
    assert (last[key] - first[key]).abs().max() > 100 * WEIGHTS


def logged(folder):
    """What the log says of training and development trials, times excepted."""
    text = (folder / "train_log.txt").read_text()
    pairs = re.findall(r"([\w ]+): ([-+.e\d]+)", text)
    return [
        (name, float(value))
        for name, value in pairs
        if "second" not in name and "waiting" not in name
    ]


@pytest.mark.parametrize("num", [2, pytest.param(3, marks=pytest.mark.long)])
def test_as_many_processes_train_the_same_model(num, corpus, alone, tmp_path):
    """The same weights, log and scores; only one of them writes."""
    output = tmp_path / "together"
    result = torchrun(
        num,
        "train_speaker_embeddings.py",
        *train_arguments(corpus, output, *OPTIONS),
    )
    assert result.returncode == 0, result.stderr
    name = "model/embedding_model.ckpt"
    expected = torch.load(alone / name)
    weights = torch.load(output / name)
    assert weights.keys() == expected.keys()
    for key, value in weights.items():
        torch.testing.assert_close(
            value,
            expected[key],
            rtol=0.0,
            atol=WEIGHTS,
            msg=lambda text, key=key: f"{key}: {text}",
        )
    ours, theirs = logged(output), logged(alone)
    assert len(ours) == len(theirs) > 10
    for (name, value), (other, wanted) in zip(ours, theirs, strict=True):
        assert name == other
        assert value == pytest.approx(wanted, rel=1e-3, abs=1e-3), name
    assert f"shared by {num} processes, {12 // num} each" in result.stdout
    verification = tmp_path / "verification"
    result = torchrun(
        num,
        "verify.py",
        str(HPARAMS / "verify.yaml"),
        f"--data_folder={corpus}",
        f"--model_folder={alone}/model",
        f"--output_folder={verification}",
        "--num_workers=0",
        "--batch_seconds=4",
        "--num_resamples=20",
        "--device=cpu",
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("EER") == 1
    asked = ("--device=cpu", "--block_rates=True")
    wanted = run_verify(corpus, alone / "model", tmp_path / "one", *asked)
    scores = [p / "scores.txt" for p in (verification, tmp_path / "one")]
    assert scores[0].read_text() == scores[1].read_text()
    report = json.loads((verification / "report.json").read_text())
    assert report["block_rates"] == wanted["block_rates"]
    assert (verification / "report.html").exists()
    assert list((tmp_path / "embeddings").iterdir())  # of the processes


@pytest.mark.long
def test_processes_share_quality_and_plda_and_give_one_s_scores(
    corpus, trained, tmp_path
):
    """The short training, for one of a few steps cannot be calibrated."""
    asked = [
        "--device=cpu",
        "--calibration=!ref <logistic>",
        "--quality_measures=[!ref <snr>]",
        "--backend=!ref <plda>",
    ]
    result = torchrun(
        2,
        "verify.py",
        str(HPARAMS / "verify.yaml"),
        f"--data_folder={corpus}",
        f"--model_folder={trained}/model",
        f"--output_folder={tmp_path / 'two'}",
        "--num_workers=0",
        "--batch_seconds=4",
        "--num_resamples=20",
        "--page=False",
        *asked,
    )
    assert result.returncode == 0, result.stderr
    run_verify(corpus, trained / "model", tmp_path / "one", *asked)
    for name in ("scores.txt", "development_scores.txt"):
        ours, theirs = (tmp_path / x / name for x in ("two", "one"))
        assert ours.read_text() == theirs.read_text()


def test_an_error_of_the_main_process_ends_all(corpus, tmp_path):
    """One line, a status that is not 0, and nobody waits."""
    result = torchrun(
        2,
        "train_speaker_embeddings.py",
        *train_arguments(tmp_path / "nowhere", tmp_path / "out", *OPTIONS),
    )
    assert result.returncode != 0
    assert result.stderr.count("error: there is no data_folder") == 1


def test_the_number_of_processes_divides_the_batch(corpus, tmp_path):
    result = torchrun(
        2,
        "train_speaker_embeddings.py",
        *train_arguments(corpus, tmp_path / "out", *OPTIONS, "--batch_size=5"),
    )
    assert result.returncode != 0
    assert "the number of processes (2) must divide it" in result.stderr


@pytest.mark.long
def test_the_slurm_script_trains(corpus, tmp_path):
    """With stand-ins for Slurm's commands, on one node of two processes."""
    for name, text in (("srun", 'exec "$@"'), ("scontrol", "echo localhost")):
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/bash\n{text}\n")
        path.chmod(0o755)
    folders = [str(tmp_path / "bin"), str(Path(sys.executable).parent)]
    result = subprocess.run(
        [
            "bash",
            "train.slurm",
            *train_arguments(
                corpus, tmp_path / "out", *OPTIONS, "--num_epochs=1"
            ),
        ],
        cwd=RECIPE,
        env={
            **os.environ,
            "PATH": ":".join([*folders, os.environ["PATH"]]),
            "PYTHONPATH": str(ROOT),
            "SLURM_JOB_NODELIST": "localhost",
            "SLURM_NNODES": "1",
            "SLURM_GPUS_ON_NODE": "2",
            "SLURM_JOB_ID": "1",
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "shared by 2 processes" in result.stdout
    assert (tmp_path / "out/model/embedding_model.ckpt").exists()
