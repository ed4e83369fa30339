"""What the development trials say of a model."""

import json
import re

import numpy as np
import pytest
import torch
import train_speaker_embeddings
import yaml
from development import (
    SCORES,
    DevelopmentScores,
    describe_development,
    measure_development,
    scores_of,
)
from recipe_commands import train
from speechbrain.utils.checkpoints import Checkpointer

from custom_modules.metrics import equal_error_rate, min_dcf, speaker_bootstrap
from custom_modules.scoring import Trials, read_trials, speaker_id

TRIALS = Trials(
    ["a/1/1", "b/1/1", "c/1/1", "a/1/1", "b/1/1", "c/1/1"],
    ["a/1/2", "b/1/2", "c/1/2", "b/1/2", "c/1/2", "a/1/2"],
    np.array([True, True, True, False, False, False]),
)


def chosen(folder):
    """Checkpoint with the lowest EER, by hand."""
    metas = {
        path.parent: yaml.safe_load(re.sub("!.*", "", path.read_text()))
        for path in folder.glob("save/CKPT*/CKPT.yaml")
    }
    with_eer = {k: v for k, v in metas.items() if v and "eer" in v}
    return min(with_eer.items(), key=lambda item: item[1]["eer"])


def test_a_checkpoint_holds_the_scores_of_its_own_validation(trained):
    path, meta = chosen(trained)
    scores = torch.load(path / f"{SCORES}.ckpt", weights_only=True).numpy()
    trials = read_trials(trained / "save" / "dev_trials.txt")
    assert scores.dtype == np.float64
    eer, threshold = equal_error_rate(scores, trials.is_target)
    cost, threshold_p01 = min_dcf(scores, trials.is_target)
    assert meta["eer"] == eer
    assert meta["threshold"] == threshold
    assert meta["min_dcf"] == cost
    finite = threshold_p01 if np.isfinite(threshold_p01) else None
    assert meta["threshold_p01"] == finite


def test_the_model_folder_has_both_thresholds_and_intervals(trained):
    path, meta = chosen(trained)
    scores = torch.load(path / f"{SCORES}.ckpt", weights_only=True).numpy()
    trials = read_trials(trained / "save" / "dev_trials.txt")
    training = json.loads((trained / "model" / "training.json").read_text())
    hparams = (trained / "model" / "hyperparams.yaml").read_text()
    for key in ("threshold", "threshold_p01"):
        assert training[key] == meta[key]
        text = re.search(rf"(?m)^{key}: *(\S*)", hparams)[1]
        assert yaml.safe_load(text) == meta[key]
    enrol, test = (
        [speaker_id(name) for name in names]
        for names in (trials.enrol, trials.test)
    )
    for name, metric in (("eer", equal_error_rate), ("min_dcf", min_dcf)):
        expected = speaker_bootstrap(
            scores, trials.is_target, enrol, test, metric, 1000, seed=1986
        )
        assert training[f"dev_{name}_interval"] == list(expected)
        low, high = expected
        assert low <= training[f"dev_{name}"] <= high or low == high
    assert training["num_dev_trials"] == len(scores)
    assert training["num_dev_speakers"] == 2


def test_no_threshold_where_rejecting_every_trial_costs_least():
    is_target = np.array([True] * 4 + [False] * 200)
    scores = np.linspace(0, 1, 204)  # targets lowest
    measured = measure_development(scores, is_target)
    assert measured["min_dcf"] == 1.0
    assert measured["threshold_p01"] is None
    assert np.isfinite(measured["threshold"])


def test_scores_survive_a_checkpoint(tmp_path):
    first, second = DevelopmentScores(), DevelopmentScores()
    first.values = np.random.default_rng(0).normal(size=7)
    Checkpointer(tmp_path, {SCORES: first}).save_checkpoint()
    Checkpointer(tmp_path, {SCORES: second}).recover_if_possible()
    assert np.array_equal(first.values, second.values)


def test_a_checkpoint_without_scores_has_rates_and_no_interval(tmp_path):
    """As those saved before the scores were."""
    checkpointer = Checkpointer(tmp_path, {})
    checkpoint = checkpointer.save_checkpoint(
        {"eer": 0.1, "min_dcf": 0.5, "threshold": 0.25}
    )
    described = describe_development(
        checkpoint.meta, scores_of(checkpoint), TRIALS, seed=0
    )
    assert described["dev_eer"] == 0.1
    assert described["threshold"] == 0.25
    assert described["num_dev_speakers"] == 3
    for name in ("dev_eer_interval", "dev_min_dcf_interval", "threshold_p01"):
        assert described[name] is None
    meta = checkpointer.save_checkpoint().meta
    without = describe_development(meta, None, None, 0)
    assert set(without.values()) == {None}


def test_a_training_goes_on_from_an_older_checkpoint(
    corpus, tmp_path, monkeypatch
):
    with monkeypatch.context() as patch:
        patch.setattr(train_speaker_embeddings, "SCORES", "dataloader-not-ours")
        train(corpus, tmp_path, "--num_epochs=1")
    checkpoints = list(tmp_path.glob("save/CKPT*"))
    assert not [p for c in checkpoints for p in c.glob(f"{SCORES}*")]
    train(corpus, tmp_path, "--num_epochs=2")
    training = json.loads((tmp_path / "model" / "training.json").read_text())
    is_older = training["epoch"] == 1
    assert (training["dev_eer_interval"] is None) == is_older
    epochs = re.findall(
        r"epoch: (\d)", (tmp_path / "train_log.txt").read_text()
    )
    assert epochs == ["1", "2"]


@pytest.mark.parametrize("noise", [True, False])
def test_training_json_says_what_was_trained_on(
    trained, corpus, noise, tmp_path
):
    folder = trained
    if not noise:
        folder = tmp_path
        train(
            corpus,
            folder,
            *("--noise_folder=null", "--rir_folder=null", "--num_epochs=1"),
            "--num_dev_speakers=0",
        )
    training = json.loads((folder / "model" / "training.json").read_text())
    rows = (folder / "save" / "train.csv").read_text().splitlines()[1:]
    seconds = sum(float(row.split(",")[1]) for row in rows)
    assert training["hours"] == round(seconds / 3600, 2)
    assert training["noise"] == ("noise" if noise else None)
    assert training["rooms"] == ("rir" if noise else None)
    assert (training["threshold"] is None) == (not noise)
