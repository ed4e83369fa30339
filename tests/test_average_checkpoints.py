"""The mean of a training's last checkpoints."""

import json
import re
import shutil

import average_checkpoints
import pytest
import torch
from recipe_commands import HPARAMS, run_verify, train
from safetensors.torch import load_file


@pytest.fixture(scope="module")
def long_trained(corpus, tmp_path_factory):
    """Three epochs, all kept."""
    output = tmp_path_factory.mktemp("long") / "run"
    train(corpus, output, "--num_epochs=3", "--num_checkpoints=3")
    return output


def average(corpus, source, output, *words):
    average_checkpoints.main(
        [
            str(HPARAMS / "average.yaml"),
            f"--data_folder={corpus}",
            f"--init_from={source}",
            f"--output_folder={output}",
            "--num_workers=0",
            *words,
        ]
    )
    training = json.loads((output / "model" / "training.json").read_text())
    state = torch.load(output / "model/embedding_model.ckpt", weights_only=True)
    return training, state


def checkpoints_of(output):
    """(meta, parameters) of each epoch's end, in order."""
    found = {}
    for path in output.glob("save/CKPT*"):
        meta = (path / "CKPT.yaml").read_text()
        if epoch := re.search(r"^epoch: (\d+)", meta, re.M):
            state = torch.load(path / "embedding_model.ckpt", weights_only=True)
            found[int(epoch[1])] = meta, state
    return [found[epoch] for epoch in sorted(found)]


def test_every_parameter_is_the_mean_of_the_last_epochs(
    corpus, long_trained, tmp_path
):
    training, state = average(
        corpus, long_trained, tmp_path / "out", "--num_averaged=2"
    )
    _, (_, second), (_, third) = checkpoints_of(long_trained)
    assert state.keys() == third.keys()
    counted = 0
    for key, value in state.items():
        assert value.dtype == third[key].dtype
        if key.endswith("num_batches_tracked"):
            assert value == third[key] > second[key]
            counted += 1
            continue
        mean = (second[key].double() + third[key].double()) / 2
        torch.testing.assert_close(value.double(), mean, atol=1e-6, rtol=1e-6)
    assert counted > 0
    assert training["averaged_epochs"] == [2, 3]
    # The model folder is a whole one, and verified by the usual command.
    safe = load_file(tmp_path / "out/model/embedding_model.safetensors")
    assert all(torch.equal(safe[key], state[key]) for key in state)
    model = tmp_path / "out" / "model"
    report = run_verify(corpus, model, tmp_path / "verification")
    assert report["training"]["averaged_epochs"] == [2, 3]


def test_the_mean_of_one_has_the_rates_of_that_epoch(
    corpus, long_trained, tmp_path
):
    """The development trials are those of the training."""
    training, state = average(
        corpus, long_trained, tmp_path, "--num_averaged=1"
    )
    meta, last = checkpoints_of(long_trained)[-1]
    assert all(torch.equal(state[key], last[key]) for key in last)
    for name, key in (("eer", "dev_eer"), ("min_dcf", "dev_min_dcf")):
        expected = float(re.search(rf"^{name}: (\S+)", meta, re.M)[1])
        assert training[key] == pytest.approx(expected, abs=1e-6)
    threshold = float(re.search(r"^threshold: (\S+)", meta, re.M)[1])
    text = (tmp_path / "model" / "hyperparams.yaml").read_text()
    written = float(re.search(r"^threshold: (\S+)", text, re.M)[1])
    assert written == pytest.approx(threshold, abs=1e-4)


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (0, "at least 1"),
        (4, r"no checkpoints of the last 4 epochs \(\[3, 2, 1\] are there\)"),
    ],
)
def test_too_few_checkpoints_are_counted(
    corpus, long_trained, tmp_path, number, message
):
    with pytest.raises(ValueError, match=message):
        average(
            corpus, long_trained, tmp_path / "o", f"--num_averaged={number}"
        )
    assert not (tmp_path / "o").exists()


def test_a_gap_between_the_epochs_is_refused(corpus, long_trained, tmp_path):
    """The best is kept beside the last, and may be much older."""
    run = shutil.copytree(long_trained, tmp_path / "run")
    for path in run.glob("save/CKPT*"):
        if re.search(r"^epoch: 2", (path / "CKPT.yaml").read_text(), re.M):
            shutil.rmtree(path)
    with pytest.raises(ValueError, match=r"\[3, 1\] are there.*num_check"):
        average(corpus, run, tmp_path / "o", "--num_averaged=2")


def test_what_is_missing_is_named(corpus, long_trained, tmp_path):
    with pytest.raises(ValueError, match=r"nowhere/save is missing: give"):
        average(corpus, tmp_path / "nowhere", tmp_path / "o")
    words = ["--num_averaged=2"]
    with pytest.raises(ValueError, match="give the data_folder of the train"):
        average(tmp_path, long_trained, tmp_path / "o", *words)
    assert not (tmp_path / "o").exists()
